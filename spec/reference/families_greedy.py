"""Greedy text of transformers for the tiny models of families.py that generate: two prompts of different length, each alone.

    python3 spec/reference/families_greedy.py       (torch and transformers; writes spec/reference/families/greedy.json)

Every text is the same with transformers' cache and without, unless `uncached` says why only that without counts. `gap` is the
smallest distance between the two best logits in all steps: far above rounding errors.
"""
import json
import os

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, GenerationConfig

from families import HERE, arguments, model_of
from families_cases import CASES

NEW = 24
LENGTHS = (6, 3)
UNCACHED = dict.fromkeys(("llama-dynamic-old", "phi3", "phi3-old"), "the cache has keys turned by the angles of a shorter text")
UNCACHED["mamba2"] = "a step with a cache does not keep to time_step_limit"


def greedy(model, ids, new, use_cache):
    settings = GenerationConfig(do_sample=False, max_new_tokens=new, use_cache=use_cache, pad_token_id=0,
                                decoder_start_token_id=model.config.to_dict().get("decoder_start_token_id") or 0,
                                return_dict_in_generate=True, output_logits=True)
    model.generation_config = GenerationConfig()
    for name in ("eos_token_id", "bos_token_id"):
        setattr(model.config, name, None)
    with torch.no_grad():
        result = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    best = torch.stack(result.logits).topk(2).values
    return result.sequences[0].tolist(), (best[..., 0] - best[..., 1]).min().item()


def main():
    texts = {}
    for name, case in CASES.items():
        if case.get("kind") == "encoder":
            continue
        config = AutoConfig.from_pretrained(os.path.join(HERE, name))
        model = model_of(config, case, name)
        known = load_file(os.path.join(HERE, name, "reference.safetensors"))
        case["decoder_ids"] = known.get("decoder_ids")
        with torch.no_grad():
            logits = model(**arguments(known["ids"], case)).logits
        assert torch.allclose(logits, known["logits"], atol=1e-6), name  # the model of the folder
        torch.manual_seed(7)
        longest = getattr(config, "max_position_embeddings", None)
        tabled = config.model_type in ("gpt_neo", "opt")
        new = min(NEW, longest + 1 - max(LENGTHS)) if tabled else NEW
        entry = {"new": new, "prompts": [], "texts": []}
        gaps = []
        for length in LENGTHS:
            ids = torch.randint(3, config.vocab_size, (1, length))
            text, gap = greedy(model, ids, new, False)
            cached, _ = greedy(model, ids, new, True)
            if name not in UNCACHED:
                assert text == cached, (name, text, cached)
            gaps.append(gap)
            entry["prompts"].append(ids[0].tolist())
            entry["texts"].append(text)
        entry["gap"] = round(min(gaps), 5)
        assert entry["gap"] > 1e-4, (name, entry["gap"])
        if name in UNCACHED:
            entry["uncached"] = UNCACHED[name]
        texts[name] = entry
    with open(os.path.join(HERE, "greedy.json"), "w") as f:
        cases = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in texts.items())
        f.write('{"transformers": "%s", "cases": {\n%s\n}}\n' % (transformers.__version__, cases))


main()
