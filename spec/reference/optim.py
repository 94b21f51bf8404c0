"""Writes optim.json: 20 steps of PyTorch's optimizers on a small problem. Made with torch 2.13.0.

    python spec/reference/optim.py > spec/reference/optim.json

The problem: w (3 x 2) and b (2), loss = sum((x w + b)^2 * c) + sum(w^4), all float64, gradients clipped where said.
"""
import json
import math

import torch

W = [[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]]
B = [0.1, -0.2]
X = [[1.0, 2.0, -1.0], [0.5, -0.5, 1.0], [2.0, 0.0, 0.3], [-1.0, 1.0, 1.0]]
C = [0.5, 1.5]


def run(make, clip=None, cosine=None):
    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(B, dtype=torch.float64, requires_grad=True)
    x, c = torch.tensor(X, dtype=torch.float64), torch.tensor(C, dtype=torch.float64)
    opt = make([w, b])
    schedule = None
    if cosine:
        base, floor, warmup, steps = opt.param_groups[0]["lr"], cosine["min_lr"], cosine["warmup"], cosine["steps"]

        def rate(k):
            if k < warmup:
                return (k + 1) / warmup
            share = min(1, (k - warmup) / (steps - warmup))
            return (floor + 0.5 * (base - floor) * (1 + math.cos(math.pi * share))) / base

        schedule = torch.optim.lr_scheduler.LambdaLR(opt, rate)
    path, norms, rates = [], [], []
    for _ in range(20):
        opt.zero_grad()
        loss = (((x @ w + b) ** 2) * c).sum() + (w**4).sum()
        loss.backward()
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_([w, b], clip).item())
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        if schedule:
            schedule.step()
        path.append(w.detach().reshape(-1).tolist() + b.detach().tolist())
    return {"path": path, "norms": norms, "rates": rates}


def case(name, options, **more):
    lua = dict(options)
    if "betas" in options:
        lua["betas"] = list(options["betas"])
    result = run(lambda p: getattr(torch.optim, name)(p, **options), **more)
    return {"optimizer": name, "options": lua, **more, **result}


cases = [
    case("SGD", {"lr": 0.01}),
    case("SGD", {"lr": 0.01, "momentum": 0.9}),
    case("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    case("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    case("AdamW", {"lr": 0.05}),
    case("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2}),
    case("AdamW", {"lr": 0.05, "weight_decay": 0.0}, clip=1.5),
    case("AdamW", {"lr": 0.05}, cosine={"warmup": 4, "steps": 18, "min_lr": 0.001}),
    case("SGD", {"lr": 0.02}, clip=0.5, cosine={"warmup": 0, "steps": 20, "min_lr": 0.0}),
]
print(json.dumps({"W": W, "B": B, "X": X, "C": C, "cases": cases}, separators=(",", ":")))
