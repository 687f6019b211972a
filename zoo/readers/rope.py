"""Rotary position fields of a Hugging Face configuration, in the words of transformers 4 and of transformers 5.

Version 4 has rope_theta (rotary_emb_base in GPT-NeoX) and rope_scaling beside the other fields; version 5 has one
object rope_parameters with rope_theta, rope_type and what that type needs.
"""

from __future__ import annotations

from typing import Any

from tracr_tasks.errors import TargetError
from zoo.files import shown
from zoo.readers.fields import Fields
from zoo.target_files import refused

KEYS = ("factor", "high_freq_factor", "low_freq_factor", "original_max_position_embeddings")
"""What a scaling may say beside its kind, its base and its share."""
TYPES = ("default", "linear", "llama3")
"""Kinds of scaling that are read. The others depend on the length of the input, or scale the scores."""


def rotary_fields(fields: Fields, d_head: int, n_ctx: int, *, theta: str, share: float | None = None) -> dict[str, Any]:
    """Fields of a `TargetConfig`. `theta` is version 4's name of the base.

    `share` is the part of a head that is turned, where the family lets a file choose it; otherwise all of it is.

    Raises:
        TargetError: a kind of scaling that is not supported, or a value out of range.
    """
    scaling = fields.table("rope_scaling")
    params = scaling if scaling.values else fields.table("rope_parameters")
    if unknown := sorted(set(params.values) - {*KEYS, "rope_type", "type", "rope_theta", "partial_rotary_factor"}):
        raise TargetError(f"{fields.where}: unknown field '{shown(unknown[0])}' of the rotary positions")
    if share is None:
        params.expect("partial_rotary_factor", 1, 1.0)
        fields.expect("partial_rotary_factor", 1, 1.0)
    else:
        share = params.number("partial_rotary_factor", share, 0, 1)
    kind = params.values.get("rope_type", params.values.get("type", "default"))
    if kind not in TYPES:
        raise refused(fields.where, "rope_type", kind, f"one of {', '.join(TYPES)}")
    out: dict[str, Any] = {
        "positional_embedding_type": "rotary",
        "rotary_base": params.number("rope_theta", fields.number(theta, 10_000.0, 1), 1),
        "rotary_dim": d_head if share is None else int(d_head * share),
    }
    if kind == "linear":
        out["rotary_scaling_factor"] = params.number("factor", None, 1e-6, 1e6)
    if kind == "llama3":
        out |= {
            "use_NTK_by_parts_rope": True,
            "NTK_by_parts_factor": params.number("factor", None, 1e-6, 1e6),
            "NTK_by_parts_low_freq_factor": params.number("low_freq_factor", None, 1e-6, 1e6),
            "NTK_by_parts_high_freq_factor": params.number("high_freq_factor", None, 1e-6, 1e6),
            "NTK_original_ctx_len": params.integer("original_max_position_embeddings", n_ctx),
        }
    return out


def expect_full_attention(fields: Fields, n_layers: int, n_ctx: int) -> None:
    """No layer looks back less than the whole context.

    Raises:
        TargetError: a window that is shorter, or a list of layer types that does not fit the layers.
    """
    kinds = fields.texts("layer_types")
    if kinds and len(kinds) != n_layers:
        raise TargetError(f"{fields.where}: layer_types has {len(kinds)} entries, expected {n_layers}")
    unknown = [kind for kind in kinds if kind not in ("full_attention", "sliding_attention")]
    if unknown:
        raise refused(fields.where, "layer_types", unknown[0], "full_attention in every layer: it is not supported")
    if kinds:
        slides = "sliding_attention" in kinds
    else:
        slides = fields.flag("use_sliding_window", False) and fields.integer("max_window_layers", 28, 0) < n_layers
    if slides and fields.integer("sliding_window", 4096) < n_ctx:
        window = fields.values.get("sliding_window", 4096)
        raise refused(fields.where, "sliding_window", window, f"at least the context of {n_ctx}, or no sliding layer")
