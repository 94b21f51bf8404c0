"""Writes print.jsonl: tensors and how PyTorch prints them. Made with torch 2.13.0.

    python spec/reference/print.py > spec/reference/print.jsonl

Each line holds dtype, shape, flags, the text, and either the numbers (as exact decimal or hexadecimal texts) or a rule:
"step" is a + b * (i * i % m) over the elements i, which Lua computes alike.
"""
import json
import math
import random
import sys

import torch

rng = random.Random(7)


def write(t, rule=None, **flags):
    if flags.get("requires_grad"):
        t = t.detach().requires_grad_(True)
    case = {"dtype": str(t.dtype)[6:], "shape": list(t.shape), "text": str(t), **flags}
    if rule:
        case["rule"] = rule
    else:
        flat = t.detach().reshape(-1)
        if t.is_floating_point():
            case["data"] = " ".join(v.hex() if math.isfinite(v) else str(v) for v in flat.double().tolist())
        else:
            case["data"] = " ".join(str(int(v)) for v in flat.tolist())
    print(json.dumps(case, separators=(",", ":")))


def step(shape, a, b, m, dtype, **flags):
    n = math.prod(shape)
    t = torch.tensor([a + b * (i * i % m) for i in range(n)], dtype=torch.float64).to(dtype).reshape(shape)
    write(t, rule=[a, b, m], **flags)


f32, f64, f16, bf16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
ints = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
floats = [f32, f64, f16, bf16]

# Without dimensions, and single numbers of every magnitude.
for v in [0.0, -0.0, 1.0, -1.0, 0.5, 3.14159265, 1e-5, -1e-4, 1e4, 123456.789, 1e8, 1.5e8, 2e8, 1e10, 1e-30, math.inf, -math.inf, math.nan]:
    write(torch.tensor(v, dtype=f32))
    write(torch.tensor([v, 1.0], dtype=f64))
for dtype in ints:
    write(torch.tensor(7, dtype=dtype))
    write(torch.tensor([], dtype=dtype))
write(torch.tensor(True))
write(torch.tensor([True, False]))
write(torch.tensor([], dtype=torch.bool))
write(torch.tensor([[True], [False]]))

# Mixes of zeros, whole numbers and what is not finite.
nan, inf = math.nan, math.inf
for values in [
    [0, 0, 0], [nan], [inf, nan], [0, inf], [1, inf, -inf], [1, nan, -3], [1.5, nan, inf], [-0.0, 1.25], [-0.0, 1], [1e9, 1],
    [1e9, inf], [1e-5, nan], [1000, 1], [1001, 1], [1000.5, 1], [1001, 1.5], [1e8, 1e6], [1e8 + 8, 1e6], [0.0001, 0.01],
    [0.00009, 0.01], [9999.5, 10000], [0.99995, 1.00005], [0.00005, 0.00015], [2.5, 3.5, 4.5], [1e38, 1e-38], [12345678, 1],
    [0.12345, 0.12355, 0.12365], [-1.99999, 2.00001], [1e15, 1e14], [16777216, 3],
]:
    for dtype in (f32, f64):
        write(torch.tensor(values, dtype=dtype))
for values in [[1, 2], [0.1, 0.2], [1e-7, 1], [65504, 1], [nan, 0.5], [1e4, 2.5]]:
    for dtype in (f16, bf16):
        write(torch.tensor(values, dtype=dtype))

# Empty ones.
for shape in [(0,), (0, 3), (2, 0), (2, 0, 4), (0, 0)]:
    for dtype in (f32, f64, torch.int64, torch.bool):
        write(torch.zeros(shape, dtype=dtype))
    write(torch.zeros(shape), requires_grad=True)

# Shapes: rows that fit a line, rows that do not, many dimensions, ones.
shapes = [(1,), (5,), (7,), (8,), (25,), (1, 1), (2, 3), (3, 9), (3, 10), (2, 30), (1, 1, 1), (2, 2, 2), (2, 1, 3), (2, 3, 1, 2),
          (1, 2, 1, 2, 1), (12, 2), (7, 7, 2)]
for shape in shapes:
    n = math.prod(shape)
    write(torch.tensor([rng.gauss(0, 1) for _ in range(n)], dtype=f32).reshape(shape))
    for dtype in (f64, f16, bf16):
        if n < 40:
            write(torch.tensor([rng.gauss(0, 3) for _ in range(n)], dtype=dtype).reshape(shape))
    write(torch.tensor([rng.randint(-300, 300) if n > 3 else n for _ in range(n)], dtype=torch.int64).reshape(shape))
    write(torch.tensor([rng.random() < 0.5 for _ in range(n)]).reshape(shape))
for i, shape in enumerate(shapes[:12]):
    n = math.prod(shape)
    write(torch.tensor([rng.gauss(0, 10 ** (i % 5)) for _ in range(n)], dtype=f32).reshape(shape), requires_grad=True)
    write(torch.tensor([rng.randint(0, 255) for _ in range(n)], dtype=torch.uint8).reshape(shape))
for dtype in ints[:2]:
    info = torch.iinfo(dtype)
    write(torch.tensor([info.max, info.min, 0], dtype=dtype))

# Suffixes near the line's end.
for n in range(1, 14):
    write(torch.tensor([0.5] * n, dtype=f64))
    write(torch.tensor([[0.25] * n, [1.25] * n], dtype=f32), requires_grad=True)
    write(torch.tensor([3] * (2 * n), dtype=torch.int32))

# Summaries.
for shape in [(1000,), (1001,), (5000,), (40, 40), (1001, 1), (1, 1001), (6, 200), (7, 200), (200, 6), (200, 7), (3, 4, 100),
              (8, 9, 20), (2, 2, 2, 2, 100), (7, 7, 7, 7), (3, 2, 200)]:
    step(shape, 0, 1, 97, torch.int64)
    step(shape, -3.5, 0.25, 61, f32)
    step(shape, 0, 1.0, 53, f32)
for shape in [(2000,), (33, 40), (9, 9, 20)]:
    step(shape, 0.001, 3.0, 1009, f32)
    step(shape, 1, 0.125, 17, f16)
    step(shape, 1, 0.5, 19, bf16, requires_grad=True)
    step(shape, -1, 1e-3, 31, f64, requires_grad=True)
    step(shape, 0, 1, 2, torch.bool)
# Dtypes for which Lua has no numbers, and other layouts. Complex numbers are made of two; the method "more" is called.
def more(t, then=None):
    made = getattr(t, then)() if then else t
    case = {"dtype": str(t.dtype)[6:], "shape": list(t.shape), "text": str(made), "more": then or True}
    if t.is_complex():
        flat = torch.view_as_real(t.to(torch.complex128)).reshape(-1).tolist()
        case["data"] = " ".join(repr(v) for v in flat)
    elif t.dtype.is_floating_point:
        case["data"] = " ".join(repr(v) for v in t.float().reshape(-1).tolist())
    else:
        case["data"] = " ".join(str(int(v)) for v in t.reshape(-1).tolist())
    print(json.dumps(case, separators=(",", ":")))


def complexes(shape, scale):
    n = math.prod(shape)
    def draw(by):
        return round(rng.gauss(0, by) * 64) / 64
    return torch.tensor([complex(draw(scale), rng.choice([0, draw(1)])) for _ in range(n)]).reshape(shape)


c64, c128 = torch.complex64, torch.complex128
for values in [[1 + 2j, -0.5 - 0.25j, 0], [1 + 2j], [complex(nan, 1), complex(inf, -inf), 1], [1e-9 + 1j, 2], [1e10 + 1j, 1e-3 - 2j],
               [0j, -0j], [1j, -1j], [100.5 - 3j, 2 + 1e5j], [-1 - 1j]]:
    more(torch.tensor(values, dtype=c64))
    more(torch.tensor(values, dtype=c128))
    more(torch.tensor(values[0], dtype=c64))
for shape in [(0,), (2, 0), (7,), (13,), (3, 4), (2, 2, 3)]:
    more(complexes(shape, 1).to(c64))
    more(complexes(shape, 100).to(c128))
more(complexes((1001,), 1).to(c64))
more(complexes((7, 2, 80), 100).to(c64))
more(torch.tensor([1 + 2j, -0.5 - 0.25j, 0]), "conj")
more(torch.tensor([1 + 2j, -0.5 - 0.25j]).to(torch.complex32))
for dtype, most in ((torch.uint16, 2 ** 16), (torch.uint32, 2 ** 32), (torch.uint64, 2 ** 64)):
    for values in ([7], [1, 2], [most - 1, 0], [[1, most // 2], [3, 4]], []):
        more(torch.tensor(values, dtype=dtype))
    more(torch.tensor(5, dtype=dtype))
for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu):
    for values in ([1, 2], [0.5, 1, 4], [[1, 2], [0.25, 8]], [0.0009765625, 1]):
        more(torch.tensor(values).to(dtype))
    more(torch.tensor(2.0).to(dtype))
for t in (torch.tensor([1.0, 0, 2.5]), torch.tensor([[1, 0], [0, 2]]), torch.zeros(2, 3), torch.tensor([[0.5, 0, 1.5]] * 3, dtype=f64),
          torch.tensor([[True, False]]), torch.eye(30)):
    more(t, "to_sparse")
    if t.dim() == 2:
        more(t, "to_sparse_csr")
        more(t, "to_sparse_csc")
for t in (torch.tensor([1.0, 2.5]), torch.ones(2, 3), torch.ones(40, 30)):
    more(t, "to_mkldnn")
print(f"torch {torch.__version__}", file=sys.stderr)
