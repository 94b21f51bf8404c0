"""Files that torch.save writes, small ones with everything that can be in them, and what they hold.

    python3 spec/reference/torch_files.py       (torch 2.13; writes into spec/reference/torch_files/)

expected.json has for each file the whole as nested lists and objects; a tensor is {"dtype": ..., "shape": ..., "numbers": ...}.
"""
import collections
import json
import os
import zipfile

import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_files")
os.makedirs(HERE, exist_ok=True)
torch.manual_seed(1)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/luasight-was-here",)


def dtypes():
    n = torch.arange(6).reshape(2, 3)
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    return {name: n.to(getattr(torch, name)) for name in names}


def shared():
    whole = torch.randn(4, 6)
    return collections.OrderedDict(
        whole=whole, again=whole, row=whole[2], column=whole[:, 1], turned=whole.t(), part=whole[1:3, 2:5],
        wide=whole[:1].expand(3, 6), every=whole[::2], none=torch.empty(0, 3), number=torch.tensor(2.5), one=whole[3:, 5:])


def nested():
    net = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.25)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "big": 2 ** 40, "negative": -7, "rate": 0.125, "name": "größer", "yes": True, "no": False,
            "nothing": None, "list": [1, [2, 3], []], "pair": (0.5, "x"), "size": torch.Size([2, 3]), "dtype": torch.float16,
            "device": torch.device("cpu"), "parameter": torch.nn.Parameter(torch.ones(2)),
            "model": net.state_dict(), "optimizer": optimizer.state_dict(), 5: "five"}


def plain(v):
    if isinstance(v, torch.Tensor):
        numbers = v.detach()
        if v.dtype.is_complex:
            return {"dtype": str(v.dtype)[6:], "shape": list(v.shape), "numbers": torch.view_as_real(numbers.resolve_conj()).tolist()}
        return {"dtype": str(v.dtype)[6:], "shape": list(v.shape),
                "numbers": (numbers.double() if v.dtype.is_floating_point else numbers.long()).tolist()}
    if isinstance(v, (list, tuple)):
        return [plain(e) for e in v]
    if isinstance(v, dict):
        return {str(k): plain(e) for k, e in v.items()}
    return str(v).replace("torch.", "") if isinstance(v, (torch.dtype, torch.device)) else v


def lazy():
    z = torch.tensor([[1 + 2j, 3 - 4j], [-5j, 6]])
    return {"negative": torch.arange(4.)._neg_view(), "part": torch.arange(6.).reshape(2, 3)._neg_view()[:, 1:],
            "conjugate": z.conj(), "turned": z.mH, "both": z.conj()._neg_view(), "imaginary": z.clone().conj().imag,
            "plain": z, "small": torch.arange(3).half()._neg_view()}


files = {
    "dtypes": (dtypes(), {}),
    "shared": (shared(), {}),
    "nested": (nested(), {}),
    "protocol4": (nested(), {"pickle_protocol": 4}),
    "old": (nested(), {"_use_new_zipfile_serialization": False}),
    "old-shared": (shared(), {"_use_new_zipfile_serialization": False}),
    "small": ({"a": torch.arange(3).to(torch.uint16), "b": torch.ones(2).to(torch.float8_e4m3fn)}, {}),
    "lazy": (lazy(), {}),
    "alone": (torch.arange(3), {}),
}
for name, (value, options) in files.items():
    torch.save(value, os.path.join(HERE, name + ".pt"), **options)
torch.save({"a": torch.ones(2), "b": Evil()}, os.path.join(HERE, "evil.pt"))
torch.save({"a": Evil()}, os.path.join(HERE, "evil-old.pt"), _use_new_zipfile_serialization=False)
with zipfile.ZipFile(os.path.join(HERE, "dtypes.pt")) as given, \
        zipfile.ZipFile(os.path.join(HERE, "compressed.pt"), "w", zipfile.ZIP_DEFLATED) as packed:
    for entry in given.namelist():
        packed.writestr(entry, given.read(entry))
with open(os.path.join(HERE, "expected.json"), "w") as f:
    json.dump({name: plain(value) for name, (value, _) in files.items()}, f, indent=None, sort_keys=True)
