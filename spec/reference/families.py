"""What transformers computes for tiny models of every family with odd settings: every module's output, logits, attention
patterns and gradients.

    python3 spec/reference/families.py [case ...]       (torch and transformers; writes into spec/reference/families/)

Each folder there is a checkpoint, weights in bfloat16, with reference.safetensors (float32) beside it:
  ids                       what the model reads: 1 T
  out.<module>              what each module gives at its first call (of a tuple the first element)
  pattern.<layer>           B H T T
  logits, targets, loss     the loss is that of the first positions for these targets
  grad.<parameter>          of the loss, for some parameters
  padded.ids, .mask         rows of different length, padded on the left
  padded.logits             what each row gives alone; 0 at padding
print.txt is the model as text. A case named x-old has a config.json as older versions wrote it.
"""
import copy
import json
import os
import shutil
import sys
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from families_cases import CASES

transformers.logging.set_verbosity_error()
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "families")
T = 7
# Attention drops out its pattern by itself here, in transformers by a module.
NOT_OURS = ("attn_dropout", "attention_dropout", "attention.self.dropout", "attention.dropout")


def write(name, tensors):
    save_file({key: t.detach().contiguous().clone() for key, t in tensors.items()}, name, {"format": "pt"})


def config_of(folder, case):
    """config.json as this version writes it, or as given; read back by transformers either way."""
    path = os.path.join(folder, "config.json")
    if "old" in case:
        with open(path, "w") as f:
            json.dump(case["old"], f, indent=2, sort_keys=True)
    else:
        AutoConfig.for_model(**case["new"]).save_pretrained(folder)
    return AutoConfig.from_pretrained(folder)


def model_of(config, case, name):
    torch.manual_seed(zlib.crc32(name.encode()))
    kind = {"encoder": AutoModelForMaskedLM, "seq2seq": AutoModelForSeq2SeqLM}.get(case.get("kind"), AutoModelForCausalLM)
    config._experts_implementation = "eager"
    config.dtype = None  # else tables are made, and rounded, in the file's dtype
    model = kind.from_config(config, attn_implementation=case.get("implementation", "eager"), dtype=torch.float32).eval()
    if case.get("own_head"):  # though the configuration says that it is tied
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    scale = case.get("scale", 0.3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            keep = any(part in name for part in case.get("keep", ()))
            noise = torch.randn_like(p) * scale
            p.copy_(((p if keep or "norm" in name.lower() or "ln_" in name else 0) + noise).bfloat16())
    return model


def loss_of(logits, targets):
    return torch.nn.functional.cross_entropy(logits[:, :targets.shape[1]].flatten(0, 1), targets.flatten())


def arguments(ids, case, **more):
    if case.get("kind") == "seq2seq":
        return dict(input_ids=ids, decoder_input_ids=case["decoder_ids"].expand(ids.shape[0], -1), **more)
    return dict(input_ids=ids, **more)


def run_with_outputs(model, given, skip=()):
    outputs, handles = {}, []
    for path, module in model.named_modules():
        def keep(_module, _args, output, path=path):
            if isinstance(output, tuple):
                output = output[0]
            if isinstance(output, torch.Tensor):
                outputs.setdefault("out." + path, output.detach().clone())
        if path and not path.endswith((*NOT_OURS, *skip)):
            handles.append(module.register_forward_hook(keep))
    result = model(**given)
    for handle in handles:
        handle.remove()
    for name in ("attentions", "decoder_attentions", "cross_attentions", "encoder_attentions"):
        for i, pattern in enumerate(getattr(result, name, None) or ()):
            prefix = "pattern" if name == "attentions" else name.removesuffix("s").replace("attention", "pattern")
            if pattern is not None:
                outputs[f"{prefix}.{i}"] = pattern.detach()
    return result.logits, outputs


def reference(model, case):
    torch.manual_seed(5)
    vocabulary = model.config.vocab_size
    length = case.get("length", T)
    ids = torch.randint(3, vocabulary, (1, length))
    targets = ids if case.get("kind") == "encoder" else ids[:, 1:]
    if case.get("kind") == "seq2seq":
        case["decoder_ids"] = torch.randint(3, vocabulary, (1, 5))
        targets = case["decoder_ids"][:, 1:]
    attends = {} if case.get("no_patterns") else {"output_attentions": True}
    logits, r = run_with_outputs(copy.deepcopy(model), arguments(ids, case, **attends), case.get("skip", ()))
    r.update(ids=ids, targets=targets, logits=logits.detach())
    model.zero_grad()
    trained = copy.deepcopy(model)
    loss = loss_of(trained(**arguments(ids, case)).logits, targets)
    loss.backward()
    r["loss"] = loss.detach()
    parameters = [(name, p) for name, p in trained.named_parameters() if p.grad is not None]
    for i, (name, p) in enumerate(parameters):
        if i % 5 == 1 or i in (0, len(parameters) - 1):
            r["grad." + name] = p.grad

    lengths = [length, length - 4, 1]
    rows = torch.randint(3, vocabulary, (len(lengths), length))
    mask = torch.zeros_like(rows)
    for i, n in enumerate(lengths):
        mask[i, length - n:] = 1
    padded = None
    with torch.no_grad():
        for i, n in enumerate(lengths):
            row = copy.deepcopy(model)(**arguments(rows[i:i + 1, length - n:], case)).logits[0]
            if padded is None:
                padded = torch.zeros(len(lengths), *row.shape)
            padded[i, -row.shape[0]:] = row
    r.update({"padded.ids": rows, "padded.mask": mask, "padded.logits": padded})
    if case.get("kind") == "seq2seq":
        r["decoder_ids"] = case["decoder_ids"]
    return r


def main(names):
    for name, case in CASES.items():
        if names and name not in names:
            continue
        folder = os.path.join(HERE, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        config = config_of(folder, case)
        with open(os.path.join(folder, "config.json")) as f:
            text = f.read().rstrip() + "\n"
        model = model_of(config, case, name)
        write(os.path.join(folder, "reference.safetensors"), reference(model, case))
        with open(os.path.join(folder, "print.txt"), "w") as f:
            f.write(f"{model}\n")
        copy.deepcopy(model).bfloat16().save_pretrained(folder, max_shard_size=case.get("shard", "1GB"))
        weights = os.path.join(folder, "model.safetensors")
        if "layout" in case:
            write(weights, case["layout"](load_file(weights)))
        if os.path.exists(os.path.join(folder, "generation_config.json")):
            os.remove(os.path.join(folder, "generation_config.json"))
        with open(os.path.join(folder, "config.json"), "w") as f:
            f.write(text)
    with open(os.path.join(HERE, "cases.txt"), "w") as f:
        f.write("".join(name + "\n" for name in CASES))
    with open(os.path.join(HERE, "versions.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers.__version__}, f)
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
