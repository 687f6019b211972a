"""What the oracle cannot fold yet it refuses by name, rather than reading it as something else."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch

from oracle.neutral import fold
from oracle.neutral_layer import NeutralLayer
from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, shapes

PLAIN = TargetConfig(6, 1, 2, 4, 5, 4, 7, 7, act_fn="gelu", normalization_type="LN", attention_dir="causal")
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


@dataclass(frozen=True)
class Later(TargetConfig):
    """A configuration with a part that the foldings do not know."""

    sinks: bool = False


def test_what_is_not_known_is_refused_by_name() -> None:
    config = Later(**vars(PLAIN))
    assert fold(config, weights(config)).norm == 1
    with pytest.raises(TargetError, match="sinks = True is not read by the oracle yet, expected False"):
        fold(replace(config, sinks=True), weights(config))


FLAGS: dict[str, dict[str, Any]] = {
    "silu": {"act_fn": "silu"},
    "gated": {"gated_mlp": True},
    "parallel": {"parallel_attn_mlp": True},
    "qk_norm": {"use_qk_norm": True},
}


@pytest.mark.parametrize("flag", FLAGS)
def test_what_only_other_peoples_models_have_is_marked(flag: str) -> None:
    config = replace(PLAIN, **FLAGS[flag])
    folded = fold(config, weights(config))
    assert {name: getattr(folded, name) for name in FLAGS} == {name: name == flag for name in FLAGS}
    assert len(folded.layers[0].b_gate) == (config.d_mlp if flag == "gated" else 0)
    assert folded.layers[0].W_norm.shape[1] == (config.n_heads if flag == "qk_norm" else 0)


def test_rotary_targets_have_rates_and_no_positions() -> None:
    config = replace(PLAIN, positional_embedding_type="rotary", rotary_dim=4, rotary_base=16.0)
    folded = fold(config, weights(config))
    torch.testing.assert_close(folded.rates, torch.tensor([1.0, 1.0, 0.25, 0.25]))
    assert len(folded.W_pos) == 0 and len(fold(PLAIN, weights(PLAIN)).rates) == 0


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
