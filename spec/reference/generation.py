"""What transformers generates: greedy, padded, with penalties, with beams, to stop strings; and the probabilities that
sampling draws from.

    python3 spec/reference/generation.py       (torch and transformers; writes into spec/reference/generation/)

    plain/, odd/          tiny GPT-2s with random weights
    cases.json            versions; texts: the model, the prompt (0 in the mask at padding), transformers' options, and the
                          ids that it gave; filters: scores, options, probabilities
"""
import json
import os

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.generation import logits_process

transformers.logging.set_verbosity_error()
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "generation")
IOI = os.path.join(HERE, "..", "..", "..", "models", "pretrained", "ioi")
SMALL = {"vocab_size": 29, "n_positions": 40, "n_embd": 16, "n_layer": 2, "n_head": 4, "model_type": "gpt2"}
MODELS = {
    "plain": SMALL,
    "odd": dict(SMALL, n_head=2, n_inner=40, scale_attn_by_inverse_layer_idx=True, activation_function="relu",
                tie_word_embeddings=False),
}
PAD = 28  # not 0, in whose place transformers' beams fill with the end of text
FILL = 22  # in the place of padding: a token that the models like, and that must not count
PROMPTS = [[3, 1, 4, 1, 5, 9, 2], [6, 5], [18], [8, 9, 7, 9, 3]]


def model_of(name, settings):
    torch.manual_seed(len(name))
    model = GPT2LMHeadModel(GPT2Config(**settings)).eval()
    with torch.no_grad():
        for path, p in model.named_parameters():
            p.normal_(0, 0.45)
            if "ln_" in path and path.endswith("weight"):
                p.add_(1)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    weights = {path: t.contiguous() for path, t in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    save_file(weights, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(settings, f, indent=2, sort_keys=True)
        f.write("\n")
    return model


def batch(rows):
    longest = max(map(len, rows))
    ids = [[FILL] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return ids, mask


TEXTS = [
    ("plain", PROMPTS[:1], {"max_new_tokens": 24}),
    ("odd", [PROMPTS[0], PROMPTS[0][::-1]], {"max_new_tokens": 24}),
    ("plain", PROMPTS, {"max_new_tokens": 24}),
    ("plain", PROMPTS, {"max_new_tokens": 24, "eos_token_id": None}),  # an id that ends the rows at different steps
    ("odd", PROMPTS, {"max_new_tokens": 24, "eos_token_id": [None, 11]}),
    ("plain", PROMPTS, {"max_new_tokens": 24, "eos_token_id": None, "min_new_tokens": 15}),
    ("plain", PROMPTS, {"max_length": 20, "eos_token_id": None, "min_length": 12}),
    ("plain", PROMPTS, {"max_new_tokens": 24, "repetition_penalty": 1.5}),
    ("odd", PROMPTS, {"max_new_tokens": 16, "repetition_penalty": 0.8}),
    ("plain", PROMPTS[:1], {"max_new_tokens": 16, "num_beams": 3, "num_return_sequences": 2}),
    ("odd", PROMPTS, {"max_new_tokens": 16, "num_beams": 4}),
]
for penalty, early in [(1.0, False), (2.0, False), (-1.0, False), (0.0, True), (1.0, True), (2.0, "never"), (-0.5, "never")]:
    for name in MODELS:
        TEXTS.append((name, PROMPTS, {"max_new_tokens": 14, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": None,
                                      "length_penalty": penalty, "early_stopping": early}))
TEXTS += [
    ("plain", PROMPTS, {"max_new_tokens": 14, "num_beams": 3, "num_return_sequences": 3, "eos_token_id": [None, 2, 5],
                        "repetition_penalty": 1.3, "min_new_tokens": 3}),
]


def common_token(model, ids, mask, options):
    """The new token that comes in most rows, at the most different places, without an end."""
    free = {k: v for k, v in options.items() if k in ("max_new_tokens", "max_length", "repetition_penalty")}
    new = model.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), pad_token_id=PAD, **free)[:, len(ids[0]):]
    def worth(token):
        places = [row.index(token) for row in new.tolist() if token in row]
        return (len(set(places)), sum(places))
    return max(range(model.config.vocab_size), key=worth)


def text_of(models, name, rows, options):
    model, (ids, mask) = models[name], batch(rows)
    end = options.get("eos_token_id")
    if end is None and "eos_token_id" in options:
        options = dict(options, eos_token_id=common_token(model, ids, mask, options))
    elif isinstance(end, list):
        options = dict(options, eos_token_id=[common_token(model, ids, mask, options)] + end[1:])
    out = model.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), pad_token_id=PAD, **options)
    return {"model": name, "input_ids": ids, "attention_mask": mask if len({len(r) for r in rows}) > 1 else None,
            "options": options, "text": out.tolist()}


def stop_of(model, tokenizer, prompts, stops):
    ids, mask = batch([tokenizer(prompt).input_ids for prompt in prompts])
    options = {"max_new_tokens": 24, "stop_strings": stops, "pad_token_id": PAD}
    out = model.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), tokenizer=tokenizer, **options)
    return {"input_ids": ids, "attention_mask": mask, "options": options, "text": out.tolist(),
            "read": tokenizer.batch_decode(out[:, len(ids[0]):])}


def filters():
    torch.manual_seed(4)
    scores = torch.randn(5, 29) * 3
    scores[3, :] = scores[3].round()  # equal ones
    scores[4, 7:] = -float("inf")
    p = logits_process
    for options in [{"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 5}, {"top_k": 1}, {"top_k": 100}, {"top_p": 0.6},
                    {"top_p": 0.97}, {"top_p": 0}, {"temperature": 0.8, "top_k": 9, "top_p": 0.8}]:
        chain = logits_process.LogitsProcessorList()
        if "temperature" in options:
            chain.append(p.TemperatureLogitsWarper(options["temperature"]))
        if "top_k" in options:
            chain.append(p.TopKLogitsWarper(options["top_k"]))
        if "top_p" in options:
            chain.append(p.TopPLogitsWarper(options["top_p"]))
        rows = scores if "top_p" not in options else scores[[0, 1, 2, 4]]  # which of equal ones falls is chance
        yield {"scores": [["-inf" if x == -float("inf") else x for x in row] for row in rows.tolist()], "options": options,
               "probabilities": chain(None, rows).softmax(-1).tolist()}


STOPS = [  # texts, strings
    (["When Mary and John went to the store, John gave a drink to", "After the lunch, Anna and Peter"], ["Mary", "nothing"]),
    (["After the lunch, Anna and Peter", "Mary"], ["heat", "nd Ma"]),  # inside a token, and over several
    (["After the lunch, Anna and Pe"], "Pe the"),                      # begins in the prompt
    (["When Mary and John went to the store, John gave a drink to"], [" to", " nowhere"]),  # what is in the prompt does not count
]


def main():
    models = {name: model_of(name, settings) for name, settings in MODELS.items()}
    for model in models.values():
        model.set_attn_implementation("eager")
    texts = [text_of(models, *case) for case in TEXTS]
    ioi, tokenizer = GPT2LMHeadModel.from_pretrained(IOI), AutoTokenizer.from_pretrained(IOI)
    ioi.set_attn_implementation("eager")
    stops = [stop_of(ioi, tokenizer, *case) for case in STOPS]
    with open(os.path.join(HERE, "cases.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers.__version__, "texts": texts, "stops": stops,
                   "filters": list(filters())}, f, separators=(",", ":"))
        f.write("\n")


main()
