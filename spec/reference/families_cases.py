"""The tiny models of families.py. `new`: settings, which this version of transformers writes down its own way; `old`: a
config.json as older versions wrote it. More: `layout`, what the file holds instead; `shard`, the size of a file; `kind`; `own_head`; `skip`, modules that are not compared."""

SMALL = {"vocab_size": 19, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 32}


def old(model_type, **settings):
    return {"model_type": model_type, "torch_dtype": "bfloat16", "transformers_version": "4.31.0", **settings}


def without_prefix(prefix, *extra):
    """As the file of the model without its head, with tensors that older versions kept."""
    def layout(weights):
        import torch
        weights = {name.removeprefix(prefix): t for name, t in weights.items() if not name.startswith("lm_head")}
        return {**weights, **{name: torch.ones(2) for name in extra}}
    return layout


CASES = {
    # ---- Llama and what is near it ----
    "llama": {"new": dict(SMALL, model_type="llama", num_key_value_heads=2, attention_bias=True, mlp_bias=True,
                          rope_parameters={"rope_type": "llama3", "rope_theta": 300.0, "factor": 3.0, "low_freq_factor": 1.0,
                                           "high_freq_factor": 4.0, "original_max_position_embeddings": 20}),
              "shard": "3KB"},
    "llama-old": {"old": old("llama", **SMALL, hidden_act="gelu", rms_norm_eps=1e-2, rope_theta=500.0, pad_token_id=1,
                             rope_scaling={"type": "linear", "factor": 2.5}, tie_word_embeddings=True),
                  "layout": without_prefix("model.", "layers.0.self_attn.rotary_emb.inv_freq")},
    "llama-dynamic-old": {"old": old("llama", **dict(SMALL, max_position_embeddings=5), num_key_value_heads=1,
                                     rope_scaling={"type": "dynamic", "factor": 4.0}, head_dim=6)},
    "llama-yarn": {"new": dict(SMALL, model_type="llama", num_key_value_heads=4, head_dim=8, hidden_act="relu",
                               rope_parameters={"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                                "original_max_position_embeddings": 8, "beta_fast": 2.0,
                                                "beta_slow": 0.25})},
    "llama-yarn-old": {"old": old("llama", **dict(SMALL, num_hidden_layers=1), rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 1.3, "truncate": False,
        "original_max_position_embeddings": 8})},
    "mistral": {"new": dict(SMALL, model_type="mistral", num_key_value_heads=2, head_dim=6, sliding_window=3)},
    "mistral-old": {"old": old("mistral", **SMALL, num_key_value_heads=4, sliding_window=None, rope_theta=1e6,
                               rms_norm_eps=1e-5)},
    "qwen2": {"new": dict(SMALL, model_type="qwen2", num_hidden_layers=3, num_key_value_heads=2, use_sliding_window=True,
                          sliding_window=3, max_window_layers=1, tie_word_embeddings=True)},
    "qwen2-old": {"old": old("qwen2", **SMALL, num_key_value_heads=1, sliding_window=3, use_sliding_window=False,
                             rope_theta=1e6)},
    "qwen3": {"new": dict(SMALL, model_type="qwen3", num_key_value_heads=2, head_dim=6, attention_bias=True,
                          layer_types=["sliding_attention", "full_attention"], use_sliding_window=True, sliding_window=2)},
    "qwen3-old": {"old": old("qwen3", **SMALL, num_key_value_heads=4, head_dim=8, rope_theta=1e6, rope_scaling=None,
                             tie_word_embeddings=True, use_sliding_window=False, sliding_window=None,
                             max_window_layers=2)},
    "granite": {"new": dict(SMALL, model_type="granite", num_key_value_heads=2, embedding_multiplier=3.0,
                            logits_scaling=0.5, residual_multiplier=0.22, attention_multiplier=0.4, attention_bias=True,
                            tie_word_embeddings=True)},
    "granite-old": {"old": old("granite", **SMALL, embedding_multiplier=2, logits_scaling=4, mlp_bias=True,
                               rope_theta=900)},
    "olmo2": {"new": dict(SMALL, model_type="olmo2", num_key_value_heads=2, attention_bias=True, pad_token_id=1)},
    "olmo2-old": {"old": old("olmo2", **SMALL, rope_theta=5e5, rms_norm_eps=1e-3, tie_word_embeddings=True,
                             rope_scaling=None)},
}
CASES.update({
    # ---- Gemma, Phi, StableLM, StarCoder2 ----
    "gemma": {"new": dict(SMALL, model_type="gemma", num_key_value_heads=1, head_dim=6, attention_bias=True)},
    "gemma-old": {"old": old("gemma", **SMALL, num_key_value_heads=4, head_dim=4, hidden_act="gelu", rope_theta=200.0,
                             rms_norm_eps=1e-2)},
    "gemma2": {"new": dict(SMALL, model_type="gemma2", num_hidden_layers=3, num_key_value_heads=2, head_dim=6,
                           sliding_window=3, query_pre_attn_scalar=11, attn_logit_softcapping=0.7,
                           final_logit_softcapping=1.5)},
    "gemma2-old": {"old": old("gemma2", **SMALL, num_key_value_heads=4, head_dim=4, sliding_window=2,
                              hidden_activation="gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh", rope_theta=300,
                              attn_logit_softcapping=None, final_logit_softcapping=None, query_pre_attn_scalar=16)},
    "gemma3": {"new": dict(SMALL, model_type="gemma3_text", num_hidden_layers=3, num_key_value_heads=2, head_dim=6,
                           sliding_window=3, query_pre_attn_scalar=9, layer_types=["full_attention", "sliding_attention",
                                                                                 "full_attention"],
                           rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 400.0},
                                            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0}}),
               "skip": ["rotary_emb"]},  # called once for each kind of layers, in any order
    "gemma3-old": {"old": old("gemma3_text", **dict(SMALL, num_hidden_layers=3), num_key_value_heads=1, head_dim=8,
                              sliding_window=2, sliding_window_pattern=2, rope_theta=1000.0, rope_local_base_freq=50.0,
                              rope_scaling={"rope_type": "linear", "factor": 4.0}, final_logit_softcapping=2.0,
                              hidden_activation="gelu_pytorch_tanh", attention_bias=False), "skip": ["rotary_emb"]},
    "phi": {"new": dict(SMALL, model_type="phi", num_attention_heads=2, num_key_value_heads=1, qk_layernorm=True)},
    "phi-old": {"old": old("phi", **SMALL, partial_rotary_factor=1.0, hidden_act="gelu_new", layer_norm_eps=1e-2,
                           rope_theta=70.0, embd_pdrop=0.1, resid_pdrop=0.1, num_key_value_heads=None)},
    "phi3": {"new": dict(SMALL, model_type="phi3", num_key_value_heads=2, original_max_position_embeddings=6,
                         rope_parameters={"rope_type": "longrope", "rope_theta": 50.0, "short_factor": [1.0, 1.5],
                                          "long_factor": [2.0, 3.0]}, sliding_window=4, pad_token_id=1)},
    "phi3-old": {"old": old("phi3", **dict(SMALL, max_position_embeddings=64), num_key_value_heads=4,
                            original_max_position_embeddings=16, rope_theta=1e4, sliding_window=None, pad_token_id=0,
                            rope_scaling={"type": "longrope", "short_factor": [1.2, 1.5], "long_factor": [2.0, 3.0]})},
    "stablelm": {"new": dict(SMALL, model_type="stablelm", hidden_size=32, num_key_value_heads=2, use_qkv_bias=True,
                             qk_layernorm=True, use_parallel_residual=True)},
    "stablelm-old": {"old": old("stablelm", **dict(SMALL, num_attention_heads=2), num_key_value_heads=2,
                                partial_rotary_factor=0.5, layer_norm_eps=1e-2, rope_theta=60, hidden_dropout=0.1)},
    "starcoder2": {"new": dict(SMALL, model_type="starcoder2", num_key_value_heads=2, sliding_window=3)},
    "starcoder2-old": {"old": old("starcoder2", **SMALL, num_key_value_heads=1, use_bias=False, norm_epsilon=1e-2,
                                  rope_theta=60, tie_word_embeddings=False, embedding_dropout=0.1, sliding_window=None)},
})

SMALL_J = {"vocab_size": 19, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
SMALL_BLOOM = {"vocab_size": 19, "hidden_size": 18, "n_layer": 2, "n_head": 6}
SMALL_FALCON = {"vocab_size": 19, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6,
                "max_position_embeddings": 32}


def old_neox(weights):
    import torch
    weights = {name.replace("lm_head", "embed_out"): t for name, t in weights.items()}
    return {**weights, "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool),
            "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(2)}


CASES.update({
    # ---- GPT-NeoX, GPT-J, GPT-Neo, OPT, BLOOM, Falcon ----
    "gpt_neox": {"new": dict(SMALL, model_type="gpt_neox", num_attention_heads=2, use_parallel_residual=False,
                             attention_bias=False, hidden_dropout=0.1,
                             rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 60.0,
                                              "partial_rotary_factor": 0.5})},
    "gpt_neox-old": {"old": old("gpt_neox", **SMALL, rotary_pct=1.0, rotary_emb_base=70, hidden_act="gelu_fast",
                                layer_norm_eps=1e-2, tie_word_embeddings=False), "layout": old_neox},
    "gptj": {"new": dict(SMALL_J, model_type="gptj", rotary_dim=4, n_inner=20, embd_pdrop=0.1)},
    "gptj-old": {"old": old("gptj", **SMALL_J, rotary_dim=8, activation_function="relu", layer_norm_epsilon=1e-2,
                            resid_pdrop=0.1, gradient_checkpointing=False, scale_attn_weights=True),
                 "layout": lambda w: {**w, "transformer.h.0.attn.bias": __import__("torch").ones(1, 1, 4, 4),
                                      "transformer.h.0.attn.masked_bias": __import__("torch").tensor(-1e9)}},
    "gpt_neo": {"new": {"model_type": "gpt_neo", "vocab_size": 19, "hidden_size": 16, "num_layers": 3, "num_heads": 4,
                        "max_position_embeddings": 32, "window_size": 3, "attention_types": [[["local"], 1], [["global",
                                                                                                          "local"], 1]]}},
    "gpt_neo-old": {"old": old("gpt_neo", vocab_size=19, hidden_size=16, num_layers=2, num_heads=2,
                               max_position_embeddings=16, window_size=2, attention_types=[[["global", "local"], 1]],
                               attention_layers=["global", "local"], intermediate_size=20, activation_function="relu",
                               layer_norm_epsilon=1e-2, resid_dropout=0, embed_dropout=0, attention_dropout=0,
                               tie_word_embeddings=False)},
    "opt": {"new": {**{k: v for k, v in SMALL.items() if k != "intermediate_size"}, "model_type": "opt", "ffn_dim": 24,
                    "activation_function": "gelu", "enable_bias": False, "layer_norm_elementwise_affine": False}},
    "opt-old": {"old": old("opt", vocab_size=19, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=20,
                           max_position_embeddings=8, do_layer_norm_before=False, word_embed_proj_dim=12, dropout=0.1,
                           pad_token_id=1, init_std=0.02, layerdrop=0.0),
                "layout": without_prefix("model.")},
    "bloom": {"new": dict(SMALL_BLOOM, model_type="bloom", apply_residual_connection_post_layernorm=True)},
    "bloom-old": {"old": old("bloom", vocab_size=19, n_embed=16, n_layer=2, num_attention_heads=4, layer_norm_epsilon=1e-2,
                             tie_word_embeddings=False, pretraining_tp=2, slow_but_exact=False, hidden_dropout=0.1,
                             attention_softmax_in_fp32=True, masked_softmax_fusion=True)},
    "falcon": {"new": dict(SMALL_FALCON, model_type="falcon", new_decoder_architecture=True, num_kv_heads=2, bias=True,
                           ffn_hidden_size=20, rope_parameters={"rope_type": "default", "rope_theta": 50.0})},
    "falcon-old": {"old": old("falcon", **SMALL_FALCON, multi_query=True, parallel_attn=True, alibi=False, bias=False,
                              layer_norm_epsilon=1e-2, new_decoder_architecture=False, hidden_dropout=0.1)},
    "falcon-alibi-old": {"old": old("falcon", **SMALL_FALCON, multi_query=False, parallel_attn=False, alibi=True, bias=True,
                                    tie_word_embeddings=False),
                         "implementation": "sdpa",  # eager adds the bias twice
                         "no_patterns": True, "skip": ["rotary_emb"]},
    "falcon-one-norm": {"new": dict(SMALL_FALCON, model_type="falcon", new_decoder_architecture=True, num_kv_heads=3,
                                    num_ln_in_parallel_attn=1, activation="relu")},
})

CASES.update({
    # ---- mixtures of experts ----
    "mixtral": {"new": dict(SMALL, model_type="mixtral", num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2,
                            sliding_window=3), "skip": ["experts.act_fn"]},  # called for the experts that are asked
    "mixtral-old": {"old": old("mixtral", **SMALL, num_key_value_heads=4, num_local_experts=3, num_experts_per_tok=1,
                               rope_theta=1e4, sliding_window=None, router_jitter_noise=0.1, rms_norm_eps=1e-3,
                               hidden_act="gelu"), "skip": ["experts.act_fn"], "shard": "4KB"},
    "qwen3_moe": {"new": dict(SMALL, model_type="qwen3_moe", num_hidden_layers=3, num_key_value_heads=2, head_dim=6,
                              num_experts=4, num_experts_per_tok=3, norm_topk_prob=True, moe_intermediate_size=10,
                              mlp_only_layers=[1], use_sliding_window=True, sliding_window=4, attention_bias=True),
                  "skip": ["experts.act_fn"]},
    "qwen3_moe-old": {"old": old("qwen3_moe", **SMALL, num_key_value_heads=1, num_experts=6, num_experts_per_tok=2,
                                 norm_topk_prob=False, moe_intermediate_size=12, decoder_sparse_step=2,
                                 mlp_only_layers=[], sliding_window=None, use_sliding_window=False, rope_theta=1e6,
                                 max_window_layers=2, tie_word_embeddings=True), "skip": ["experts.act_fn"]},
})

SMALL_D = {"vocab_size": 19, "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 16}


def with_old_bert_names(weights):
    """As the first files: gamma and beta, both tied tensors, and heads that are not needed."""
    import torch
    weights = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
               for name, t in weights.items()}
    return {**weights, "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"],
            "cls.predictions.decoder.bias": weights["cls.predictions.bias"],
            "bert.pooler.dense.weight": torch.ones(16, 16), "bert.pooler.dense.bias": torch.ones(16),
            "cls.seq_relationship.weight": torch.ones(2, 16), "cls.seq_relationship.bias": torch.ones(2),
            "bert.embeddings.position_ids": torch.arange(16)[None]}


CASES.update({
    # ---- encoders ----
    "bert": {"kind": "encoder", "new": dict(SMALL, model_type="bert", type_vocab_size=3, hidden_act="gelu_new",
                                            layer_norm_eps=1e-3)},
    "bert-old": {"kind": "encoder", "layout": with_old_bert_names,
                 "old": old("bert", **dict(SMALL, max_position_embeddings=16), hidden_act="gelu", type_vocab_size=2,
                            hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, layer_norm_eps=1e-12,
                            pad_token_id=0, position_embedding_type="absolute", gradient_checkpointing=False)},
    "bert-untied": {"kind": "encoder", "new": dict(SMALL, model_type="bert", num_hidden_layers=1,
                                                   tie_word_embeddings=False)},
    "roberta": {"kind": "encoder", "new": dict(SMALL, model_type="roberta", type_vocab_size=1, pad_token_id=2,
                                               layer_norm_eps=1e-5)},
    "roberta-old": {"kind": "encoder", "old": old("roberta", **SMALL, hidden_act="relu", type_vocab_size=1,
                                                  layer_norm_eps=1e-2, pad_token_id=1, bos_token_id=0, eos_token_id=2)},
    "distilbert": {"kind": "encoder", "new": dict(SMALL_D, model_type="distilbert")},
    "distilbert-old": {"kind": "encoder", "old": old("distilbert", **SMALL_D, activation="relu", tie_weights_=True,
                                                     sinusoidal_pos_embds=False, dropout=0.1, attention_dropout=0.2,
                                                     pad_token_id=0, seq_classif_dropout=0.2, qa_dropout=0.1)},
})

SMALL_M = {"vocab_size": 19, "hidden_size": 16, "num_hidden_layers": 2}

CASES.update({
    # ---- state spaces ----
    "mamba": {"no_patterns": True, "new": dict(SMALL_M, model_type="mamba", state_size=4, conv_kernel=3, use_bias=True,
                                               time_step_rank=3, residual_in_fp32=False)},
    "mamba-old": {"no_patterns": True, "old": old("mamba", **SMALL_M, state_size=3, expand=3, intermediate_size=48,
                                                  conv_kernel=4, use_conv_bias=False, time_step_rank="auto",
                                                  hidden_act="silu", layer_norm_epsilon=1e-2, tie_word_embeddings=False,
                                                  residual_in_fp32=True, rescale_prenorm_residual=False),
                  "layout": lambda w: {name.replace("embeddings", "embedding"): t for name, t in w.items()}},
    "mamba2": {"no_patterns": True, "new": dict(SMALL_M, model_type="mamba2", state_size=4, num_heads=4, head_dim=8,
                                                n_groups=2, chunk_size=4, conv_kernel=3, use_bias=True,
                                                time_step_limit=[0.3, 0.9])},
    "mamba2-old": {"no_patterns": True, "old": old("mamba2", **SMALL_M, state_size=3, num_heads=6, head_dim=8, expand=3,
                                                   n_groups=1, chunk_size=256, use_conv_bias=False, layer_norm_epsilon=1e-2,
                                                   tie_word_embeddings=True, time_step_limit=[0.0, float("inf")],
                                                   hidden_act="silu", rms_norm=True)},
})

SMALL_T = {"vocab_size": 19, "d_model": 16, "d_kv": 6, "d_ff": 20, "num_layers": 2, "num_heads": 3}


def old_t5(weights):
    """All the names of the tied embedding, a head of its own, and a tensor that nothing reads."""
    import torch
    shared = weights["shared.weight"]
    return {**weights, "encoder.embed_tokens.weight": shared, "decoder.embed_tokens.weight": shared,
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.ones(4, 3)}


CASES.update({
    # ---- encoder and decoder ----
    "t5": {"kind": "seq2seq", "new": dict(SMALL_T, model_type="t5", num_decoder_layers=1, relative_attention_num_buckets=8,
                                          relative_attention_max_distance=6)},
    "t5-old": {"kind": "seq2seq", "layout": old_t5, "own_head": True,
               "old": old("t5", **SMALL_T, feed_forward_proj="gated-gelu", tie_word_embeddings=False, dropout_rate=0.1,
                          relative_attention_num_buckets=4, layer_norm_epsilon=1e-3, n_positions=512,
                          decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, is_encoder_decoder=True,
                          output_past=True)},
})
