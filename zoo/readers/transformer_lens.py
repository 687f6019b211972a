"""The state dict of a `transformer_lens.HookedTransformer` in model.safetensors, with its config in config.json.

    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.cfg.to_dict(), default=str))

Names are ours but for _W_K, _W_V, _b_K and _b_V of grouped heads. A HookedTransformer has every bias, and those of a
gated MLP elsewhere than Llama has them (b_in is added after the product), so b_in W_out is folded into b_out.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, block_shapes, shapes
from zoo.files import shown
from zoo.readers.checkpoint import SafetensorsCheckpoint
from zoo.readers.family import ACTIVATIONS
from zoo.readers.fields import Fields
from zoo.readers.names import token_names
from zoo.readers.source import Layout, Read, Source, Tensors, named_layout
from zoo.target_files import CONFIG_FILE, MAX_LAYERS, WEIGHTS_FILE, config_from_json, refused

BUFFERS = r"blocks\.\d+\.attn\.(mask|IGNORE|rotary_sin|rotary_cos)"
"""Names in a state dict that hold no weights."""
NORMS = ("LN", "LNPre", "RMS", "RMSPre")
INACTIVE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attn_scores_soft_cap", "output_logits_soft_cap"), (-1, -1.0)),
    **dict.fromkeys(("clip_qkv", "experts_per_token", "num_experts", "quantization_method"), ()),
    **dict.fromkeys(("load_in_4bit", "post_embedding_ln", "scale_attn_by_inverse_layer_idx"), (False,)),
    **dict.fromkeys(("use_attention_sinks", "use_dynamic_ntk_rope", "use_local_attn", "use_logn_attn"), (False,)),
    **dict.fromkeys(("use_normalization_before_and_after", "use_yarn_rope"), (False,)),
}
"""Fields that must be absent, null or one of these values."""
IRRELEVANT = re.compile(
    r"NTK_.*|yarn_.*|attn_types|checkpoint_.*|decoder_start_token_id|default_prepend_bos|device|dtype|from_checkpoint|"
    r"init_mode|init_weights|initializer_range|layer_norm_folding|model_name|n_devices|n_params|norm_topk_prob|"
    r"original_architecture|relative_attention_.*|rotary_base_local|seed|tie_word_embeddings|tokenizer_.*|"
    r"train_seq_length|trust_remote_code|ungroup_grouped_query_attention|use_attn_in|use_attn_result|use_hook_.*|"
    r"use_split_qkv_input|uses_rms_norm|window_size"
)
"""Fields that say nothing about the function, given that those above are inactive."""


def from_transformer_lens(folder: Path, fields: Fields | None = None, file: str = WEIGHTS_FILE) -> Source:
    """The source in a folder with a state dict and its config; `file` is the name of the first.

    Raises:
        TargetError: a field that is unknown or not supported, or tensors that do not fit the config.
    """
    folder = Path(folder)
    fields = fields or Fields.read(folder / CONFIG_FILE)
    config = config_from_json(config_fields(fields), fields.path)
    checkpoint = SafetensorsCheckpoint(folder, BUFFERS, file)
    layout = attention_only(config) if fields.flag("attn_only", False) else state_dict_layout(config)
    return Source(config, checkpoint, layout, partial(token_names, folder, config.d_vocab, config.d_vocab_out))


def config_fields(fields: Fields) -> dict[str, Any]:
    """Fields of a `TargetConfig` out of those of a HookedTransformerConfig.

    Raises:
        TargetError: see `from_transformer_lens`.
    """
    for name, allowed in INACTIVE.items():
        fields.expect(name, *allowed)
    if "Olmo" in (architecture := str(fields.values.get("original_architecture"))):
        raise refused(fields.where, "original_architecture", architecture, "one that norms before it reads")
    d_model, d_head = fields.integer("d_model"), fields.integer("d_head")
    d_vocab, attn_only = fields.integer("d_vocab"), fields.flag("attn_only", False)
    norm = None if fields.values.get("normalization_type", "") is None else "LN"
    out: dict[str, Any] = {
        "d_model": d_model,
        "n_layers": fields.integer("n_layers", None, 0, MAX_LAYERS),
        "n_heads": fields.integer("n_heads", max(1, d_model // d_head)),
        "d_head": d_head,
        "d_mlp": 0 if attn_only else fields.integer("d_mlp", 4 * d_model),
        "n_ctx": fields.integer("n_ctx"),
        "d_vocab": d_vocab,
        "d_vocab_out": fields.integer("d_vocab_out", d_vocab),
        "act_fn": "relu" if attn_only else fields.choice("act_fn", ACTIVATIONS),
        "normalization_type": norm and fields.choice("normalization_type", dict(zip(NORMS, NORMS, strict=True)), norm),
        "attention_dir": fields.choice("attention_dir", {n: n for n in ("causal", "bidirectional")}, "causal"),
        "eps": fields.number("eps", 1e-5, 0, 1),
        "default_prepend_bos": False,
        "use_qk_norm": fields.flag("use_qk_norm", False),
        "gated_mlp": fields.flag("gated_mlp", False) and not attn_only,
        "parallel_attn_mlp": fields.flag("parallel_attn_mlp", False) and not attn_only,
        "mlp_bias": not attn_only,
        "n_key_value_heads": None,
    }
    if fields.values.get("n_key_value_heads") is not None:
        out["n_key_value_heads"] = fields.integer("n_key_value_heads")
    if out["normalization_type"] in ("LN", "LNPre"):
        fields.expect("final_rms", False)
    out |= _scale(fields, d_head) | _positions(fields, d_head)
    known = {*out, *INACTIVE, "attn_only", "attn_scale", "final_rms", "use_attn_scale", "rotary_dim", "rotary_base"}
    for name, value in fields.values.items():
        is_ours = name in known or name.startswith(("rotary_", "use_NTK_"))
        if not is_ours and not IRRELEVANT.fullmatch(name) and value is not None and value is not False:
            raise TargetError(f"{fields.where}: unknown field '{shown(name)}' of a HookedTransformerConfig")
    return out


def _scale(fields: Fields, d_head: int) -> dict[str, Any]:
    """What scores are divided by."""
    if not fields.flag("use_attn_scale", True):
        return {"attn_scale": 1.0}
    scale = fields.number("attn_scale", -1.0, -1.0, 1e6)
    return {"attn_scale": None if scale in (-1.0, d_head**0.5) else scale}


def _positions(fields: Fields, d_head: int) -> dict[str, Any]:
    """How positions are seen."""
    kind = fields.choice("positional_embedding_type", {n: n for n in ("standard", "rotary")}, "standard")
    if kind == "standard":
        return {"positional_embedding_type": kind}
    out: dict[str, Any] = {
        "positional_embedding_type": kind,
        "rotary_dim": fields.integer("rotary_dim", d_head),
        "rotary_base": fields.number("rotary_base", 10_000.0, 1),
        "rotary_adjacent_pairs": fields.flag("rotary_adjacent_pairs", False),
    }
    if not fields.flag("use_NTK_by_parts_rope", False):
        return out | {"rotary_scaling_factor": fields.number("rotary_scaling_factor", 1.0, 1e-6, 1e6)}
    factors = {"NTK_by_parts_low_freq_factor": 1.0, "NTK_by_parts_high_freq_factor": 4.0, "NTK_by_parts_factor": 8.0}
    out |= {name: fields.number(name, default, 1e-6, 1e6) for name, default in factors.items()}
    return out | {
        "use_NTK_by_parts_rope": True,
        "NTK_original_ctx_len": fields.integer("NTK_original_ctx_len", 8192),
    }


def stored_name(config: TargetConfig, name: str) -> str:
    """A tensor's name in the state dict."""
    if config.n_key_value_heads is None:
        return name
    return re.sub(r"\.(?=[Wb]_[KV]$)", "._", name)


def state_dict_layout(config: TargetConfig) -> Layout:
    """The layout of the state dict of a model with MLPs."""
    sizes = {name: shape for name, shape in shapes(config).items() if not name.endswith(".b_gate")}
    plain = named_layout(sizes, partial(stored_name, config))
    if not config.gated_mlp:
        return plain

    def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
        out, at = plain.block(read, c, layer), f"blocks.{layer}.mlp."
        out[at + "b_out"] = out[at + "b_out"] + out[at + "b_in"] @ out[at + "W_out"]
        nothing = torch.zeros_like(out[at + "b_in"])
        return out | {at + "b_in": nothing, at + "b_gate": nothing}

    return Layout(plain.embedding, block, plain.unembedding)


def attention_only(config: TargetConfig) -> Layout:
    """The layout of the state dict of a model without MLPs: ours has MLPs without neurons."""
    there = {name: shape for name, shape in shapes(config).items() if ".mlp." not in name and ".ln2." not in name}
    plain = named_layout(there, partial(stored_name, config))

    def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
        out, at = plain.block(read, c, layer), f"blocks.{layer}."
        made = {name: shape for name, shape in block_shapes(c).items() if name.startswith(("mlp.", "ln2."))}
        return out | {at + n: torch.ones(s) if n.endswith(".w") else torch.zeros(s) for n, s in made.items()}

    return Layout(plain.embedding, block, plain.unembedding)
