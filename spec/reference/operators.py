"""Writes operators.json: calls of operators with PyTorch's results. Made with torch 2.13.0.

    python spec/reference/operators.py > spec/reference/operators.json

A tensor is {"t": dtype, "s": shape, "d": numbers}; everything else stands for itself.
"""
import json

import torch

torch.manual_seed(3)
cases = []


def pack(v):
    if isinstance(v, torch.Tensor):
        flat = v.detach().reshape(-1)
        data = [x if x == x and abs(x) != float("inf") else str(x) for x in flat.tolist()]
        return {"t": str(v.dtype)[6:], "s": list(v.shape), "d": data}
    if isinstance(v, torch.dtype):
        return str(v)[6:]
    if isinstance(v, (list, tuple)):
        return [pack(x) for x in v]
    return v


def case(name, *args, python=None, **kwargs):
    f = python or getattr(torch, name, None) or getattr(torch.Tensor, name)
    out = f(*args, **kwargs)
    out = list(out) if isinstance(out, tuple) else [out]
    cases.append({"op": name, "args": pack(args), "kwargs": {k: pack(v) for k, v in kwargs.items()}, "out": pack(out)})


def draw(*shape):
    return (torch.randn(*shape) * 100).round() / 100


aten = torch.ops.aten
a, b, c = draw(3, 4), draw(3, 4), draw(4, 2)
i, j = torch.tensor([[1, 7, -3], [4, 0, 2]]), torch.tensor([[2, 2, 2], [3, -1, 5]])
mask = a > 0

for name in ("add", "sub", "mul", "div", "maximum", "minimum", "atan2", "remainder", "floor_divide"):
    case(name, a, b)
for name in ("add", "sub", "mul", "bitwise_and", "remainder"):
    case(name, i, j)
case("add", i, 1)
case("add", i, 0.5)
case("add", a, b, alpha=2)
case("mul", i, 2)
case("pow", i, 2)
case("pow", 2, i.abs())
case("pow", a.abs(), 0.5)
case("div", i, j + 3, rounding_mode="floor")
for name in ("neg", "exp", "sin", "tanh", "sigmoid", "relu", "abs", "sign", "floor", "isnan", "erf", "rsqrt"):
    case(name, a.abs() + 0.1 if name == "rsqrt" else a)
case("log", a)
case("gelu", a, python=aten.gelu)
case("gelu", a, python=aten.gelu, approximate="tanh")
case("silu", a, python=aten.silu)
case("softplus", a, python=aten.softplus)
case("leaky_relu", a, 0.1, python=aten.leaky_relu)
case("clamp", a, -0.5, 0.5)
case("clamp", a, None, 0.25)
case("clamp", a, min=0.1)
for name in ("sum", "mean", "std", "var", "amax", "logsumexp"):
    case(name, a, 1)
for name in ("sum", "mean", "max", "min", "prod", "argmax", "all", "any", "count_nonzero", "trace"):
    case(name, mask if name in ("all", "any") else a)
case("sum", a, [0, 1], keepdim=True)
case("sum", a, dim=0, dtype=torch.float64)
case("sum", mask)
case("argmax", a, dim=1)
case("argmin", a, 1, keepdim=True)
case("max", a, dim=1)
case("min", a, 0, True)
case("topk", a, 2)
case("topk", a, 2, dim=0, largest=False)
case("sort", a, dim=1, descending=True)
case("median", a, 1)
case("unbind", a, 1)
case("split", a, 2, 1)
case("chunk", a, 2)
case("cumsum", a, 1)
case("softmax", a, -1)
case("log_softmax", a, 0)
case("matmul", a, c)
case("mm", a, c)
case("addmm", draw(2), a, c, beta=0.5, alpha=2)
case("bmm", draw(2, 3, 4), draw(2, 4, 2))
case("linear", a, draw(5, 4), draw(5), python=aten.linear)
case("linear", a, draw(5, 4), python=aten.linear)
case("layer_norm", a, [4], draw(4), draw(4), 1e-5, python=aten.layer_norm)
case("embedding", draw(6, 3), torch.tensor([[0, 5], [2, 2]]), python=aten.embedding)
case("cross_entropy_loss", a, torch.tensor([0, 3, 1]), python=aten.cross_entropy_loss)
case("nll_loss", a, torch.tensor([0, 3, 1]), python=aten.nll_loss)
case("mse_loss", a, b, python=aten.mse_loss)
case("transpose", a, 0, 1)
case("permute", draw(2, 3, 4), [2, 0, 1])
case("reshape", a, [2, -1])
case("unsqueeze", a, 0)
case("squeeze", a.unsqueeze(0))
case("flatten", draw(2, 3, 2), 1)
case("expand", draw(1, 3), [2, -1])
case("repeat", draw(2), [2, 3])
case("tile", draw(2), [2])
case("flip", a, [0, 1])
case("roll", a, 1, 1)
case("cat", [a, b], 0)
case("cat", [i, j], dim=1)
case("stack", [a, b], 1)
case("where", mask, a, b)
case("where", mask, a, 0)
case("masked_fill", a, mask, -1)
case("masked_select", a, mask)
case("gather", a, 1, torch.tensor([[0, 1], [3, 2], [1, 1]]))
case("scatter", a, 1, torch.tensor([[0], [3], [1]]), 9.0)
case("index_select", a, 1, torch.tensor([3, 0]))
case("nonzero", i)
case("tril", a)
case("triu", a, 1)
case("diag", a)
case("outer", draw(3), draw(2))
case("einsum", "ij,jk->ik", [a, c], python=lambda e, t: torch.einsum(e, *t))
case("one_hot", torch.tensor([0, 2, 1]), 4, python=torch.nn.functional.one_hot)
case("bincount", torch.tensor([0, 2, 2, 5]))
case("eq", i, j)
case("lt", a, 0)
case("ge", a, b)
case("logical_not", mask)
case("equal", a, a)
case("equal", a, b)
case("allclose", a, a + 1e-9)
case("lerp", a, b, 0.25)
case("norm", a)
case("dot", draw(4), draw(4))
case("arange", 5)
case("arange", 1, 2, 0.25)
case("arange", 2, 10, 3)
case("linspace", 0, 1, 5)
case("eye", 3)
case("full", [2, 2], 1.5)
case("full", [2], 3, dtype=torch.int64)
case("zeros", [2, 3])
case("ones", [2], dtype=torch.bool)
case("zeros_like", i)
case("full_like", a, 2)
print(json.dumps(cases, separators=(",", ":")))
