"""References for spec/text/tokenizer_spec.lua, from the `tokenizers` package.

    python3 spec/reference/tokenizer.py

Writes tokenizer_added.json: small tokenizers with every flag of added tokens, post-processors, unknown bytes and prefixes,
each with texts, ids and decoded texts.
"""
import json
import os
import random

import tokenizers

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(2026)

# ---- added tokens and settings -----------------------------------------------------------------------------------------

FRAGMENTS = [
    " ", "  ", "\n", "\t", "a", "b", "ab", "the", "<s>", "</s>", "\u00e9", "_", "9", "\u3000", "\u00a0", "\u4e2d", "\u200d", "<",
    "a ", "\u0301", "\u24b6", "<|x|>", "'", "s", "\x1c", "\x85", "\u2028",
]


def small_model():
    stand_ins = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocab = {token: i for i, token in enumerate(sorted(stand_ins))}
    merges = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("a", "b"), ("ab", "ab"), ("\u00c3", "\u00a9"), ("\u0120", "a")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab,
            "merges": [" ".join(pair) for pair in merges]}


def added_tokens(vocab):
    tokens, seen = [], set()
    for _ in range(rng.randrange(1, 6)):
        content = "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(1, 4)))
        if content in seen:
            continue
        seen.add(content)
        flags = {name: rng.random() < 0.4 for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        new = len(vocab) + sum(token["id"] >= len(vocab) for token in tokens)
        tokens.append({"id": vocab.get(content, new), "content": content, **flags})
    return sorted(tokens, key=lambda token: token["id"])


def template(token):
    name = token["content"]
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": name, "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [token["id"]], "tokens": [name]}}}


def encode(reference, text, special):
    try:
        return reference.encode(text, add_special_tokens=special).ids
    except BaseException as error:  # the package panics where tokens of white space overlap: no reference there
        if "Panic" not in type(error).__name__:
            raise
        return None


def case(base):
    """A tokenizer.json as the changes to `base`, texts with their ids, ids with their text."""
    tokens = added_tokens(base["model"]["vocab"])
    changes = {"added_tokens": tokens, "model": {}}
    kind = rng.random()
    if kind < 0.2:
        changes["model"] = {"unk_token": "b", "fuse_unk": rng.random() < 0.5, "lacks": ["a", "\u0120", "\u00a9"]}
    elif kind < 0.4:
        changes["model"] = {"ignore_merges": True}
    changes["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.3, "trim_offsets": True,
                                "use_regex": rng.random() < 0.8}
    changes["post_processor"] = template(rng.choice(tokens)) if rng.random() < 0.4 else None
    if rng.random() < 0.2:
        changes["decoder"] = None
    whole = apply(base, changes)
    reference = tokenizers.Tokenizer.from_str(json.dumps(whole))
    fragments = FRAGMENTS + [token["content"] for token in tokens] * 4
    encoded = []
    for _ in range(14):
        text = "".join(rng.choice(fragments) for _ in range(rng.randrange(0, 8)))
        plain, special = encode(reference, text, False), encode(reference, text, True)
        if plain is not None and special is not None:
            encoded.append([text, plain, special])
    known = sorted(whole["model"]["vocab"].values()) + [token["id"] for token in tokens] * 40
    decoded = []
    for _ in range(4):
        ids = [rng.choice(known) for _ in range(rng.randrange(1, 6))]
        decoded.append([ids, reference.decode(ids, skip_special_tokens=False), reference.decode(ids, skip_special_tokens=True)])
    return {"changes": changes, "encoded": encoded, "decoded": decoded}


def apply(base, changes):
    """The same as `small_tokenizer` in the spec: the changes in place; tokens in `lacks` get a name no text has."""
    whole = {**base, **changes}
    model = {**base["model"], **changes["model"]}
    lacks = model.pop("lacks", [])
    model["vocab"] = {("lacks " + token if token in lacks else token): i for token, i in model["vocab"].items()}
    if lacks:
        model["merges"] = [pair for pair in model["merges"] if not any(part in lacks for part in pair.split(" "))]
    whole["model"] = model
    return whole


def write_added():
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level, "model": small_model()}
    with open(os.path.join(here, "tokenizer_added.json"), "w") as out:
        cases = ",\n".join(json.dumps(case(base), separators=(",", ":")) for _ in range(60))
        out.write('{"base":%s,\n"cases":[\n%s\n]}\n' % (json.dumps(base, separators=(",", ":")), cases))


if __name__ == "__main__":
    write_added()
    print("tokenizers", tokenizers.__version__)
