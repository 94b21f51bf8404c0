"""References for spec/text/tokenizer_stages_spec.lua: every stage by itself, from the `tokenizers` package.

    python3 spec/reference/tokenizer_stages.py

Writes tokenizer_stages.json.gz. The model has a token for each byte and nothing else, so that ids, places and words show
what a normalizer or pre-tokenizer did to a text. For each stage: its sections, and for each of the strings of
tokenizer_files/strings.gz that are taken a number that sums up ids, places and words (see `sum_up` of tokenizer_files.py).
It is null where a regular expression meets characters that came after Unicode 14, and
UnicodeScripts some whose script the package does not know. For each decoder: lists of ids and their texts. For the models and post-processors: texts, ids, places, types.
"""
import gzip
import json
import os
import random
import unicodedata

import tokenizers
from tokenizer_files import here, sum_up

rng = random.Random(7)
SIGN = "\u2581"


def one(kind, **settings):
    return {"type": kind, **settings}


def sequence(name, *stages):
    return {"type": "Sequence", name: list(stages)}


LLAMA3 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
          "\\s+(?!\\S)|\\s+")
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

NORMALIZERS = [
    one("NFC"), one("NFD"), one("NFKC"), one("NFKD"), one("Lowercase"), one("StripAccents"), one("Nmt"),
    one("Strip", strip_left=True, strip_right=True), one("Strip", strip_left=True, strip_right=False),
    one("Prepend", prepend=SIGN + "x"), one("Replace", pattern={"String": "the"}, content="\u00e9a"),
    one("Replace", pattern={"Regex": " {2,}|\\n"}, content=" "), one("Replace", pattern={"Regex": "\\b"}, content="|"),
    one("BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
    one("BertNormalizer", clean_text=True, handle_chinese_chars=False, strip_accents=True, lowercase=False),
    one("BertNormalizer", clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=True),
    sequence("normalizers", one("NFD"), one("StripAccents"), one("Lowercase"), one("Replace", pattern={"String": "a"}, content=""),
             one("NFC")),
]
PRE_TOKENIZERS = [
    one("Whitespace"), one("WhitespaceSplit"), one("BertPreTokenizer"), one("UnicodeScripts"),
    one("Digits", individual_digits=True), one("Digits", individual_digits=False), one("CharDelimiterSplit", delimiter="e"),
    one("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
    one("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False),
    *[one("Punctuation", behavior=behavior) for behavior in BEHAVIORS],
    *[one("Split", pattern={"Regex": "[aeiou]+|\\s"}, behavior=behavior, invert=invert)
      for behavior in BEHAVIORS for invert in (False, True)],
    one("Split", pattern={"String": "he"}, behavior="MergedWithNext", invert=False),
    *[one("Metaspace", replacement=SIGN, prepend_scheme=scheme, split=split)
      for scheme in ("always", "first", "never") for split in (False, True)],
    sequence("pretokenizers", one("WhitespaceSplit"), one("Metaspace", replacement=SIGN, prepend_scheme="first", split=True)),
    sequence("pretokenizers", one("Split", pattern={"Regex": LLAMA3}, behavior="Isolated", invert=False),
             one("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)),
    sequence("pretokenizers", one("Digits", individual_digits=True), one("ByteLevel", add_prefix_space=True, trim_offsets=True,
                                                                         use_regex=True), one("Punctuation", behavior="Isolated")),
]


def byte_model():
    vocab = {"<unk>": 0, **{f"<0x{b:02X}>": b + 1 for b in range(256)}}
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": True, "ignore_merges": False, "vocab": vocab, "merges": []}


def whole(model, **sections):
    added = [{"id": 257, "content": "Mary", "single_word": False, "lstrip": True, "rstrip": False, "normalized": True,
              "special": False}] if model["type"] == "BPE" and len(model["vocab"]) == 257 else []
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model, **sections}


def load(sections):
    return tokenizers.Tokenizer.from_str(json.dumps(sections))


def details(encoding):
    return [" ".join(map(str, encoding.ids)), " ".join(f"{a}-{b}" for a, b in encoding.offsets),
            " ".join(str(-1 if w is None else w) for w in encoding.word_ids)]


def is_new(text):
    """Has characters that Debian's oniguruma, which has the Unicode of this Python, may not know."""
    return any(unicodedata.category(character) == "Cn" for character in text)


SCRIPTS = tokenizers.pre_tokenizers.UnicodeScripts()


def has_no_script(character):
    """The package does not know the script: it goes with Latin and with Cyrillic."""
    return character != " " and all(len(SCRIPTS.pre_tokenize_str(other + character)) == 1 for other in "a\u044f")


def stages(texts):
    for name, kinds in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS)):
        for kind in kinds:
            model = load(whole(byte_model(), **{name: kind}))
            scripts, regex = kind["type"] == "UnicodeScripts", "Regex" in json.dumps(kind)
            yield {"sections": {name: kind}, "sums": [None if regex and is_new(text) or scripts and any(map(has_no_script, text)) else sum_up(details(model.encode(text)))
                                                      for text in texts]}


# ---- decoders ----------------------------------------------------------------------------------------------------------

TOKENS = ["a", "b", "##c", "##,", ".", "?", "n't", "'s", "do", "not", SIGN, SIGN + "x", "x" + SIGN + SIGN + "y", "e</w>", "</w>",
          "<0xE2>", "<0x82>", "<0xAC>", "<0x41>", "<0xff>", "<0xFF>", "<pad>", "|", " ", "  z ", "\u00c3", "\u00a9", "\u0120q", "\u4e2d"]
DECODERS = [
    None, one("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True), one("WordPiece", prefix="##", cleanup=True),
    one("WordPiece", prefix="##", cleanup=False), one("ByteFallback"), one("BPEDecoder", suffix="</w>"),
    one("CTC", pad_token="<pad>", word_delimiter_token="|", cleanup=True),
    one("CTC", pad_token="<pad>", word_delimiter_token="|", cleanup=False),
    *[one("Metaspace", replacement=SIGN, prepend_scheme=scheme, split=True) for scheme in ("always", "first", "never")],
    sequence("decoders", one("Replace", pattern={"String": SIGN}, content=" "), one("ByteFallback"), one("Fuse"),
             one("Strip", content=" ", start=1, stop=0)),
    sequence("decoders", one("Strip", content=" ", start=1, stop=2), one("Replace", pattern={"Regex": "[a-c]"}, content="<>")),
]


def decode(reference, ids):
    try:
        return reference.decode(ids)
    except BaseException as error:  # the package panics where Strip meets a short token: no reference there
        if "Panic" not in type(error).__name__:
            raise
        return None


def decoders():
    model = {"type": "WordLevel", "unk_token": "a", "vocab": {token: i for i, token in enumerate(TOKENS)}}
    for kind in DECODERS:
        reference = load(whole(model, decoder=kind))
        rows = [[rng.randrange(len(TOKENS)) for _ in range(rng.randrange(1, 9))] for _ in range(80)]
        yield {"sections": {"decoder": kind}, "rows": [[ids, text] for ids in rows if (text := decode(reference, ids)) is not None]}


# ---- models and post-processors ----------------------------------------------------------------------------------------

def pieces(texts):
    words = sorted({word for text in texts for word in text.split()})
    return sorted({word[:n] for word in words for n in (1, 2, 3, 5) if word[:n]})[::3]


def models(texts):
    split = one("WhitespaceSplit")
    some = pieces(texts)
    known = list(dict.fromkeys(["[UNK]", "<s>", "</s>"] + some + ["##" + token for token in some]))
    order = {token: i for i, token in enumerate(known)}
    yield {"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9,
                     "vocab": order}, "pre_tokenizer": split}
    yield {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": order}, "pre_tokenizer": split}
    scored = [["[UNK]", 0.0], ["<s>", 0.0], ["</s>", 0.0]] + [[token, -rng.random() * 12] for token in some if token not in known[:3]]
    yield {"model": {"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": False}, "pre_tokenizer": split}
    scored = scored + [[f"<0x{b:02X}>", -20.0] for b in range(256) if f"<0x{b:02X}>" not in some]
    yield {"model": {"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": True}, "pre_tokenizer": None}
    letters = list("abcdefghijklmnopqrstuvwxyz")
    for prefix, suffix, fuse in (("", "</w>", False), ("##", "", True), ("##", "</w>", True)):
        vocab = {"[UNK]": 0, "<s>": 1, "</s>": 2}
        for mark, end in dict.fromkeys([("", ""), (prefix, ""), ("", suffix), (prefix, suffix)]):
            for letter in letters:
                vocab.setdefault(mark + letter + end, len(vocab))
        merges = []
        for _ in range(200):
            left, right = rng.choice(list(vocab)[3:]), rng.choice(list(vocab)[3:])
            if (suffix and left.endswith(suffix)) or (prefix and not right.startswith(prefix)) or [left, right] in merges:
                continue
            merges.append([left, right])
            vocab.setdefault(left + right[len(prefix):], len(vocab))
        yield {"model": {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "continuing_subword_prefix": prefix or None,
                         "end_of_word_suffix": suffix or None, "fuse_unk": fuse, "byte_fallback": False, "ignore_merges": False,
                         "vocab": vocab, "merges": merges}, "pre_tokenizer": split}


POSTS = [
    None, one("BertProcessing", sep=["</s>", 2], cls=["<s>", 1]),
    one("RobertaProcessing", sep=["</s>", 2], cls=["<s>", 1], trim_offsets=True, add_prefix_space=True),
    one("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
    {"type": "TemplateProcessing",
     "single": [{"SpecialToken": {"id": "x", "type_id": 3}}, {"Sequence": {"id": "A", "type_id": 1}}],
     "pair": [{"Sequence": {"id": "B", "type_id": 2}}, {"SpecialToken": {"id": "x", "type_id": 4}}, {"Sequence": {"id": "A", "type_id": 0}}],
     "special_tokens": {"x": {"id": "x", "ids": [2, 1], "tokens": ["</s>", "<s>"]}}},
]


def row(encoding):
    return [encoding.ids, [list(place) for place in encoding.offsets], encoding.type_ids, encoding.special_tokens_mask]


def whole_rows(texts):
    texts = [text for text in texts if text.strip()]
    for sections in models(texts):
        for post in POSTS:
            reference = load(whole(**sections, post_processor=post))
            rows = []
            for _ in range(12):
                first, second, limit = rng.choice(texts), rng.choice([None, rng.choice(texts)]), rng.randrange(6, 20)
                strategy = rng.choice(["longest_first", "only_first", "only_second"] if second else ["longest_first"])
                side = rng.choice(["left", "right"])
                special = rng.random() < 0.7
                reference.no_truncation()
                if rng.random() < 0.7:
                    reference.enable_truncation(limit, strategy=strategy, direction=side)
                else:
                    limit = None
                try:
                    rows.append([first, second, limit, strategy, side, special,
                                 row(reference.encode(first, second, add_special_tokens=special))])
                except BaseException as error:  # one text alone is too long: an error there and here
                    if "Truncation" not in str(error) and "truncat" not in str(error) and "too short" not in str(error):
                        raise
                    rows.append([first, second, limit, strategy, side, special, None])
            yield {"sections": {**sections, "post_processor": post}, "rows": rows}


if __name__ == "__main__":
    with gzip.open(os.path.join(here, "strings.gz"), "rt") as file:
        strings = [bytes.fromhex(line.strip()).decode("utf-8", "replace") for line in file]
    taken = strings[1:92] + strings[200:5000:20]
    plain = [text for text in strings[500:3000:9] if len(text) < 80 and "\0" not in text]
    out = {"first": [2, 92, 1], "then": [201, 5000, 20], "model": byte_model(), "tokens": TOKENS, "stages": list(stages(taken)),
           "decoders": list(decoders()), "whole": list(whole_rows(plain))}
    with open(os.path.join(here, "..", "tokenizer_stages.json.gz"), "wb") as file:
        file.write(gzip.compress(json.dumps(out, separators=(",", ":")).encode(), 9, mtime=0))
    print("tokenizers", tokenizers.__version__)
