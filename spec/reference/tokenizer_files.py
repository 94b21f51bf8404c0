"""References for spec/text/tokenizer_files_spec.lua: whole tokenizers, from the `tokenizers` package.

    python3 spec/reference/tokenizer_files.py FOLDER_WITH_A_FOLDER_FOR_EACH_TOKENIZER

Writes into spec/reference/tokenizer_files: strings.gz, one string a line in hex, invalid UTF-8 among them; and for each
tokenizer NAME.gz, one line a string: its ids, the odd lines with special tokens around, and behind a tab a number that sums
up places, words, types and what the ids are decoded to (see `sum_up`). The package reads bytes that are no UTF-8 as
Python's errors="replace" gives them, since it takes only text.
"""
import gzip
import os
import random
import sys

import tokenizers

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer_files")
rng = random.Random(2026)
NAMES = ["gpt2", "gpt-neox-20b", "falcon", "phi-3-mini", "bert-base-uncased", "t5-small"]

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



WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so said what up its about into than them
can only other new some could time these two may then do first any my now such like our over man me even most made after also
did many before must through back years where much your way well down should because each just those people Mr how too little
""".split()
MORE = [  # what other kinds of tokenizers look at
    "<pad>", "<unk>", "<s>", "</s>", "[CLS]", "[SEP]", "[MASK]", "<extra_id_0>", "<|user|>", "<|end|>", "<|assistant|> ", "\u2581", "##s",
    "\u00ad", "\u0300", "\u1100\u1161\u11a8", "\uac00", "\uac01", "\u212b", "\ufb01", "\uff21", "\u3042", "\u30fc", "\u2044",
    "\u0344", "a\u0323\u0307", "a\u0307\u0323", "\u0958", "\U0001d15e", "\u1e9b\u0323", "1,234.50", "x=y+1;", "$5", "    ", "\t\t",
    "\u0e01\u0e33", "\u0bcb", "\u2126", "\ufdfa", "\u00c5ngstr\u00f6m", "NA\u00cfVE", "stra\u00dfe", "<0x41>", "I'M", "2024-11-05",
]


def prose():
    words = [rng.choice(WORDS) for _ in range(rng.randrange(2, 12))]
    return "".join(w.title() if rng.random() < 0.1 else w + rng.choice([" ", " ", " ", ", ", ". ", "\n", "-", "  "]) for w in words)


def mixed():
    return "".join(rng.choice(rng.choice([PIECES, MORE, WORDS])) for _ in range(rng.randrange(1, 10)))


def strings():
    yield b""
    for start in BLOCKS:  # one whole stretch of each block
        yield "".join(chr(start + i) for i in range(0, 16)).encode()
    for n in (63, 64, 65, 200, 1000):  # around the length at which merging changes its method
        yield ("ab" * n)[:n].encode()
        yield "".join(rng.choice("aeiourst") for _ in range(n)).encode()
        yield "".join(rng.choice("\u4e00\u4e8c\u0439\U0001f600 ") for _ in range(n)).encode()
    makers = [lambda: from_blocks().encode(), lambda: from_pieces().encode(), lambda: prose().encode(),
              lambda: mixed().encode(), broken]
    while True:
        yield makers[rng.choice([0, 0, 1, 1, 2, 3, 3, 4])]()


def sum_up(parts):
    """The bytes as digits of base 257, modulo a prime: Lua computes it exactly."""
    number = 0
    for byte in "|".join(parts).encode():
        number = (number * 257 + byte) % 4294967291
    return number


def line(reference, number, text, lacking):
    if any(byte in lacking for byte in text.decode("utf-8", "replace").encode()):
        return "-\n"
    encoding = reference.encode(text.decode("utf-8", "replace"), add_special_tokens=number % 2 == 1)
    ids = encoding.ids
    parts = [" ".join(f"{a}-{b}" for a, b in encoding.offsets),
             " ".join("-1" if w is None else str(w) for w in encoding.word_ids),
             " ".join(map(str, encoding.type_ids)), " ".join(map(str, encoding.special_tokens_mask)),
             reference.decode(ids, skip_special_tokens=False), reference.decode(ids, skip_special_tokens=True)]
    return " ".join(map(str, ids)) + f"\t{sum_up(parts)}\n"


def bytes_without_token(model):
    stand_in = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if "ByteLevel" not in repr(model.pre_tokenizer):
        return set()
    spelled = {}
    for code in list(range(0x800)) + [0x1000 * i for i in range(1, 16) if i != 13] + [0x40000 * i for i in range(1, 4)]:
        for byte, sign in zip(chr(code).encode(), stand_in.pre_tokenize_str(chr(code))[0][0]):
            spelled[byte] = sign
    return {byte for byte, sign in spelled.items() if model.token_to_id(sign) is None}


def write(name, lines):
    with open(os.path.join(here, name + ".gz"), "wb") as out:
        out.write(gzip.compress("".join(lines).encode(), 9, mtime=0))


if __name__ == "__main__":
    os.makedirs(here, exist_ok=True)
    source = strings()
    texts = [next(source) for _ in range(5000)]
    write("strings", [text.hex() + "\n" for text in texts])
    for folder in NAMES:
        model = tokenizers.Tokenizer.from_file(os.path.join(sys.argv[1], folder, "tokenizer.json"))
        model.no_padding()
        model.no_truncation()
        lacking = bytes_without_token(model)
        write(folder, [line(model, i, text, lacking) for i, text in enumerate(texts, 1)])
    print("tokenizers", tokenizers.__version__)
