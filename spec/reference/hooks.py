"""Runs random programs of traces with PyTorch's hooks, and keeps them with the values that PyTorch gives.

    luajit spec/random/run.lua --dump 400 --seed 70001 > programs.json
    python spec/reference/hooks.py programs.json spec/reference/hooks.json.gz     (torch 2.13.0)

Each input runs alone. At every point of the net (the arguments and the output of a module, a tap) a hook runs the lines of the
program that can run, in the order written; a line that has to wait for a later value, while an edit below it changes what it uses,
keeps a copy. Gradients are taken and set by hooks of tensors. A program in which a line would have to wait inside a backward is
left out, since hooks alone cannot run it; so is one in which an edit comes behind an edit that is written below it, and a line between
them uses what both change: the order of the lines and that of the model have two answers.
"""
import gzip
import json
import sys

import torch

torch.set_default_dtype(torch.float64)


class CannotRun(Exception):
    pass


def slices(spec):
    out = []
    for part in spec.split(","):
        numbers = [int(n) if n.strip() else None for n in part.split(":")]
        out.append(slice(*numbers) if ":" in part else numbers[0])
    return tuple(out)


class Net:
    """A net of spec/random/nets.lua; `at` is called at each point and returns the value to go on with."""

    def __init__(self, root, at):
        self.root, self.at, self.calls = root, at, {}

    def run(self, module, path, args):
        call = self.calls.get(path, 0)
        self.calls[path] = call + 1
        args = self.at(path, call, "input", list(args))
        if module["kind"] == "block":
            value = self.block(module, path, call, args)
        elif module["kind"] == "linear":
            weight, bias = torch.tensor(module["weight"]) * 0.5, torch.tensor(module["bias"])
            value = torch.nn.functional.linear(args[0], weight, bias)
        elif module["kind"] == "norm":
            mean, variance, weight, bias = (torch.tensor(module[k]) for k in ("mean", "variance", "weight", "bias"))
            value = torch.nn.functional.batch_norm(args[0], mean, variance, weight, bias, False)
        elif module["kind"] == "tanh":
            value = torch.tanh(args[0])
        else:
            value = args[0]
        return self.at(path, call, "output", value)

    def block(self, module, path, call, args):
        values = dict(zip(module["inputs"], args))
        children = dict(map(tuple, module["children"]))
        for out, what, a, *more in module["lines"]:
            if what == "call":
                given = [values[name] for name in more]
                values[out] = self.run(children[a], a if path == "" else path + "." + a, given)
            elif what == "tap":
                values[out] = self.at(path, call, a, values[more[0]])
            elif what == "add":
                values[out] = values[a] + values[more[0]]
            elif what == "mul":
                values[out] = values[a] * more[0]
            elif what == "t":
                values[out] = values[a].t()
            elif what == "slice":
                values[out] = values[a][slices(more[0])]
            elif what == "item":
                values[out] = values[a][more[0]]
            else:
                raise CannotRun(what)
        result = module["result"]
        return values[result] if isinstance(result, str) else tuple(values[name] for name in result)


CALC = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "tanh": lambda a, _: torch.tanh(a),
    "clone": lambda a, _: a.clone(), "t": lambda a, _: a.t(),
}


class Body:
    """The lines of one invoke, run beside its net."""

    def __init__(self, lines, given):
        self.lines = [dict(line, at=i, done=False, kept={}, kept_of=[]) for i, line in enumerate(lines)]
        self.maker = {line["out"]: line for line in self.lines if "out" in line}
        self.values, self.seen = {}, set()
        self.gradients = any(line["op"] == "backward" for line in self.lines)
        self.running = None  # the backward that runs
        self.own = []  # the gradients that lines have, with the versions of their tensors
        x = torch.tensor(given)
        self.x = x.requires_grad_(True) * 1 if self.gradients else x

    # -- what a line uses

    def operands(self, line):
        names = [line[k]["var"] for k in ("a", "b", "value", "by") if isinstance(line.get(k), dict) and "var" in line[k]]
        return names + ([line["of"]] if "of" in line else [])

    def root(self, name):
        """The line that made the memory in which a name looks."""
        line = self.maker[name]
        while line["op"] == "calc" and line["f"] in ("slice", "t"):
            line = self.maker[line["a"]["var"]]
        if line["op"] in ("read", "cache"):
            first = [o for o in self.lines if o["op"] in ("read", "cache") and o["point"] == line["point"]]
            return first[0]
        return line

    def stands(self, line, name):
        """The value is there, with all edits written above the line."""
        if name in line["kept"]:
            return True
        if not self.maker[name]["done"]:
            return False
        root = self.root(name)
        for edit in self.lines[:line["at"]]:
            if edit["op"] in ("inplace", "set") and not edit["done"] and self.root(edit["of"]) is root:
                return False
        return True

    def value(self, line, key):
        given = line[key]
        if isinstance(given, str):
            return line["kept"].get(given, self.values.get(given))
        if "number" in given:
            return given["number"]
        if "const" in given:
            return torch.tensor(given["const"])
        return line["kept"].get(given["var"], self.values.get(given["var"]))

    # -- running lines

    def can_run(self, line):
        op = line["op"]
        if line["done"] or op == "save":
            return False
        if op in ("read", "replace", "cache"):
            p, (path, call, kind) = line["point"], self.here
            if (p["path"], p["call"], p.get("name", p["kind"])) != (path, call, kind) or self.running:
                return False
            if any(self.changes(above, p) and not above["done"] for above in self.lines[:line["at"]]):
                return False
        if op in ("grad", "setgrad"):
            return False  # bound, and run by the hook
        if op == "backward" and self.running:
            return False
        return all(self.stands(line, name) for name in self.operands(line))

    def changes(self, line, point):
        """Whether a line changes what stands at a point."""
        if line["op"] in ("inplace", "set"):
            line = self.root(line["of"])
            if line["op"] != "read":
                return False
        elif line["op"] != "replace":
            return False
        p = line["point"]
        return (p["path"], p["call"], p.get("name", p["kind"])) == (point["path"], point["call"], point.get("name", point["kind"]))

    def sweep(self):
        moved = True
        while moved:
            moved = False
            for line in self.lines:
                if line["op"] in ("grad", "setgrad"):
                    self.bind(line)
                elif self.can_run(line):
                    line["done"] = True
                    self.execute(line)
                    moved = True

    def keep_above(self, edit):
        changed = self.values[edit["of"]].untyped_storage().data_ptr()
        for line in self.lines[edit["at"] + 1:]:
            if not line["done"] and changed in line["kept_of"]:
                raise CannotRun("an edit behind one written below it, and a line between them")
        for line in self.lines[:edit["at"]]:
            if line["done"] or line["op"] in ("grad", "setgrad", "save"):
                if not (line["op"] == "setgrad" and not line["done"]):
                    continue
            for name in self.operands(line):
                target = name == line.get("of") and line["op"] in ("inplace", "set", "setgrad")
                value = self.values.get(name)
                if value is not None and not target and name not in line["kept"]:
                    if value.untyped_storage().data_ptr() == changed:
                        line["kept"][name] = value.clone()
                        line["kept_of"].append(changed)

    def part(self, line, fresh=None):
        """The value that a line names at the point where the net stands; with `fresh`, the point's value with another one there."""
        p, value = line["point"], self.now
        if p["kind"] == "input" or "piece" in p:
            i = p["arg"] if p["kind"] == "input" else p["piece"]
            if fresh is None:
                return value[i]
            return type(value)(fresh if k == i else v for k, v in enumerate(value))
        return value if fresh is None else fresh

    def execute(self, line):
        op = line["op"]
        if op in ("read", "cache"):
            self.values[line["out"]] = self.part(line)
        elif op == "apply" or op == "calc":
            a = self.value(line, "a")
            if line["f"] == "slice":
                self.values[line["out"]] = a[slices(line["spec"])]
            else:
                self.values[line["out"]] = CALC[line["f"]](a, self.value(line, "b") if "b" in line else None)
        elif op == "replace":
            self.now = self.part(line, self.value(line, "value"))
        elif op == "set":
            self.keep_above(line)
            self.values[line["of"]][slices(line["spec"])] = self.value(line, "value")
        elif op == "inplace":
            self.keep_above(line)
            x = self.values[line["of"]]
            getattr(x, line["f"])(*([self.value(line, "b")] if "b" in line else []))
        elif op == "backward":
            self.backward(line)
        else:
            raise CannotRun(op)

    # -- gradients

    def backward_of(self, line):
        above = None
        for other in self.lines:
            if other["op"] == "backward":
                if other["at"] > line["at"]:
                    return other
                above = other
        return above

    def bind(self, line):
        if "bound" in line or not self.stands(line, line["of"]):
            return
        for other in self.lines[:line["at"]]:  # in the order written, where several ask for one value
            if other["op"] in ("grad", "setgrad") and "bound" not in other and other["of"] == line["of"]:
                return
        line["bound"] = True
        x = self.values[line["of"]]
        if not x.requires_grad:
            raise CannotRun("a value that does not depend on the input")
        if x.grad_fn is None:  # also brings the history of a view up to date, without which PyTorch 2.13 ends the process
            raise CannotRun("a leaf")
        line["version"] = (x.untyped_storage().data_ptr(), x.storage_offset(), tuple(x.shape), x._version)
        x.register_hook(lambda g: self.arrive(line, g))

    def arrive(self, line, g):
        if self.running is not self.backward_of(line) or line["done"]:
            return None
        line["done"] = True
        if line["op"] == "grad":
            # lines that read one gradient have one tensor
            if not any(g is own and line["version"] == version for version, own in self.own):
                g = g.clone()
                self.own.append((line["version"], g))
            self.values[line["out"]] = g
            self.sweep()
            return g
        if isinstance(line["value"], dict) and "var" in line["value"]:
            self.sweep()
            if not self.stands(line, line["value"]["var"]):
                raise CannotRun("a gradient that waits")
        fresh = self.value(line, "value")
        if fresh.shape != g.shape:
            raise CannotRun("shape")
        self.own.append((line["version"], fresh.clone()))
        return self.own[-1][1]

    def backward(self, line):
        accesses = [a for a in self.lines if a["op"] in ("grad", "setgrad") and self.backward_of(a) is line]
        for a in accesses:
            self.bind(a)
            if "bound" not in a:
                raise CannotRun("a value that comes after its backward")
        loss = (self.value(line, "of") * self.value(line, "by")).sum()
        self.running = line
        loss.backward(retain_graph=True)
        self.running = None
        if not all(a["done"] for a in accesses):
            raise CannotRun("a gradient that did not come")

    # -- the whole

    def at(self, path, call, kind, value):
        self.here, self.now = (path, call, kind), value
        self.sweep()
        return self.now

    def run(self, root):
        Net(root, self.at).run(root, "", [self.x])
        for line in self.lines:
            if not line["done"] and line["op"] not in ("save", "read", "calc"):
                raise CannotRun("a line that never ran: " + line["op"])
        saved = {line["of"] for line in self.lines if line["op"] == "save"}
        saved |= {line["out"] for line in self.lines if line["op"] == "cache"}
        out = {}
        for name in saved:
            v = self.values.get(name)
            out[name] = "unset" if v is None else {"shape": list(v.shape), "numbers": v.detach().reshape(-1).tolist()}
        return out


def main(source, target):
    file = json.load(open(source))
    kept, left = [], {}
    for program in file["programs"]:
        values = {}
        try:
            for invoke in program["invokes"]:
                values.update(Body(invoke["body"], invoke["input"]["const"]).run(file["nets"][program["net"]]))
        except (CannotRun, RuntimeError) as problem:
            why = str(problem).split("\n")[0][:80]
            left[why] = left.get(why, 0) + 1
            continue
        kept.append({"program": program, "values": values})
    with gzip.GzipFile(target, "wb", mtime=0) as out:
        out.write(json.dumps({"torch": torch.__version__.split("+")[0], "programs": kept}, separators=(",", ":")).encode())
    print(len(kept), "programs kept; left out:", left)


main(*sys.argv[1:])
