"""What transformers computes for tiny GPT-2s with odd settings: every module's output, logits, attention patterns and
gradients, and the values of all activation functions.

    python3 spec/reference/gpt2.py       (torch and transformers; writes into spec/reference/gpt2/)

Each folder there is a checkpoint as some version of transformers would have left it, with reference.safetensors beside it:
  ids, embeds               what the model reads: B T, B T C
  out.<module>              what each module gives (of a tuple the first element)
  pattern.<layer>           B H T T
  logits, loss              loss: each position predicts the next
  grad.<parameter>          of the loss
  embeds.logits             with inputs_embeds = embeds, and embeds.grad
  padded.ids, .mask, .logits   rows padded on the left, positions counted from the first real token
"""
import json
import os

import torch
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import ACT2FN

transformers.logging.set_verbosity_error()
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gpt2")
B, T = 2, 7
SMALL = {"vocab_size": 19, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 4}


def with_old_names(weights, config):
    """As the first checkpoints: no prefix, and the mask among the weights."""
    old = {name.removeprefix("transformer."): t for name, t in weights.items() if name != "lm_head.weight"}
    n = config["n_positions"]
    for i in range(config["n_layer"]):
        old[f"h.{i}.attn.bias"] = torch.tril(torch.ones(n, n)).view(1, 1, n, n)
        old[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return old


def tied(weights, config):
    return {name: t for name, t in weights.items() if name != "lm_head.weight"}


def whole(weights, config):
    return weights


ALIASES = {"n_embd": "hidden_size", "n_positions": "max_position_embeddings", "n_head": "num_attention_heads",
           "n_layer": "num_hidden_layers"}

# name: settings, how the config is spelled, what is in the file, whether the head is its own
CASES = {
    # as transformers 5 writes it
    "new": (dict(SMALL, n_layer=3, pad_token_id=None), {"dtype": "float32", "tie_word_embeddings": True, "n_inner": None},
            tied, False),
    # as transformers 2 to 4 wrote it
    "old": (dict(SMALL, n_inner=40, activation_function="gelu", layer_norm_epsilon=1e-2),
            {"torch_dtype": "float32", "n_ctx": 12}, with_old_names, False),
    "inverse": (dict(SMALL, n_layer=3, n_head=2, scale_attn_by_inverse_layer_idx=True, activation_function="relu",
                     tie_word_embeddings=False), {"dtype": "float32"}, whole, True),
    "unscaled": (dict(SMALL, n_layer=3, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True,
                      reorder_and_upcast_attn=True, activation_function="silu"), {"torch_dtype": "float32"}, whole, False),
    # settings under the names that all models share; the config says tied, the two tensors differ
    "shared-names": (dict(SMALL, n_inner=10, activation_function="quick_gelu", n_head=1), {"aliases": True}, whole, True),
}


def model_of(settings, own_head, seed):
    torch.manual_seed(seed)
    config = GPT2Config(**dict(settings, tie_word_embeddings=not own_head))
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.3)
            if "ln_" in name and name.endswith("weight"):
                p.add_(1)
    return model


def loss_of(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def run_with_outputs(model, ids):
    outputs, handles = {}, []
    for path, module in model.named_modules():
        def keep(_module, _args, output, path=path):
            if isinstance(output, tuple):
                output = output[0]
            if isinstance(output, torch.Tensor):
                outputs["out." + path] = output.detach().clone()
        if path:
            handles.append(module.register_forward_hook(keep))
    result = model(ids, output_attentions=True)
    for handle in handles:
        handle.remove()
    for i, pattern in enumerate(result.attentions):
        outputs[f"pattern.{i}"] = pattern.detach()
    return result.logits, outputs


def reference(model):
    vocabulary, width = model.config.vocab_size, model.config.n_embd
    ids = torch.randint(0, vocabulary, (B, T))
    logits, r = run_with_outputs(model, ids)
    loss = loss_of(logits, ids)
    loss.backward()
    r.update(ids=ids, logits=logits.detach(), loss=loss.detach())
    for name, p in model.named_parameters():
        r["grad." + name] = p.grad
    model.zero_grad()

    embeds = torch.randn(B, T, width, requires_grad=True)
    logits = model(inputs_embeds=embeds).logits
    loss_of(logits, ids).backward()
    r.update({"embeds": embeds.detach(), "embeds.logits": logits.detach(), "embeds.grad": embeds.grad})

    mask = torch.ones(3, T, dtype=torch.int64)
    mask[1, :3] = 0
    mask[2, :T - 1] = 0
    ids = torch.randint(0, vocabulary, (3, T))
    with torch.no_grad():
        logits = model(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits
    r.update({"padded.ids": ids, "padded.mask": mask, "padded.logits": logits})
    return r


def write(name, tensors):
    save_file({key: t.detach().contiguous().clone() for key, t in tensors.items()}, name, {"format": "pt"})


def main():
    for seed, (name, (settings, spelling, layout, own_head)) in enumerate(CASES.items()):
        folder = os.path.join(HERE, name)
        os.makedirs(folder, exist_ok=True)
        model = model_of(settings, own_head, seed)
        config = dict(settings, **spelling, model_type="gpt2", architectures=["GPT2LMHeadModel"])
        if config.pop("aliases", None):
            config = {ALIASES.get(key, key): value for key, value in config.items()}
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f, indent=2, sort_keys=True)
            f.write("\n")
        write(os.path.join(folder, "model.safetensors"), layout(model.state_dict(), settings))
        write(os.path.join(folder, "reference.safetensors"), reference(model))
        with open(os.path.join(folder, "print.txt"), "w") as f:
            f.write(f"{model}\n")

    x = torch.linspace(-12, 12, 97)
    activations = {"x": x}
    for name in ACT2FN:
        if name not in ("prelu", "xielu"):  # with weights of their own
            activations[name] = ACT2FN[name](x)
    write(os.path.join(HERE, "activations.safetensors"), activations)
    with open(os.path.join(HERE, "activations.txt"), "w") as f:
        f.write("".join(f"{name} {ACT2FN[name]}\n" for name in activations if name != "x"))
    with open(os.path.join(HERE, "versions.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers.__version__}, f)
        f.write("\n")


main()
