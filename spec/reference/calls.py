"""Writes calls.jsonl: random calls of tensors with PyTorch's answers. Made with torch 2.13.0.

    python spec/reference/calls.py [SEED [NUMBER]] > spec/reference/calls.jsonl

The first line has tensors, [dtype, shape, numbers]; complex numbers are two. Every other line is a call:
    {"f": name, "a": arguments, "k": named arguments}     torch.name(...), or a method where torch has none
    {"o": sign, "a": [x, y]}                              an operator of the language; y is missing for -x
    {"i": index, "x": tensor}, with "v" to be set         x[index]; x[index] = v on a copy
    {"p": tensor}                                         how it is printed
    {"n": nested lists, "d": dtype}                       torch.tensor(lists, dtype)
and "r", the answer: tensors, numbers, texts, lists of them, or {"e": 1} where PyTorch raises. A tensor of the first line is
"T3", its transposed "T3t", its negative view "T3n", its rows from behind "T3r".
"""
import json
import math
import random
import sys
import warnings

import torch
import torch.nn.functional as F

warnings.simplefilter("ignore")
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 1
NUMBER = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
rng = random.Random(SEED)
torch.manual_seed(SEED)
nan, inf = math.nan, math.inf
names = {getattr(torch, n): n for n in (
    "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128".split())}
dtypes = {n: t for t, n in names.items()}
floats, wholes = ["float32", "float64", "float16", "bfloat16"], ["int64", "int32", "int16", "int8", "uint8", "bool"]
shapes = [(), (1,), (3,), (4,), (0,), (2, 3), (3, 2), (2, 1), (1, 3), (2, 2), (3, 3), (2, 3, 2), (2, 0, 3), (1, 2, 3)]


# ---- values and tensors -------------------------------------------------------------------------------------------------

def number(v):
    if isinstance(v, float) and not math.isfinite(v):
        return "nan" if v != v else "inf" if v > 0 else "-inf"
    if isinstance(v, float):
        return int(v) if v == int(v) and abs(v) < 2 ** 53 and math.copysign(1, v) > 0 or v and v == int(v) and abs(v) < 2 ** 53 else v
    return v


def numbers(t):
    t = t.detach().resolve_conj().resolve_neg()
    if t.is_complex():
        t = torch.view_as_real(t.to(torch.complex128) if t.dtype == torch.complex128 else t)
    flat = t.reshape(-1).tolist()
    if t.dtype in (torch.float32, torch.float16, torch.bfloat16):
        digits = 9 if t.dtype == torch.float32 else 5
        flat = [float(("%%.%dg" % digits) % v) for v in flat]
    return [str(v) if isinstance(v, int) and not isinstance(v, bool) and abs(v) >= 2 ** 53 else number(v) for v in flat]


class Unfit(Exception):
    pass


def answer(v):
    if isinstance(v, torch.Tensor):
        if v.numel() > 40 or v.layout != torch.strided or v.dtype not in names:
            raise Unfit
        return [names[v.dtype], list(v.shape), numbers(v)]
    if isinstance(v, (tuple, list)) and not isinstance(v, torch.Size):
        return {"l": [answer(x) for x in v]}
    if isinstance(v, torch.Size):
        return {"l": [int(x) for x in v]}
    if isinstance(v, torch.dtype):
        return names[v]
    if isinstance(v, complex):
        raise Unfit
    return number(v)


def draw(dtype, shape):
    n = math.prod(shape)
    if dtype == "bool":
        v = [rng.random() < .5 for _ in range(n)]
    elif dtype in wholes:
        low = 0 if dtype == "uint8" else -9
        v = [rng.choice([0, 1, 2, rng.randint(low, 9), rng.randint(low, 9)]) for _ in range(n)]
    else:
        def one():
            return rng.choice([0.0, 1.0, -1.0, rng.randint(-40, 40) / 8, rng.randint(-40, 40) / 8, rng.randint(0, 99) / 128])
        v = [complex(one(), one()) if dtype.startswith("complex") else one() for _ in range(n)]
        if n > 2 and rng.random() < .15 and dtype in floats:
            v[rng.randrange(n)] = rng.choice([nan, inf, -inf, -0.0])
    return torch.tensor(v, dtype=dtypes[dtype]).reshape(shape)


pool, by_dtype = [], {}
for dtype in dtypes:
    kept = shapes if dtype in ("float32", "int64") else rng.sample(shapes, 7)
    for shape in kept:
        pool.append(draw(dtype, shape))
        by_dtype.setdefault(dtype, []).append(len(pool) - 1)


class Ref:
    def __init__(self, i, how=""):
        self.name = "T%d%s" % (i, how)
        t = pool[i]
        self.t = t.transpose(-2, -1) if how == "t" else t._neg_view() if how == "n" else t[::2] if how == "r" else t


def ref(dtype=None, test=lambda t: True):
    for _ in range(300):
        d = dtype or rng.choice(["float32"] * 6 + floats + wholes + ["int64"] * 2 + ["complex64", "complex128"])
        i = rng.choice(by_dtype[d])
        t = pool[i]
        how = rng.choice([""] * 6 + ["t", "n", "r"])
        if (how == "t" and t.dim() < 2) or (how == "n" and not t.is_floating_point()) or (how == "r" and t.dim() < 1):
            how = ""
        r = Ref(i, how)
        if test(r.t):
            return r
    return Ref(by_dtype["float32"][5])


def shaped(*dims):
    return lambda: ref(rng.choice(["float32"] * 4 + ["float64", "int64"]), lambda t: t.dim() in dims)


# ---- arguments ---------------------------------------------------------------------------------------------------------

def any_tensor():
    return ref()


def real():
    return ref(rng.choice(["float32"] * 4 + floats))


def whole():
    return ref(rng.choice(["int64"] * 3 + wholes))


def mask():
    return ref("bool")


def ids():
    return ref("int64")


def fraction():
    return rng.choice([.5, -.5, 1.5, 2.25, -3.75, .1])


def small():
    return rng.choice([0, 1, 2, 3, -1, -2, 5])


def scalar():
    return rng.choice([small, small, fraction])()


def operand():
    return rng.choice([any_tensor, any_tensor, any_tensor, scalar])()


def axis():
    return rng.choice([0, 0, 1, -1, -1, -2, 2, 3, -4])


def axes():
    return rng.choice([axis(), [0], [0, 1], [-1, 0], [1, 2], []])


def boolean():
    return rng.random() < .5


def dtype_name():
    return dtypes[rng.choice(list(dtypes))]


def shape_of():
    return rng.choice([[2, 3], [3, 2], [6], [-1], [2, -1], [1, 2, 3], [3, 1], [0], [], [2, 0], [-1, 0], [1, -1], [4]])


def seq(*of):
    return lambda: [rng.choice(of)() for _ in range(rng.choice([1, 2, 2, 3]))]


def same():
    dtype, shape = rng.choice(["float32"] * 3 + ["int64", "float64"]), rng.choice([(3,), (2, 3), (2, 2)])
    return [ref(dtype, lambda t: tuple(t.shape) == shape) for _ in range(rng.choice([1, 2, 3]))]


def counts():
    return rng.choice([1, 2, 3, [1, 1], [2, 1], [1, 2]])


def kw(**given):
    """Named arguments, each there or not."""
    return lambda: {k: f() for k, f in given.items() if rng.random() < .5}


def const(*values):
    return lambda: rng.choice(values)


def maybe(f):
    return lambda: f() if rng.random() < .7 else ...


table = []


def add(text, *arguments, k=None, module=None):
    for name in text.split():
        table.append((name, arguments, k, module))


for _ in range(3):
    add("abs neg sign floor ceil square relu sgn isnan isfinite bitwise_not logical_not round positive trunc", any_tensor)
    add("add sub mul div remainder floor_divide pow eq ne lt le gt ge maximum minimum", any_tensor, operand)
add("exp log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh sigmoid frac erf erfc expm1 reciprocal"
    " deg2rad rad2deg isinf lgamma digamma angle signbit nan_to_num exp2 sinc asinh acosh atanh isreal conj_physical i0", any_tensor)
add("fmod atan2 fmax fmin logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor hypot logaddexp logaddexp2 copysign"
    " xlogy true_divide rsub heaviside gcd lcm ldexp bitwise_left_shift float_power", any_tensor, operand)
add("div", any_tensor, operand, k=lambda: {"rounding_mode": rng.choice(["floor", "trunc", "no"])})
add("add sub", any_tensor, operand, k=lambda: {"alpha": scalar()})
add("sum prod", any_tensor, k=kw(dtype=dtype_name))
for _ in range(2):
    add("sum mean amax amin logsumexp nansum nanmean count_nonzero", any_tensor, axes, k=None)
    add("sum mean amax amin", any_tensor, k=kw(dim=axes, keepdim=boolean))
    add("max min median argmax argmin prod all any cumsum cumprod cummax cummin logcumsumexp mode sort argsort std var", any_tensor, axis)
add("max min argmax argmin all any sort", any_tensor, k=kw(dim=axis, keepdim=boolean))
add("max min median all any std var nanmedian argmax norm unique unique_consecutive numel mean", any_tensor)
add("std var std_mean var_mean", any_tensor, k=kw(dim=axes, unbiased=boolean, keepdim=boolean))
add("std var", any_tensor, k=kw(dim=axes, correction=small, keepdim=boolean))
add("norm", any_tensor, const(1, 2, .5, 0, "fro", "nuc", inf), maybe(axes))
add("sort argsort", any_tensor, k=kw(dim=axis, descending=boolean, stable=const(True)))
add("topk", any_tensor, small, maybe(axis), maybe(boolean))
add("kthvalue", any_tensor, small, maybe(axis), maybe(boolean))
add("cumsum cumprod", any_tensor, axis, k=kw(dtype=dtype_name))
add("diff", any_tensor, maybe(small), maybe(axis))
add("quantile", real, const(.25, .5, 1.5), k=kw(dim=axis, keepdim=boolean))
add("reshape view", any_tensor, shape_of)
add("expand broadcast_to", any_tensor, shape_of)
add("repeat tile", any_tensor, const([2], [2, 1], [1, 2, 1], [], [0], [2, 0], [-1]))
add("permute", any_tensor, const([0], [1, 0], [0, -1], [2, 0, 1], [0, 0], []))
add("transpose swapaxes", any_tensor, axis, axis)
add("movedim", any_tensor, axis, axis)
add("squeeze", any_tensor, maybe(axes))
add("unsqueeze", any_tensor, axis)
add("flatten", any_tensor, maybe(axis), maybe(axis))
add("unflatten", any_tensor, axis, const([1, -1], [3, 1], [2, 2], [-1]))
add("flip", any_tensor, const([0], [1], [0, 1], [-1], [], [3]))
add("fliplr flipud t ravel diag tril triu adjoint nonzero argwhere trace diagonal diag_embed view_as_real", any_tensor)
add("roll", any_tensor, small, maybe(axis))
add("rot90", any_tensor, maybe(small), maybe(const([0, 1], [1, 0], [0, 0])))
add("narrow", any_tensor, axis, small, small)
add("select", any_tensor, axis, small)
add("split", any_tensor, counts, maybe(axis))
add("chunk tensor_split", any_tensor, const(1, 2, 3, 0), maybe(axis))
add("unbind", any_tensor, maybe(axis))
add("cat stack", same, maybe(axis))
add("cat stack", seq(any_tensor), maybe(axis))
add("hstack vstack dstack block_diag column_stack", seq(any_tensor))
add("broadcast_tensors cartesian_prod meshgrid atleast_1d atleast_2d", any_tensor, any_tensor)
add("atleast_1d atleast_3d", any_tensor)
add("repeat_interleave", any_tensor, small, k=kw(dim=axis))
add("tril triu diag", any_tensor, small)
add("diagonal", any_tensor, small, axis, axis)
add("take", any_tensor, ids)
add("gather take_along_dim", any_tensor, axis, ids)
add("take_along_dim", any_tensor, ids, axis)
add("index_select", any_tensor, axis, ids)
add("masked_select", any_tensor, mask)
add("masked_fill", any_tensor, mask, operand)
add("where", mask, operand, operand)
add("index_fill", any_tensor, axis, ids, scalar)
add("index_add", any_tensor, axis, ids, any_tensor)
add("scatter scatter_add", any_tensor, axis, ids, any_tensor)
add("scatter", any_tensor, axis, ids, scalar)
add("searchsorted bucketize isin", any_tensor, any_tensor)
add("bincount", whole)
add("histc", real, const(2, 4), const(-1), const(2))
add("clamp clip", any_tensor, scalar, scalar)
add("clamp", any_tensor, k=kw(min=scalar, max=scalar))
add("lerp", any_tensor, any_tensor, operand)
add("addcmul addcdiv", any_tensor, any_tensor, any_tensor, k=kw(value=scalar))
add("outer", shaped(1), shaped(1))
add("dot vdot inner", shaped(1), shaped(1))
for _ in range(2):
    add("matmul mm", shaped(1, 2, 2, 2, 3), shaped(1, 2, 2, 2, 3))
add("mv", shaped(2), shaped(1))
add("bmm", shaped(3), shaped(3))
add("addmm", any_tensor, shaped(2), shaped(2), k=kw(alpha=scalar, beta=scalar))
add("kron", any_tensor, any_tensor)
add("cdist", shaped(2), shaped(2), maybe(const(1, 2, .5, 0)))
add("tensordot", shaped(2, 3), shaped(2, 3), maybe(const(0, 1, 2, [[0], [0]], [[1, 0], [0, 1]])))
add("einsum", const("ij,jk->ik", "ij,ij->", "i,j->ij", "ii->i", "bij->bji"), any_tensor, maybe(any_tensor))
add("softmax log_softmax", real, axis, k=kw(dtype=lambda: dtypes[rng.choice(floats)]))
add("cosine_similarity", real, real, k=kw(dim=axis))
add("unique", any_tensor, k=kw(sorted=const(True), return_inverse=boolean, return_counts=boolean, dim=axis))
add("unique_consecutive", any_tensor, k=kw(return_inverse=boolean, return_counts=boolean, dim=axis))
add("complex polar", real, real)
add("view_as_complex", any_tensor)
add("allclose equal", any_tensor, any_tensor)
add("result_type", any_tensor, operand)
add("can_cast promote_types", dtype_name, dtype_name)
add("zeros ones", shape_of, k=kw(dtype=dtype_name))
add("full", shape_of, scalar, k=kw(dtype=dtype_name))
add("zeros_like ones_like", any_tensor, k=kw(dtype=dtype_name))
add("full_like", any_tensor, scalar, k=kw(dtype=dtype_name))
add("new_zeros new_ones", any_tensor, shape_of, k=kw(dtype=dtype_name))
add("new_full", any_tensor, shape_of, scalar)
add("arange", scalar, k=kw(dtype=dtype_name))
add("arange", scalar, scalar, maybe(scalar))
add("linspace logspace", scalar, scalar, const(1, 2, 3, 0, 5), k=kw(dtype=dtype_name))
add("eye", const(0, 1, 3), maybe(const(2, 1)))
add("hann_window hamming_window bartlett_window", const(0, 1, 5))
add("tril_indices", const(2, 3), const(2, 3), maybe(small))
add("combinations", shaped(1))
add("to", any_tensor, k=lambda: {"dtype": dtype_name()})
add("type_as to", any_tensor, any_tensor)
add("dim is_contiguous is_floating_point is_complex", any_tensor)
add("size", any_tensor, maybe(axis))
add("tolist item", any_tensor)
add("gelu", real, k=kw(approximate=const("none", "tanh", "no")), module=F)
add("silu elu selu celu softplus hardtanh leaky_relu mish relu6 hardsigmoid hardswish", real, module=F)
add("elu celu leaky_relu", real, fraction, module=F)
add("glu", real, maybe(axis), module=F)
add("layer_norm", real, const([3], [2, 3], [2], 3), module=F)
add("one_hot", ids, maybe(const(3, 10)), module=F)
add("mse_loss l1_loss smooth_l1_loss huber_loss", any_tensor, any_tensor, k=kw(reduction=const("none", "mean", "sum")), module=F)
add("cross_entropy nll_loss", real, ids, k=kw(reduction=const("none", "mean", "sum"), ignore_index=const(0, 1)), module=F)
add("binary_cross_entropy_with_logits", real, real, module=F)
add("pad", any_tensor, const([1, 1], [0, 2], [1, -1], [1, 1, 0, 1], [1]), maybe(const("constant", "reflect", "replicate")), module=F)
add("det inv matrix_rank svdvals eigvalsh slogdet", shaped(2, 3), module=torch.linalg)
add("vector_norm", any_tensor, const(1, 2, 3, inf), maybe(axes), module=torch.linalg)
add("matrix_power", shaped(2), const(0, 1, 2, -1), module=torch.linalg)
add("solve", shaped(2), shaped(1, 2), module=torch.linalg)
add("fft ifft rfft", any_tensor, module=torch.fft)
add("fft", any_tensor, const(2, 4), maybe(axis), module=torch.fft)
add("expit entr xlog1py ndtr", any_tensor, any_tensor, module=torch.special)
add("expit entr ndtr log_ndtr", any_tensor, module=torch.special)
add("add_ mul_ sub_ div_ pow_ copy_ fill_ masked_fill_ clamp_ neg_ exp_ relu_ zero_", any_tensor, maybe(operand))
PREFIX = {torch.linalg: "linalg_", torch.fft: "fft_", torch.special: "special_"}
VARARGS = {"block_diag", "broadcast_tensors", "cartesian_prod", "meshgrid", "atleast_1d", "atleast_2d", "atleast_3d"}


# ---- calls -------------------------------------------------------------------------------------------------------------

def real_value(v):
    if isinstance(v, Ref):
        return v.t
    return [real_value(x) for x in v] if isinstance(v, list) else v


def packed(v):
    if isinstance(v, Ref):
        return v.name
    if isinstance(v, list):
        return [packed(x) for x in v]
    return names[v] if isinstance(v, torch.dtype) else number(v)


def attempt(f):
    try:
        return answer(f())
    except Unfit:
        raise
    except Exception:
        return {"e": 1}


def call():
    name, arguments, k, module = rng.choice(table)
    a = []
    for f in arguments:
        v = f()
        if v is ...:
            break
        a.append(v)
    k = k() if k else {}
    f = getattr(module, name, None) if module else getattr(torch, name, None) or getattr(torch.Tensor, name)
    given = [real_value(v) for v in a]
    if name.endswith("_") and given:
        given[0] = given[0].clone()
    if name in VARARGS and len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    case = {"f": PREFIX.get(module, "") + name, "a": packed(a)}
    if k:
        case["k"] = {x: packed(v) for x, v in k.items()}
    if name == "dim" or name == "numel":
        case["m"] = 1
    case["r"] = attempt(lambda: f(*given, **k))
    return case


SIGNS = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y,
         "%": lambda x, y: x % y, "^": lambda x, y: x ** y}


def operator():
    sign = rng.choice(list(SIGNS) + ["neg"])
    if sign == "neg":
        x = any_tensor()
        return {"o": "neg", "a": [x.name], "r": attempt(lambda: -x.t)}
    a = [any_tensor(), operand()]
    rng.shuffle(a)
    return {"o": sign, "a": packed(a), "r": attempt(lambda: SIGNS[sign](*[real_value(v) for v in a]))}


def position(size):
    return rng.choice([0, -1, rng.randint(-size - 1, size)])


def piece(t, at):
    size = t.shape[at] if at < t.dim() else 3
    kind = rng.choice(["int", "int", "slice", "slice", "slice", "all", "none", "dots", "list", "ids", "mask", "bool"])
    if kind == "int":
        i = position(size)
        return i, i
    if kind in ("slice", "all"):
        b = [None, None, None] if kind == "all" else [
            rng.choice([None, rng.randint(-size - 1, size + 1)]), rng.choice([None, rng.randint(-size - 1, size + 1)]),
            rng.choice([None, None, 1, 2, 3, 0])]
        return {"s": b}, slice(*b)
    if kind == "none":
        return {"w": "None"}, None
    if kind == "dots":
        return {"w": "..."}, Ellipsis
    if kind == "list":
        b = [position(size) for _ in range(rng.choice([1, 2, 3]))]
        return {"l": b}, b
    if kind == "ids":
        r = ref(rng.choice(["int64", "int64", "uint8", "int32"]))
        return {"t": r.name}, r.t
    if kind == "mask":
        r = ref("bool")
        return {"t": r.name}, r.t
    b = boolean()
    return b, b


def indexing():
    r = ref(None, lambda t: t.dim() > 0 or rng.random() < .1)
    pieces = [piece(r.t, at) for at in range(rng.choice([1, 1, 2, 2, 3]))]
    key = tuple(p[1] for p in pieces)
    case = {"i": [p[0] for p in pieces], "x": r.name}
    if rng.random() < .5:
        case["r"] = attempt(lambda: r.t[key])
        return case
    v = operand()
    if isinstance(v, Ref) and v.name.endswith("n"):
        raise Unfit  # PyTorch writes the numbers in memory of some negative views, not the negatives
    copy = r.t.clone()

    def put():
        copy[key] = real_value(v)
        return copy
    case["v"] = packed(v)
    case["r"] = attempt(put)
    return case


def printing():
    r = ref()
    return {"p": r.name, "r": str(r.t)}


def making():
    dtype = rng.choice([None] + list(dtypes))
    if dtype and dtype.startswith("complex"):
        dtype = None
    depth = rng.choice([0, 1, 1, 2])
    kind = rng.choice([lambda: rng.randint(-3, 3), lambda: rng.choice([1, 2.5, -.75, 300, -200, 40000]), boolean])

    def one(d):
        return [one(d - 1) for _ in range(2)] if d else kind()
    v = one(depth)
    flat = torch.tensor(v).dtype
    # Numbers of Lua are fractions and whole numbers alike: without a dtype a list makes float32, as Python's fractions do.
    make = dtypes[dtype] if dtype else torch.bool if flat == torch.bool else torch.float32
    return {"n": v, "d": dtype, "r": attempt(lambda: torch.tensor(v, dtype=make))}


lines, seen, raised = [], set(), 0
kinds = [call] * 12 + [operator] * 3 + [indexing] * 6 + [printing, making]
while len(lines) < NUMBER:
    try:
        case = rng.choice(kinds)()
        line = json.dumps(case, separators=(",", ":"))
    except (Unfit, KeyError, OverflowError):
        continue
    failed = case["r"] == {"e": 1}
    if line in seen or len(line) > 700 or failed and raised * 5 > len(lines):
        continue
    raised += failed
    seen.add(line)
    lines.append(line)
print(json.dumps([[names[t.dtype], list(t.shape), numbers(t)] for t in pool], separators=(",", ":")))
print("\n".join(lines))
print("torch %s, %d calls, %d raise" % (torch.__version__, len(lines), raised), file=sys.stderr)
