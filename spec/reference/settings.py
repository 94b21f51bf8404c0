"""What transformers makes of every field of config.json, in every family: each field of each tiny model of families_cases.py is
changed in turn, and the model runs.

    python3 spec/reference/settings.py [case ...]       (torch and transformers; writes spec/reference/settings.json.gz)

A field gets the values of its kind: both booleans, other sizes and numbers, every activation, kinds of layers, rotary embeddings,
null, and one value of a wrong type. Names that the family does not have are tried too: older names, those that transformers reads
in any family, and all fields of the other families. Then come pairs of changes, drawn with a fixed seed.

The weights are those of `weight` below, a formula of the parameter's name and shape, which spec/models/settings.lua has again, so
that a change of a size needs no file. Each answer is one of

  0            the numbers are those of the unchanged model
  1            transformers raises an error
  [...]        other numbers: the digest of the logits (see `digest`)
"""
import dataclasses
import functools
import gzip
import json
import math
import os
import random
import sys
import warnings
import zlib

import torch
import transformers
from transformers.initialization import no_init_weights
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM
from transformers.activations import ACT2FN
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from families_cases import CASES, SMALL_J

CASES = {
    "gpt2": {"new": dict(SMALL_J, model_type="gpt2", n_inner=20, scale_attn_by_inverse_layer_idx=True)},
    "gpt2-old": {"old": dict(SMALL_J, model_type="gpt2", n_ctx=32, activation_function="relu", layer_norm_epsilon=1e-2,
                             resid_pdrop=0.1, torch_dtype="float32", task_specific_params={"text-generation": {"do_sample": True}})},
    **CASES,
}

transformers.logging.set_verbosity(transformers.logging.CRITICAL)
warnings.filterwarnings("ignore")
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
IDS = [[3, 11, 7, 5, 17, 9, 4, 12, 6], [8, 15, 3, 10, 13, 5, 14, 7, 11]]
DECODER_IDS = [[4, 9, 12, 5, 16], [7, 3, 18, 11, 6]]
PRIME = 65537
PAIRS = 25


# ---- numbers -----------------------------------------------------------------------------------------------------------

@functools.lru_cache(maxsize=4096)
def weight(name, shape):
    """Numbers from -0.4 to 0.4 that follow from the name and the place; in a vector that ends in "weight", 1 more."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % PRIME
    x = torch.arange(math.prod(shape), dtype=torch.int64) % PRIME
    for _ in range(2):
        x = (x * x + 4827 * x + seed) % PRIME
    value = (x.double() / PRIME - 0.5) * 0.8
    if len(shape) == 1 and name.endswith("weight"):
        value = value + 1
    return value.reshape(shape).float()


def digest(logits):
    """The shape, the mean, the mean of squares, and five of the logits."""
    flat = logits.flatten().double()
    n = flat.numel()
    numbers = [flat.mean(), flat.square().mean()] + [flat[(n * k) // 5 + k] for k in range(5)]
    return list(logits.shape) + [float(f"{float(x):.7g}") for x in numbers]


def near(a, b):
    if a[:3] != b[:3]:
        return False
    scale = math.sqrt(b[4])
    return all(abs(x - y) <= 1e-6 * scale for x, y in zip(a[3:], b[3:]))


KINDS = {"encoder": AutoModelForMaskedLM, "seq2seq": AutoModelForSeq2SeqLM}


def run(case, config):
    try:
        with torch.no_grad():
            given = {k: v for k, v in config.items() if k != "model_type"}
            read = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(given)))
            read._experts_implementation = "eager"
            read.dtype = None
            with no_init_weights():
                model = KINDS.get(case.get("kind"), AutoModelForCausalLM).from_config(
                    read, attn_implementation=case.get("implementation", "eager"), dtype=torch.float32).eval()
            model.tie_weights()
            for name, p in model.named_parameters():
                p.copy_(weight(name, tuple(p.shape)))
            more = {"decoder_input_ids": torch.tensor(DECODER_IDS)} if case.get("kind") == "seq2seq" else {}
            result = model(input_ids=torch.tensor(IDS)[:, :case["length"]], **more)
            logits = result[0] if isinstance(result, tuple) else result.logits
            if not logits.isfinite().all():
                return "NaN"
            return digest(logits)
    except Exception as error:  # whatever the class, the answer is that it raises
        return error


# ---- values ------------------------------------------------------------------------------------------------------------

ROPES = [
    None, {}, {"rope_type": "default", "rope_theta": 60.0}, {"rope_theta": 60}, {"type": "linear", "factor": 2.0},
    {"rope_type": "linear", "factor": 2, "rope_theta": 60}, {"rope_type": "linear"}, {"rope_type": "dynamic", "factor": 3.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "attention_factor": 0.7},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 4, "beta_slow": 0.5},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "mscale": 0.5, "mscale_all_dim": 0.8},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "truncate": False},
    {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 16, "rope_theta": 60.0},
    {"rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0], "original_max_position_embeddings": 4},
    {"rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0], "original_max_position_embeddings": 32},
    {"rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0], "factor": 4.0,
     "original_max_position_embeddings": 4, "attention_factor": 0.6},
    {"rope_type": "default", "rope_theta": 60.0, "partial_rotary_factor": 0.5}, {"rope_type": "proportional", "rope_theta": 60.0},
    {"rope_type": "ntk"},
    {"full_attention": {"rope_type": "default", "rope_theta": 60.0}, "sliding_attention": {"rope_type": "default",
                                                                                          "rope_theta": 20.0}},
    "x",
]

# Names that transformers reads in any family, or that older files have.
ANYWHERE = {
    "rope_theta": [7, 500.0, None, "x"], "rope_scaling": ROPES, "partial_rotary_factor": [0.5, 1.0, None],
    "rotary_pct": [0.5, None], "rotary_emb_base": [70, None], "rope_local_base_freq": [30.0],
    "is_causal": [False, True, None, 0, "x"], "is_decoder": [True, False], "is_encoder_decoder": [True, False],
    "add_cross_attention": [True, False], "cross_attention_hidden_size": [16], "use_bidirectional_attention": [True, False],
    "position_embedding_type": ["absolute", "relative_key", "relative_key_query", "rotary"], "return_dict": [False],
    "output_hidden_states": [True], "output_attentions": [True], "num_labels": [5], "id2label": [{"0": "a"}],
    "problem_type": ["regression"], "chunk_size_feed_forward": [2], "pruned_heads": [{"0": [0]}, {}],
    "tie_encoder_decoder": [True], "gradient_checkpointing": [True], "attention_chunk_size": [3], "use_return_dict": [False],
    "layer_types": None, "sliding_window": [3, 1, 0, None], "sliding_window_pattern": [2, None], "use_sliding_window": [True, False],
    "sliding_window_size": [3], "attn_logit_softcapping": [0.7], "final_logit_softcapping": [0.7], "query_pre_attn_scalar": [3],
    "head_dim": [6, 8, None], "attention_bias": [True, False], "mlp_bias": [True], "logits_scaling": [2.0], "torchscript": [True],
    "per_layer_config": [{"0": {"sliding_window": 2}}, {"0": {"intermediate_size": 20}}, {"1": {"num_key_value_heads": 1}}, {}],
    "torch_dtype": ["float16", "bfloat16", "float32"], "dtype": ["float16"], "use_cache": [False, True],
    "attn_implementation": ["sdpa", "eager"], "_attn_implementation": ["sdpa"], "name_or_path": ["x"],
    "architectures": [["X"], []], "auto_map": [{"AutoModel": "x.y"}], "transformers_version": ["4.0.0", 5],
    "pretraining_tp": [2], "summary_type": ["x"], "task_specific_params": [{"a": {"do_sample": True}}], "prefix": ["x"],
    "is_composition": [True], "layer_norm_eps": [0.1], "rms_norm_eps": [0.1], "norm_epsilon": [0.1], "layer_norm_epsilon": [0.1],
    "scale_decoder_outputs": [True, False, None], "tie_last_hidden_states": [True, False], "bos_token_id": [0, None],
    "original_max_position_embeddings": [4, None], "max_position_embeddings": None, "n_ctx": [16], "num_experts": [4],
    "hidden_activation": ["relu", None], "no_such_setting": [3],
}

KINDS_OF_LAYERS = ["full_attention", "sliding_attention", "chunked_attention", "linear_attention", "x"]


def kinds_of_layers(layers):
    lists = [[kind] * layers for kind in KINDS_OF_LAYERS]
    lists += [[KINDS_OF_LAYERS[i % 2] for i in range(layers)], [KINDS_OF_LAYERS[(i + 1) % 2] for i in range(layers)]]
    return lists + [["full_attention"] * (layers + 1), [], None, "x"]


def unique(values, current):
    seen, result = {json.dumps(current)}, []
    for v in values:
        key = json.dumps(v)
        if key not in seen and not (isinstance(v, float) and math.isnan(v)):
            seen.add(key)
            result.append(v)
    return result


def values_of(name, kind, current, layers):
    """The values that a field of this kind gets."""
    kind, values = str(kind), []
    if name == "layer_types":
        return kinds_of_layers(layers)
    if name in ("rope_parameters", "rope_scaling"):
        return ROPES
    if name == "attention_types":
        return [[[["global"], layers]], [[["local"], layers]], [[["global", "local"], 1]], [], None, "x"]
    if name == "feed_forward_proj":
        return ["relu", "gelu", "silu", "gelu_new", "gated-gelu", "gated-silu", "gated-relu", "gated-gelu_new", "x-relu",
                "gated-gelu-x", "x", 5, None]
    if name == "time_step_rank":
        return ["auto", 1, 3, "x", None]
    if name == "time_step_limit":
        return [[0.0, 0.05], [0.1, 1.0], [0.0], None, "x"]
    if name in ("mlp_only_layers",):
        return [[], [0], [1], [0, 1], None, "x"]
    if isinstance(current, str) and current in ACT2FN or name in ("hidden_act", "hidden_activation", "activation_function"):
        return [*ACT2FN.keys(), "x", 5, None]
    if "bool" in kind or isinstance(current, bool):
        values += [True, False, 1]
    if not isinstance(current, bool) and ("int" in kind or type(current) is int):
        c = current if type(current) is int else 4
        values += [c + 1, max(c - 1, 1), 2 * c, max(c // 2, 1), 1, 2, 0, -1]
    if not isinstance(current, bool) and ("float" in kind or type(current) is float):
        c = current if isinstance(current, (int, float)) else 1.0
        values += [2.0 * c, 0.5 * c, 0.5, 1.0, 0.0, -0.5]
    if "str" in kind:
        values += ["x", 5]
    if "list" in kind or isinstance(current, list):
        values += [[], [1], [0, 1]]
    return values + ["x", None]


def changes_of(base, first):
    """All changes for one tiny model, as a list of (field, value)."""
    cls = CONFIG_MAPPING[base["model_type"]]
    whole = cls.from_dict({k: v for k, v in base.items() if k != "model_type"})
    layers = whole.num_hidden_layers
    own = {f.name: f.type for f in dataclasses.fields(cls)}
    result = []
    for name, kind in own.items():
        if name in ("transformers_version", "architectures", "dtype", "id2label", "label2id"):
            continue
        current = base.get(name, getattr(whole, name, None))
        result += [(name, v) for v in unique(values_of(name, kind, current, layers), base.get(name, "absent"))]
    for other, name in cls.attribute_map.items():
        if other not in own:
            current = base.get(other, base.get(name, getattr(whole, name, None)))
            result += [(other, v) for v in unique(values_of(name, own.get(name, "int"), current, layers), base.get(other, "absent"))]
    for name in base:
        if name not in own and name not in cls.attribute_map and name not in ANYWHERE and name != "model_type":
            current = base[name]
            result += [(name, v) for v in unique(values_of(name, type(current).__name__, current, layers), current)]
    for name, values in ANYWHERE.items():
        if name in own or name in cls.attribute_map:
            values = [] if name in own and name != "rope_scaling" and values is None else values or []
        if values is None:
            values = kinds_of_layers(layers) if name == "layer_types" else [4, 64, None]
        known = {json.dumps(v) for n, v in result if n == name}
        result += [(name, v) for v in unique(values, base.get(name, "absent")) if json.dumps(v) not in known]
    if first:
        tried = {name for name, _ in result} | set(base)
        for name, v in sorted(FOREIGN.items()):
            if name not in tried:
                result.append((name, v))
    return result


def foreign():
    """One value other than the default for every field of every family."""
    found = {}
    for case in CASES.values():
        cls = CONFIG_MAPPING[(case.get("new") or case["old"])["model_type"]]
        for f in dataclasses.fields(cls):
            default = None if f.default is dataclasses.MISSING else f.default
            for v in values_of(f.name, f.type, default, 2):
                if v != default and v not in ("x", None):
                    found.setdefault(f.name, v)
                    break
    return found


FOREIGN = foreign()


# ---- answers -----------------------------------------------------------------------------------------------------------

def answer(case, base, expected, change):
    got = run(case, {**base, **change})
    if isinstance(got, Exception):
        return 1
    if got == "NaN":
        return "NaN"
    return 0 if near(got, expected) else got


def answers_of(name, case, first):
    base = dict(case.get("new") or case["old"])
    case["length"] = min(len(IDS[0]), base.get("max_position_embeddings", base.get("n_positions", 32)))
    expected = run(case, base)
    if not isinstance(expected, list):
        raise SystemExit(f"{name} does not run: {expected!r}")
    changes = changes_of(base, first)
    result, sound = [], []
    for field, value in changes:
        got = answer(case, base, expected, {field: value})
        result.append([{field: value}, got])
        if isinstance(got, list):
            sound.append((field, value))
    draw = random.Random(zlib.crc32(name.encode()))
    for _ in range(PAIRS if len(sound) > 4 else 0):
        a, b = draw.sample(sound, 2)
        if a[0] != b[0]:
            result.append([dict([a, b]), answer(case, base, expected, dict([a, b]))])
    return {"name": name, "length": case["length"], "config": base, "logits": expected, "changes": result}


def write(path, cases):
    order = list(CASES)
    whole = {"torch": torch.__version__, "transformers": transformers.__version__, "ids": IDS, "decoder_ids": DECODER_IDS,
             "cases": sorted(cases.values(), key=lambda entry: order.index(entry["name"]))}
    with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as f:
        f.write(json.dumps(whole, separators=(",", ":")).encode())


def main(names):
    path = os.path.join(HERE, "settings.json.gz")
    seen, cases = set(), {}
    if names and os.path.exists(path):
        with gzip.open(path, "rt") as f:
            cases = {entry["name"]: entry for entry in json.load(f)["cases"]}
    for name, case in CASES.items():
        model_type = (case.get("new") or case["old"])["model_type"]
        first = model_type not in seen
        seen.add(model_type)
        if names and name not in names:
            continue
        cases[name] = answers_of(name, case, first)
        kinds = [0 if a == 0 else 1 if a == 1 else 2 for _, a in cases[name]["changes"]]
        print(name, len(kinds), "changes:", kinds.count(0), "same,", kinds.count(1), "raise,", kinds.count(2), "other", flush=True)
        write(path, cases)


if __name__ == "__main__":
    main(sys.argv[1:])
