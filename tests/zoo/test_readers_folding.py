"""What the oracle cannot fold yet it refuses by name, rather than reading it as something else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from oracle.neutral import NeutralLayer, fold
from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, shapes

PLAIN = TargetConfig(6, 1, 2, 4, 5, 4, 7, 7, act_fn="gelu", normalization_type="LN", attention_dir="causal")
REFUSED: dict[str, Any] = {
    "act_fn": "silu",
    "positional_embedding_type": "rotary",
    "use_qk_norm": True,
    "gated_mlp": True,
    "parallel_attn_mlp": True,
}
FOLDED: dict[str, Any] = {
    "default_prepend_bos": False,
    "n_key_value_heads": 1,
    "attn_scale": 1.0,
    "qkv_bias": False,
    "attn_out_bias": False,
    "mlp_bias": False,
    "unembed_bias": False,
    "tie_word_embeddings": True,
}


def weights(config: TargetConfig) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes(config).items()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_folded_is_refused_by_name(name: str) -> None:
    config = replace(PLAIN, **{name: REFUSED[name]})
    with pytest.raises(TargetError, match=rf"{name} = '?{REFUSED[name]}'? is not read by the oracle yet, expected"):
        fold(config, weights(config))


@pytest.mark.parametrize("name", FOLDED)
def test_absent_and_shared_tensors_are_folded_to_the_plain_shapes(name: str) -> None:
    """That they are the same function is a test of the encoder."""
    config = replace(PLAIN, **{name: FOLDED[name]})
    plain, folded = fold(PLAIN, weights(PLAIN)), fold(config, weights(config))
    for field in fields(NeutralLayer):
        assert getattr(folded.layers[0], field.name).shape == getattr(plain.layers[0], field.name).shape
    assert (folded.W_U.shape, folded.b_U.shape) == (plain.W_U.shape, plain.b_U.shape)


def test_the_tanh_formula_counts_as_gelu() -> None:
    config = replace(PLAIN, act_fn="gelu_new")
    assert fold(config, weights(config)).gelu
    assert not fold(replace(config, act_fn="relu"), weights(config)).gelu
