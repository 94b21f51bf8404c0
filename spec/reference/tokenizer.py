"""References for spec/tokenizer_spec.lua, from the `tokenizers` package.

    python3 spec/reference/tokenizer.py FOLDER_OF_GPT2_TOKENIZER

Writes tokenizer_gpt2.txt: one line per string, its bytes in hex (invalid UTF-8 among them), a tab, its ids with GPT-2's
tokenizer; and tokenizer_added.json: small tokenizers with every flag of added tokens, post-processors, unknown bytes and
prefixes, each with texts, ids and decoded texts. The package reads bytes that are no UTF-8 as Python's errors="replace"
gives them, since it takes only text.
"""
import json
import os
import random
import sys

import tokenizers

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(2026)

# ---- GPT-2 -------------------------------------------------------------------------------------------------------------

# Starts of blocks: scripts from all over the planes, symbols, emoji, private use, unassigned.
BLOCKS = [
    0x20, 0x41, 0x61, 0xA0, 0xC0, 0x100, 0x180, 0x250, 0x2B0, 0x300, 0x370, 0x400, 0x530, 0x590, 0x600, 0x660, 0x700, 0x900,
    0x966, 0x980, 0xB80, 0xE00, 0xE50, 0xF00, 0x10A0, 0x1100, 0x1200, 0x13A0, 0x16A0, 0x1780, 0x1800, 0x1C80, 0x1D00, 0x1E00,
    0x1F00, 0x2000, 0x2070, 0x20A0, 0x2100, 0x2150, 0x2190, 0x2200, 0x2460, 0x2500, 0x2600, 0x2700, 0x2800, 0x2E80, 0x3000,
    0x3040, 0x30A0, 0x3200, 0x3400, 0x4E00, 0xA000, 0xA640, 0xA7C0, 0xAC00, 0xE000, 0xF900, 0xFB00, 0xFE00, 0xFF00, 0xFFF0,
    0x10000, 0x10300, 0x104A0, 0x10D40, 0x11380, 0x116D0, 0x12000, 0x13460, 0x16D40, 0x1CCF0, 0x1D400, 0x1D7C0, 0x1E5D0,
    0x1F100, 0x1F300, 0x1F600, 0x1F900, 0x20000, 0x2EBF0, 0x30000, 0xE0000, 0x10FFF0,
]
PIECES = [
    " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'", "\u2019s", "the",
    " The", "Mary", " John", "don't", "1", "23", " 456", "3.14", "\u00b2", "\u00bd", "\u0661", "\u2167", "!", "?!", "...", "_",
    "<|endoftext|>", "<|endof", "\u00a0", "\u2003", "\u3000", "\u200b", "\u200d", "\u2028", "\x00", "\x07", "\x1b[0m", "\x7f",
    "\x85", "\x1c", "\u0301", "e\u0301", "\u00e9", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea", "\u4e2d\u6587", "\ufeff", "\ufffd", "\u0130", "\u00df", "antidisestablishmentarianism",
]
BROKEN = [
    b"\x80", b"\xbf", b"\xc0\xaf", b"\xc2", b"\xe0\x80\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xef\xbf", b"\xf0\x9f\x98",
    b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff", b"\xfe\xff", b"\xe2\x28\xa1",
]


def from_blocks():
    start = rng.choice(BLOCKS)
    return "".join(chr(min(start + rng.randrange(48), 0x10FFFF)) + rng.choice(["", "", " "]) for _ in range(rng.randrange(1, 9)))


def from_pieces():
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 9)))


def broken():
    parts = [rng.choice(BROKEN) if rng.random() < 0.5 else rng.choice(PIECES).encode() for _ in range(rng.randrange(1, 6))]
    return b"".join(parts)


def gpt2_strings():
    yield b""
    for start in BLOCKS:  # one whole stretch of each block
        yield "".join(chr(start + i) for i in range(0, 16)).encode()
    for _ in range(600):
        yield from_blocks().encode()
    for _ in range(700):
        yield from_pieces().encode()
    for _ in range(400):
        yield broken()
    for n in (63, 64, 65, 200, 1000):  # around the length at which merging changes its method
        yield ("ab" * n)[:n].encode()
        yield "".join(rng.choice("aeiourst") for _ in range(n)).encode()


def write_gpt2(folder):
    reference = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(here, "tokenizer_gpt2.txt"), "w") as out:
        for text in gpt2_strings():
            ids = reference.encode(text.decode("utf-8", "replace"), add_special_tokens=False).ids
            out.write(text.hex() + "\t" + " ".join(map(str, ids)) + "\n")


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
    write_gpt2(sys.argv[1])
    write_added()
    print("tokenizers", tokenizers.__version__)
