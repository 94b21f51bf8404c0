"""Writes random_nn.jsonl: random calls of modules and optimizers, with what PyTorch answers. Made with torch 2.13.0.

    python spec/reference/random_nn.py > spec/reference/random_nn.jsonl
    python spec/reference/random_nn.py SEED 10 > /tmp/r.jsonl; LUASIGHT_RANDOM_NN=/tmp/r.jsonl tools/test spec/nn/random_spec.lua

The first argument is a seed (1), the second a factor for the number of cases (1). Each line is a case. Numbers that go in are
not written down: `pattern` makes them, here and in random_spec.lua. "error" says at which stage PyTorch raises.
"""
import inspect
import json
import random
import sys

import torch
from torch import nn
from torch.nn import functional as F

rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
factor = int(sys.argv[2]) if len(sys.argv) > 2 else 1
DIGITS = {"float32": 7, "float64": 12, "bfloat16": 4}
torch.set_num_threads(1)


def pattern(shape, a, b, dtype, bound=None):
    """Numbers from -30/8 to 30/8, which every dtype holds exactly; whole numbers below `bound` where that is given."""
    n = 1
    for size in shape:
        n *= size
    if bound:
        return torch.tensor([(i * a + b) % bound for i in range(n)], dtype=dtype).reshape(shape)
    return torch.tensor([((i * a + b) % 61 - 30) / 8 for i in range(n)], dtype=torch.float64).to(dtype).reshape(shape)


def name_of(dtype):
    return str(dtype)[6:]


def numbers(t):
    digits = DIGITS.get(name_of(t.dtype), 17)
    out = []
    for x in t.detach().double().reshape(-1).tolist():
        out.append(str(x) if x != x or abs(x) == float("inf") else float(f"%.{digits}g" % x))
    return out


def pack(t):
    return {"t": name_of(t.dtype), "s": list(t.shape), "d": numbers(t)}


def chance(p):
    return rng.random() < p


def dice():
    return [rng.randint(1, 40), rng.randint(0, 60)]


cases = []

# ---- modules ---------------------------------------------------------------------------------------------------------

# For each class: the values of its arguments by position, then those of its options, some of them wrong. "settings": all are
# options in Python and settings, by position or by name, in Lua.
BOOL = [True, False]
WEIGHTED = {
    "Linear": ({"in_features": [1, 3, 4], "out_features": [1, 2, 5, 0]}, {"bias": BOOL}),
    "Embedding": ({"num_embeddings": [1, 5], "embedding_dim": [1, 3]},
                  {"padding_idx": [0, -1, 2, -5, 7, -6], "max_norm": [1.0], "norm_type": [1.0], "scale_grad_by_freq": BOOL,
                   "sparse": BOOL}),
    "LayerNorm": ({"normalized_shape": [3, [3], [2, 3], [1], 4]},
                  {"eps": [0.0, 1e-3, 0.5], "elementwise_affine": BOOL, "bias": BOOL}),
    "RMSNorm": ({"normalized_shape": [3, [3], [2, 3], [1], 4]}, {"eps": [0.0, 1e-3, 0.5], "elementwise_affine": BOOL}),
    "PReLU": ({"num_parameters": [1, 3, 2]}, {"init": [0.5, -1.0, 0.0]}),
}
IN = {"inplace": BOOL}
SETTINGS = {
    "Dropout": {"p": [0.0, 0.5, 1.0, 0.3, -0.1, 1.5], **IN}, "Flatten": {"start_dim": [0, 1, 2, -2, 5], "end_dim": [-1, 1, 0, -2]},
    "ReLU": IN, "ReLU6": IN, "SiLU": IN, "Mish": IN, "SELU": IN, "Hardswish": IN, "Hardsigmoid": IN,
    "Tanh": {}, "Sigmoid": {}, "LogSigmoid": {}, "Softsign": {}, "Tanhshrink": {},
    "GELU": {"approximate": ["none", "tanh", "tan"]}, "LeakyReLU": {"negative_slope": [0.2, 0.0, -0.5, 2.0], **IN},
    "ELU": {"alpha": [0.5, 2.0, 0.0, -1.0], **IN}, "CELU": {"alpha": [0.5, 2.0, 0.0, -1.0], **IN},
    "Softplus": {"beta": [2.0, 0.5, -1.0], "threshold": [1.0, 20.0, 0.0, -1.0]},
    "Hardtanh": {"min_val": [-2.0, 0.0, 0.5], "max_val": [2.0, 0.25, 6.0], **IN},
    "Softmax": {"dim": [-1, 0, 1, 2, None]}, "LogSoftmax": {"dim": [-1, 0, 1, 2, None]}, "GLU": {"dim": [-1, 0, 1, 3]},
    "Identity": {},
}
LEFT = {"device", "dtype", "_weight", "_freeze", "min_value", "max_value", "args", "kwargs", "self"}
for name, options in [(n, {**p, **o}) for n, (p, o) in WEIGHTED.items()] + list(SETTINGS.items()):
    more = set(inspect.signature(getattr(nn, name).__init__).parameters) - LEFT - set(options)
    assert not more, f"{name} has options that are not drawn: {more}"

LEADING = [[], [1], [2], [0], [2, 3], [3, 2], [0, 3], [2, 0], [2, 1, 2]]


def inputs_of(name, args, dtype):
    """The shape of an input, and its dtype; now and then wrong ones."""
    shape = list(rng.choice(LEADING))
    if name == "Linear":
        shape.append(args[0] + chance(0.06))
    elif name in ("LayerNorm", "RMSNorm"):
        shape += args[0] if isinstance(args[0], list) else [args[0]]
        if chance(0.06):
            shape[-1] += 1
    elif name == "PReLU" and args[0] > 1:
        shape = rng.choice([[2, args[0]], [args[0]], [1, args[0], 2], [0, args[0]], [2, 4]])
    elif name == "GLU":
        shape = rng.choice([[4], [2, 4], [0, 2], [2, 2, 4], [3], []])
    if name == "Embedding":
        return shape, torch.int64 if chance(0.9) else rng.choice([torch.int32, torch.float32])
    return shape, dtype if chance(0.93) else rng.choice([torch.float32, torch.float64, torch.int64])


def draw_module(name):
    """The name, the arguments by position and the options of a module, as Python takes them and as Lua takes them."""
    dtype = rng.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16])
    if name in WEIGHTED:
        positional, options = WEIGHTED[name]
        args = [rng.choice(v) for v in positional.values()]
        kwargs = {k: rng.choice(v) for k, v in options.items() if chance(0.3)}
        if dtype != torch.float32:
            kwargs["dtype"] = dtype
        lua = {**kwargs, "dtype": name_of(dtype)} if dtype != torch.float32 else kwargs
        return args, kwargs, args, lua, dtype
    options = SETTINGS[name]
    kwargs = {k: rng.choice(v) for k, v in options.items() if chance(0.6)}
    if name == "Identity" and chance(0.5):
        return [3], {}, [3], {}, dtype
    first = [k for k in list(options)[:1] if k != "inplace"]
    if first and list(kwargs) == first and kwargs[first[0]] is not None and chance(0.5):
        return list(kwargs.values()), {}, list(kwargs.values()), {}, dtype
    return [], kwargs, [], {k: "None" if v is None else v for k, v in kwargs.items()}, dtype


def fill(module, seeds):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(pattern(p.shape, *seeds, p.dtype))


def differentiate(case, y, x, module):
    """Adds the gradients of the sum of y times a pattern."""
    if not y.requires_grad:
        return
    case["stage"] = "backward"
    (y * pattern(y.shape, 5, 3, y.dtype)).sum().backward()
    if x is not None and x.grad is not None:
        case["gx"] = pack(x.grad)
    if module is not None:
        case["gp"] = {k: pack(p.grad) for k, p in module.named_parameters() if p.grad is not None}


def run(case, make, shape, dtype, seeds):
    """Runs the stages of a module's case and adds the answers."""
    try:
        case["stage"] = "make"
        module = make()
        case["state"] = [[k, list(v.shape)] for k, v in module.state_dict().items()]
        case["text"] = repr(module)
        fill(module, seeds[1])
        module.train(case["train"])
        x = pattern(shape[::-1] if case["turned"] else shape, *seeds[0], dtype, case.get("bound"))
        for i, v in case["special"]:
            x.reshape(-1)[i] = float(v)
        if x.is_floating_point():
            x.requires_grad_()
        torch.manual_seed(case["seed"])
        case["stage"] = "forward"
        y = module(x.permute(*range(x.dim() - 1, -1, -1)) if case["turned"] else x)
        case["y"] = pack(y)
        differentiate(case, y, x, module)
        del case["stage"]
    except Exception:  # noqa: BLE001
        case["error"] = case.pop("stage")
    cases.append(case)


def module_case(name):
    args, kwargs, lua_args, lua_options, dtype = draw_module(name)
    shape, input_dtype = inputs_of(name, args, dtype)
    elements = 1
    for size in shape:
        elements *= size
    special = []
    if input_dtype.is_floating_point and elements > 0 and chance(0.08):
        special = [[rng.randrange(elements), rng.choice(["nan", "inf", "-inf", "1e30", "-1e30"])]]
    seeds = [dice(), dice()]
    case = {"kind": "module", "class": name, "args": lua_args, "options": lua_options, "dtype": name_of(input_dtype),
            "shape": shape, "turned": len(shape) > 0 and chance(0.2), "train": chance(0.5), "seed": rng.randint(0, 999), "x": seeds[0],
            "w": seeds[1], "special": special}
    if name == "Embedding" or input_dtype in (torch.int64, torch.int32):
        case["bound"] = args[0] + chance(0.05) if name == "Embedding" else 9
    run(case, lambda: getattr(nn, name)(*args, **kwargs), shape, input_dtype, seeds)


# ---- containers ------------------------------------------------------------------------------------------------------

PARTS = ["Linear(4, 4)", "LayerNorm(4)", "RMSNorm(4)", "ReLU()", "GELU()", "Tanh()", "Linear(4, 4, bias=False)", "PReLU()"]


def container_case():
    """A Sequential of parts, some of them twice, from which modules are removed and to which others are appended."""
    parts = [rng.choice(PARTS) for _ in range(rng.randint(1, 4))]
    order = [rng.randrange(len(parts)) for _ in range(rng.randint(0, 5))]
    changes = []
    length = len(order)
    for _ in range(rng.randint(0, 3)):
        if length > 0 and chance(0.5):
            changes.append(["remove", rng.randrange(-length, length)])
            length -= 1
        else:
            changes.append(["append", rng.randrange(len(parts))])
            length += 1

    def make():
        made = [eval("nn." + p) for p in parts]
        net = nn.Sequential(*[made[i] for i in order])
        for what, i in changes:
            if what == "remove":
                del net[i]
            else:
                net.append(made[i])
        case["children"] = [k for k, _ in net.named_children()]
        case["parameters"] = [k for k, _ in net.named_parameters()]
        return net

    seeds = [dice(), dice()]
    case = {"kind": "container", "parts": [p.replace("bias=False", "{ bias = false }") for p in parts], "order": order,
            "changes": changes, "dtype": "float32", "shape": rng.choice([[4], [2, 4], [0, 4]]), "turned": False,
            "train": chance(0.5), "seed": 1, "x": seeds[0], "w": seeds[1], "special": []}
    run(case, make, case["shape"], torch.float32, seeds)


# ---- attention -------------------------------------------------------------------------------------------------------


def attention_case():
    dtype = rng.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16])
    heads, groups = rng.choice([(1, 1), (2, 1), (4, 2), (3, 3)])
    batch, t, s, d = rng.choice([1, 2]), rng.choice([1, 2, 3]), rng.choice([1, 3, 4]), rng.choice([1, 2, 4])
    options, seeds = {}, [dice(), dice(), dice()]
    lua = {"groups": groups} if groups > 1 else {}
    if chance(0.3):
        options["is_causal"] = lua["is_causal"] = chance(0.8)
    if chance(0.3):
        options["scale"] = lua["scale"] = rng.choice([0.3, 1.0, 2.0, 0.0])
    case = {"kind": "attention", "dtype": name_of(dtype), "q": [batch, heads, t, d], "k": [batch, heads // groups, s, d],
            "seeds": seeds, "options": lua}
    if chance(0.5):
        shape = rng.choice([[t, s], [1, 1, t, s], [batch, heads, t, s], [s]])
        mask = pattern(shape, *dice(), torch.int64, 3) > 0
        if chance(0.5):
            mask = mask.to(dtype) * 2 - 1
            if chance(0.5):
                mask = mask.masked_fill(mask < 0, float("-inf"))
        case["mask"] = {"t": name_of(mask.dtype), "s": shape, "d": numbers(mask)}
        options["attn_mask"] = mask
    q, k, v = (pattern(case[n], *seeds[i], dtype).requires_grad_() for i, n in enumerate(["q", "k", "k"]))
    try:
        case["stage"] = "forward"
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=groups > 1, **options)
        case["y"] = pack(y)
        differentiate(case, y, None, None)
        case["g"] = [pack(t.grad) for t in (q, k, v)]
        del case["stage"]
    except Exception:  # noqa: BLE001
        case["error"] = case.pop("stage")
    cases.append(case)


# ---- optimizers ------------------------------------------------------------------------------------------------------

COMMON = {"maximize": BOOL, "foreach": BOOL, "differentiable": [False], "fused": [False]}
OPTIMIZERS = {
    "SGD": {"lr": [0.1, 1, 0, -0.1], "momentum": [0, 0.9, 0.5, -0.1], "dampening": [0, 0.5, 0, -0.5, 2],
            "weight_decay": [0, 0.1, -0.1], "nesterov": BOOL, **COMMON},
    "AdamW": {"lr": [0.1, 1, 0, -0.1], "betas": [[0.9, 0.999], [0.0, 0.5], [0.5, 0.0], [0.9, 1], [-0.1, 0.9], [0.8, 0.9]],
              "eps": [1e-8, 0.1, 0, -1e-8], "weight_decay": [0, 0.1, -0.1], "amsgrad": BOOL, "capturable": [False], **COMMON},
}
for name, options in OPTIMIZERS.items():
    more = set(inspect.signature(getattr(torch.optim, name).__init__).parameters) - {"self", "params"} - set(options)
    assert not more, f"{name} has options that are not drawn: {more}"
NORMS = [2.0, 1.0, 3.0, 0.5, float("inf"), float("-inf"), 0.0]


def optimizer_case(name):
    dtype = rng.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16])
    often = {"foreach": 0.05, "differentiable": 0.03, "fused": 0.03, "capturable": 0.03}
    kwargs = {k: rng.choice(v[:2] if chance(0.7) else v) for k, v in OPTIMIZERS[name].items() if chance(often.get(k, 0.5))}
    shapes = [rng.choice([[2, 2], [], [0], [3], [1]]) for _ in range(rng.randint(1, 3))]
    seeds, steps = dice(), 5
    case = {"kind": "optimizer", "class": name, "options": dict(kwargs), "dtype": name_of(dtype), "shapes": shapes, "seeds": seeds,
            "without": [[rng.randint(1, steps), rng.randint(1, len(shapes))] for _ in range(rng.randint(0, 3))]}
    if "betas" in kwargs:
        kwargs["betas"] = tuple(kwargs["betas"])
    if chance(0.3):
        case["rates"] = {str(rng.randint(2, steps)): rng.choice([0.5, 0.01])}
    if chance(0.3):
        case["clip"] = [rng.choice([0.5, 1, 10, 100, 0]), rng.choice(NORMS)]
    try:
        case["stage"] = "make"
        params = [pattern(s, seeds[0], seeds[1] + i, dtype).requires_grad_() for i, s in enumerate(shapes)]
        # In bfloat16 PyTorch's two ways of computing differ in the last digits. luasight's is that of foreach.
        opt = getattr(torch.optim, name)(params, **{"foreach": not {"fused", "differentiable"} & set(kwargs), **kwargs})
        case["stage"] = "step"
        path, norms = [], []
        for step in range(1, steps + 1):
            opt.zero_grad()
            opt.param_groups[0]["lr"] = case.get("rates", {}).get(str(step), opt.param_groups[0]["lr"])
            for i, p in enumerate(params):
                if [step, i + 1] not in case["without"]:
                    p.grad = pattern(p.shape, seeds[1] + step, seeds[0] + i, dtype)
            if "clip" in case:
                norms.append(torch.nn.utils.clip_grad_norm_(params, case["clip"][0], norm_type=case["clip"][1]))
            opt.step()
            path.append([x for p in params for x in numbers(p)])
        case["path"] = [path[0], path[2], path[4]]
        case["norms"] = [numbers(n)[0] for n in norms]
        case["state"] = {f"{k}.{i}": pack(v) for i, p in enumerate(params) for k, v in opt.state[p].items()
                         if k != "step" and v is not None}
        del case["stage"]
    except Exception:  # noqa: BLE001
        case["error"] = case.pop("stage")
    if "clip" in case:
        case["clip"] = [case["clip"][0], str(case["clip"][1])]
    cases.append(case)


def schedule_case():
    """Rates that a linear rise and half a cosine give, from the schedules that PyTorch has for the two."""
    steps, base, low = rng.randint(1, 9), rng.choice([0.1, 2.0]), rng.choice([0.0, 0.01, 0.5])
    warmup = rng.choice([0, 0, 2, 3])
    if warmup >= steps:
        warmup = 0
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps - warmup, eta_min=low)
    if warmup:
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        rise = torch.optim.lr_scheduler.LinearLR(opt, start_factor=1 / warmup, total_iters=warmup - 1)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps - warmup, eta_min=low)
        cosine = torch.optim.lr_scheduler.SequentialLR(opt, [rise, cosine], milestones=[warmup])
    rates = []
    for _ in range(steps + 1):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        cosine.step()
    cases.append({"kind": "schedule", "lr": base, "options": {"steps": steps, "warmup": warmup, "min_lr": low}, "rates": rates})


for _ in range(factor):
    for name in WEIGHTED:
        for _ in range(16):
            module_case(name)
    for name in SETTINGS:
        for _ in range(3 if not SETTINGS[name] else 6):
            module_case(name)
    for _ in range(24):
        container_case()
    for _ in range(32):
        attention_case()
    for name in OPTIMIZERS:
        for _ in range(50):
            optimizer_case(name)
    for _ in range(8):
        schedule_case()
for case in cases:
    print(json.dumps(case, separators=(",", ":")))
