"""Random targets, readers and oracles that the tests of the oracle share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st

from oracle.base import new_model, train_tokenizer
from oracle.batch import LabelIds
from oracle.config import BaseConfig, EncoderConfig
from oracle.encoder import WeightEncoder
from oracle.reader import Reader
from tracr_tasks.transformer import TargetConfig, shapes

Encoder = TypeVar("Encoder", bound=torch.nn.Module)
D_LLM = 32
TABLE_ROWS = 96
SMALL = EncoderConfig(
    token_channels=6,
    position_channels=5,
    hidden_channels=4,
    out_channels=8,
    head_channels=7,
    d_token=24,
    n_mix_layers=1,
    n_pool_layers=1,
    n_attention_heads=2,
    n_tokens=5,
)


@st.composite
def configs(draw: Any, norm: str | None = "any") -> TargetConfig:
    """Any shape; widths from 3, because the ones direction is one of them."""
    kinds = [None, "LN", "LNPre", "RMS", "RMSPre"] if norm == "any" else [norm]
    return TargetConfig(
        d_model=draw(st.integers(3, 12)),
        n_layers=draw(st.integers(1, 3)),
        n_heads=draw(st.integers(1, 3)),
        d_head=draw(st.integers(1, 5)),
        d_mlp=draw(st.integers(1, 9)),
        n_ctx=draw(st.integers(2, 7)),
        d_vocab=draw(st.integers(3, 7)),
        d_vocab_out=draw(st.integers(2, 6)),
        act_fn=draw(st.sampled_from(["relu", "gelu"])),
        normalization_type=draw(st.sampled_from(kinds)),
        attention_dir=draw(st.sampled_from(["bidirectional", "causal"])),
    )


def random_weights(config: TargetConfig, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Weights of size 0.5 with norm gains around one."""
    rng = torch.Generator().manual_seed(seed)
    out = {n: 0.5 * torch.randn(s, generator=rng, dtype=torch.float64) for n, s in shapes(config).items()}
    return {n: (1 + 0.3 * t if n.endswith(".w") else t).to(dtype) for n, t in out.items()}


def label_ids(config: TargetConfig) -> LabelIds:
    """One name a label, all different."""

    def names(first: int, n: int) -> torch.Tensor:
        return torch.stack([torch.arange(first, first + n), *[torch.zeros(n, dtype=torch.long)] * 3], 1)

    return LabelIds(names(1, config.d_vocab), names(20, config.n_ctx), names(40, config.d_vocab_out))


def random_encoder(
    dtype: torch.dtype = torch.float64, kind: Callable[[EncoderConfig, int], Encoder] = WeightEncoder
) -> tuple[Encoder, torch.Tensor]:
    """A small encoder with random weights and a table of embedding rows."""
    torch.manual_seed(0)
    encoder = kind(SMALL, D_LLM).to(dtype)
    return encoder, torch.randn(TABLE_ROWS, D_LLM, generator=torch.Generator().manual_seed(1)).to(dtype)


def tiny_reader(texts: list[str]) -> Reader:
    """A random reader with a tokenizer trained on a few texts."""
    tokenizer = train_tokenizer(texts, 320)
    config = BaseConfig(out=Path("unused"), d_model=D_LLM, n_layers=2, n_heads=2, d_mlp=48)
    return Reader(new_model(config, len(tokenizer)).eval(), tokenizer)
