"""Writes nn.json: what PyTorch's layers print, begin with and compute. Made with torch 2.13.0.

    python spec/reference/nn.py > spec/reference/nn.json

Each case has the Lua code that must give the same; `x` is the input.
"""
import json

import torch
from torch import nn
from torch.nn import functional as F


class Conv1D(nn.Module):  # as in transformers.pytorch_utils
    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=0.02)

    def extra_repr(self):
        return f"nf={self.nf}, nx={self.nx}"

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(x.size()[:-1] + (self.nf,))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList([Block() for _ in range(3)] + [nn.ReLU()])
        self.names = nn.ModuleDict({"a": nn.Tanh(), "b": nn.Dropout(0.1)})


class Noted(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def extra_repr(self):
        return "width=3\ndeep=True"


layers = [
    ("nn.Linear(5, 10)", nn.Linear(5, 10)),
    ("nn.Linear(5, 10, { bias = false })", nn.Linear(5, 10, bias=False)),
    ("nn.Conv1D(8, 4)", Conv1D(8, 4)),
    ("nn.Embedding(10, 4)", nn.Embedding(10, 4)),
    ("nn.Embedding(10, 4, { padding_idx = -1 })", nn.Embedding(10, 4, padding_idx=-1)),
    ("nn.LayerNorm(8)", nn.LayerNorm(8)),
    ("nn.LayerNorm({ 2, 3 }, { eps = 1e-12, elementwise_affine = false })",
     nn.LayerNorm([2, 3], eps=1e-12, elementwise_affine=False)),
    ("nn.LayerNorm(4, { bias = false, eps = 0.00025 })", nn.LayerNorm(4, bias=False, eps=0.00025)),
    ("nn.RMSNorm(4)", nn.RMSNorm(4)),
    ("nn.RMSNorm(4, { eps = 1.5e-6 })", nn.RMSNorm(4, eps=1.5e-6)),
    ("nn.BatchNorm1d(4)", nn.BatchNorm1d(4)),
    ("nn.BatchNorm1d(4, { momentum = 0.5, track_running_stats = false, bias = false })",
     nn.BatchNorm1d(4, momentum=0.5, track_running_stats=False, bias=False)),
    ("nn.BatchNorm2d(4, { eps = 1e-3, momentum = false, affine = false })",
     nn.BatchNorm2d(4, eps=1e-3, momentum=None, affine=False)),
    ("nn.Dropout(0.1)", nn.Dropout(0.1)),
    ("nn.Dropout(1)", nn.Dropout(1.0)),
    ("nn.Dropout()", nn.Dropout()),
    ("nn.Identity(3)", nn.Identity(3)),
    ("nn.Flatten()", nn.Flatten()),
    ("nn.ReLU()", nn.ReLU()), ("nn.ReLU6()", nn.ReLU6()), ("nn.SiLU()", nn.SiLU()), ("nn.Tanh()", nn.Tanh()),
    ("nn.Sigmoid()", nn.Sigmoid()), ("nn.Mish()", nn.Mish()), ("nn.SELU()", nn.SELU()),
    ("nn.Hardswish()", nn.Hardswish()), ("nn.Hardsigmoid()", nn.Hardsigmoid()), ("nn.LogSigmoid()", nn.LogSigmoid()),
    ("nn.Softsign()", nn.Softsign()), ("nn.Tanhshrink()", nn.Tanhshrink()),
    ("nn.GELU()", nn.GELU()), ('nn.GELU { approximate = "tanh" }', nn.GELU(approximate="tanh")),
    ("nn.LeakyReLU()", nn.LeakyReLU()), ("nn.LeakyReLU(0.2)", nn.LeakyReLU(0.2)),
    ("nn.ELU { alpha = 0.5 }", nn.ELU(alpha=0.5)), ("nn.CELU(2)", nn.CELU(2.0)), ("nn.Softplus()", nn.Softplus()),
    ("nn.Softplus(2, 1.5)", nn.Softplus(2.0, 1.5)), ("nn.Hardtanh()", nn.Hardtanh(-1.0, 1.0)),
    ("nn.Softmax(-1)", nn.Softmax(-1)), ("nn.LogSoftmax { dim = 0 }", nn.LogSoftmax(dim=0)), ("nn.GLU()", nn.GLU()),
    ("nn.PReLU()", nn.PReLU()),
    ("nn.ModuleList()", nn.ModuleList()), ("nn.ModuleDict()", nn.ModuleDict()), ("nn.Sequential()", nn.Sequential()),
    ("nn.Sequential { nn.ReLU(), nn.ReLU() }", nn.Sequential(nn.ReLU(), nn.ReLU())),
    ("nn.ModuleList { nn.ReLU(), nn.ReLU(), nn.Tanh(), nn.Sequential { nn.ReLU() }, nn.Sequential { nn.ReLU() } }",
     nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh(), nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU())])),
    ("Net()", Net()), ("Noted()", Noted()),
]

floats = [0.1, 1.0, 20.0, 1e-5, 1.5e-6, 123456.789, 1e15, 1e16, 1.25e22, -0.0, -2.5e-7, 1 / 3, 0.0001, 0.00012345, 100.0,
          3.141592653589793, 5e-324, 1.7976931348623157e308]

g = torch.Generator().manual_seed(1)
X = torch.randn(2, 3, 4, generator=g)


def flat(t):
    return [round(v, 9) for v in t.detach().flatten().tolist()]


forwards = []


def forward(lua, module, x=None):
    """The module as made under seed 7, on x or on X."""
    torch.manual_seed(7)
    m = module()
    y = m(X if x is None else x)
    forwards.append({"lua": lua, "x": None if x is None else x.tolist(), "shape": list(y.shape), "y": flat(y)})


forward("nn.Linear(4, 3)", lambda: nn.Linear(4, 3))
forward("nn.Linear(4, 3, { bias = false })", lambda: nn.Linear(4, 3, bias=False))
forward("nn.Conv1D(6, 4)", lambda: Conv1D(6, 4))
forward("nn.Embedding(5, 3)", lambda: nn.Embedding(5, 3), torch.tensor([[0, 4, 2], [1, 1, 3]]))
forward("nn.Embedding(5, 3, { padding_idx = 1 })", lambda: nn.Embedding(5, 3, padding_idx=1), torch.tensor([[0, 1, 2]]))
forward("nn.LayerNorm(4)", lambda: nn.LayerNorm(4))
forward("nn.LayerNorm({ 3, 4 }, { eps = 0.1 })", lambda: nn.LayerNorm([3, 4], eps=0.1))
forward("nn.LayerNorm(4, { elementwise_affine = false })", lambda: nn.LayerNorm(4, elementwise_affine=False))
forward("nn.RMSNorm(4)", lambda: nn.RMSNorm(4))
forward("nn.RMSNorm({ 3, 4 }, { eps = 0.1 })", lambda: nn.RMSNorm([3, 4], eps=0.1))
forward("nn.BatchNorm1d(3)", lambda: nn.BatchNorm1d(3))
forward("nn.BatchNorm1d(3):eval()", lambda: nn.BatchNorm1d(3).eval())
forward("nn.BatchNorm1d(3, { eps = 0.1, affine = false, track_running_stats = false }):eval()",
        lambda: nn.BatchNorm1d(3, eps=0.1, affine=False, track_running_stats=False).eval())
forward("nn.Identity()", nn.Identity)
forward("nn.Flatten()", nn.Flatten)
forward("nn.Dropout(0.4)", lambda: nn.Dropout(0.4))
forward("nn.Dropout(0.4):eval()", lambda: nn.Dropout(0.4).eval())
forward("nn.PReLU()", nn.PReLU)
for name in ["ReLU", "ReLU6", "SiLU", "Tanh", "Sigmoid", "Mish", "SELU", "Hardswish", "Hardsigmoid", "LogSigmoid", "Softsign",
             "Tanhshrink", "GELU", "LeakyReLU", "ELU", "CELU", "Softplus", "Hardtanh", "GLU"]:
    forward(f"nn.{name}()", getattr(nn, name))
forward('nn.GELU { approximate = "tanh" }', lambda: nn.GELU(approximate="tanh"))
forward("nn.ELU(0.3)", lambda: nn.ELU(0.3))
forward("nn.Softplus(2, 0.5)", lambda: nn.Softplus(2.0, 0.5))
forward("nn.Softmax(-1)", lambda: nn.Softmax(-1))
forward("nn.LogSoftmax(1)", lambda: nn.LogSoftmax(1))
forward("nn.Sequential { nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2) }",
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))

inits = []


def init(lua, fill, shape=(5, 3)):
    torch.manual_seed(3)
    t = torch.empty(*shape)
    fill(t)
    inits.append({"lua": lua, "shape": list(shape), "y": flat(t)})


i = nn.init
init("init.normal_(t)", i.normal_)
init("init.normal_(t, 1, 0.02)", lambda t: i.normal_(t, 1, 0.02))
init("init.normal_(t, { std = 0.02 })", lambda t: i.normal_(t, std=0.02))
init("init.uniform_(t)", i.uniform_)
init("init.uniform_(t, -2, 3)", lambda t: i.uniform_(t, -2, 3))
init("init.zeros_(t)", i.zeros_)
init("init.ones_(t)", i.ones_)
init("init.constant_(t, 0.3)", lambda t: i.constant_(t, 0.3))
init("init.eye_(t)", i.eye_)
init("init.xavier_uniform_(t)", i.xavier_uniform_)
init("init.xavier_normal_(t, { gain = 2 })", lambda t: i.xavier_normal_(t, gain=2))
init("init.kaiming_uniform_(t)", i.kaiming_uniform_)
init('init.kaiming_normal_(t, { mode = "fan_out", nonlinearity = "relu" })',
     lambda t: i.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"))
init("init.kaiming_uniform_(t, math.sqrt(5))", lambda t: i.kaiming_uniform_(t, 5 ** 0.5), (4, 2, 3))
init("init.orthogonal_(t)", i.orthogonal_)
init("init.orthogonal_(t, 2)", lambda t: i.orthogonal_(t, 2), (3, 2, 4))
init("init.trunc_normal_(t)", i.trunc_normal_, (40, 3))
init("init.trunc_normal_(t, 0, 1, -0.5, 0.5)", lambda t: i.trunc_normal_(t, 0, 1, -0.5, 0.5), (20, 2))
init("init.trunc_normal_(t, 0, 1, 1, 1.2)", lambda t: i.trunc_normal_(t, 0, 1, 1, 1.2), (20, 2))

attention = []
q, k, v = (torch.randn(1, 2, 3, 4, generator=g) for _ in range(3))
boolean = torch.tensor([[True, False, False], [True, True, False], [True, False, True]])
numbers = torch.randn(2, 3, 3, generator=g)
blind = torch.tensor([[True, True, False], [False, False, False], [True, False, True]])


def attend(lua, mask=None, causal=False, scale=None):
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    z = F.scaled_dot_product_attention(*leaves, attn_mask=mask, is_causal=causal, scale=scale)
    (z ** 2).sum().backward()
    scores = q @ k.transpose(-2, -1) * (scale or 0.5)
    if causal:
        scores = scores.masked_fill(torch.ones(3, 3).tril() == 0, float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    pattern = torch.nan_to_num(scores.softmax(-1))
    attention.append({"lua": lua, "z": flat(z), "pattern": flat(pattern),
                      "scores": [s if abs(s) < 1e9 else "-inf" for s in flat(scores)],
                      "grad": [flat(t.grad) for t in leaves]})


attend("{}")
attend("{ is_causal = true }", causal=True)
attend("{ scale = 0.3 }", scale=0.3)
attend("{ mask = boolean }", mask=boolean)
attend("{ mask = numbers, scale = 0.7 }", mask=numbers, scale=0.7)
attend("{ mask = blind }", mask=blind)

torch.manual_seed(5)
net = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.LayerNorm(3), Conv1D(2, 3))
(net(X) ** 2).sum().backward()
gradients = {name: flat(p.grad) for name, p in net.named_parameters()}

print(json.dumps({
    "texts": [{"lua": lua, "text": repr(m)} for lua, m in layers],
    "floats": [repr(f) for f in floats],
    "x": X.tolist(), "forwards": forwards, "inits": inits,
    "attention": {"q": q.tolist(), "k": k.tolist(), "v": v.tolist(), "boolean": boolean.tolist(), "blind": blind.tolist(),
                  "numbers": numbers.tolist(), "cases": attention},
    "gradients": gradients,
}))
