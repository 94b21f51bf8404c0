"""Tiny checkpoints whose weights are in files of PyTorch, most of them models without a head, and what transformers computes.

    python3 spec/reference/bins.py       (torch and transformers; writes into spec/reference/bins/)

Each folder has config.json, pytorch_model.bin (or several with an index), and reference.safetensors: ids, mask and what the
model gives for them (logits, or last_hidden_state and pooler_output).
"""
import json
import os
import shutil

import torch
import transformers
from safetensors.torch import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bins")
SMALL = dict(vocab_size=19, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=32)
T = transformers
CASES = { # class, configuration, prefix in the file, how it is saved
    "bert": (T.BertModel, T.BertConfig(**SMALL), "bert.", "old"),
    "roberta": (T.RobertaModel, T.RobertaConfig(**SMALL, pad_token_id=1), "", "shards"),
    "distilbert": (T.DistilBertModel, T.DistilBertConfig(vocab_size=19, dim=16, hidden_dim=24, n_layers=2, n_heads=4), "", "new"),
    "llama": (T.LlamaModel, T.LlamaConfig(**SMALL), "model.", "new"),
    "gpt2": (T.GPT2LMHeadModel, T.GPT2Config(vocab_size=19, n_embd=16, n_layer=2, n_head=4, n_positions=32), "", "new"),
}

torch.manual_seed(3)
shutil.rmtree(HERE, ignore_errors=True)
for name, (Class, config, prefix, how) in CASES.items():
    folder = os.path.join(HERE, name)
    os.makedirs(folder)
    model = Class(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((torch.randn_like(p) * 0.3).half())
    config.architectures = [Class.__name__]
    config.save_pretrained(folder)
    ids = torch.randint(3, 19, (2, 6))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    ids = torch.where(mask == 1, ids, torch.tensor(1))
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask)
    save_file({"ids": ids, "mask": mask, **{k: v.contiguous() for k, v in out.items() if isinstance(v, torch.Tensor)}},
              os.path.join(folder, "reference.safetensors"))
    model.half()
    state = {prefix + k: v for k, v in model.state_dict().items()}
    path = os.path.join(folder, "pytorch_model.bin")
    if how == "shards":
        names = list(state)
        parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
        for part, keys in parts.items():
            torch.save({k: state[k] for k in keys}, os.path.join(folder, part))
        with open(path + ".index.json", "w") as f:
            json.dump({"metadata": {}, "weight_map": {k: part for part, keys in parts.items() for k in keys}}, f)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how != "old")
with open(os.path.join(HERE, "versions.json"), "w") as f:
    json.dump({"torch": torch.__version__, "transformers": transformers.__version__}, f)
