"""Targets to and from `transformer_lens.HookedTransformer` objects (the extra `lens`: transformer_lens before 4.0).

A HookedTransformer gives logits at every position. What it does not know stays on our side: that the answer of some
targets is read at BOS (`logits[:, 0]`), that an output is a number, which token is PAD (run it on sequences of one
length, or give it an attention mask), and that tokens 0 and 1 are BOS and PAD. Bidirectional attention it has, as
attention_dir. Layers of different sizes, or of none, are first made alike by heads and neurons that do nothing.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig
from zoo.padding import pad_layers
from zoo.readers.fields import Fields
from zoo.readers.transformer_lens import (
    BUFFERS,
    attention_only,
    config_fields,
    state_dict_layout,
    stored_name,
)
from zoo.target import Target, Vocab
from zoo.target_files import config_from_json

ABSENT = ("read_out", "output", "pad_token", "tie_word_embeddings", "attn_scale", "normalize_states")
"""Fields of ours that a HookedTransformerConfig has not, or not in our sense."""


def to_hooked(target: Target) -> Any:
    """A HookedTransformer on the CPU with the target's function and float32 copies of its weights.

    Raises:
        TargetError: no positions at all, biases on a gated MLP's neurons, or normalised residual states:
            TransformerLens has none of them.
        ImportError: transformer_lens is not installed, or is 4.0 or later, which has no HookedTransformer.
    """
    config, weights = target.config, dict(target.weights)
    if config.positional_embedding_type == "none":
        raise TargetError("positional_embedding_type = 'none', expected standard or rotary for TransformerLens")
    if config.normalize_states:
        raise TargetError("normalize_states = True, expected False: TransformerLens cannot normalise residual states")
    if config.gated_mlp and any(weights[n].any() for n in weights if n.endswith(("mlp.b_in", "mlp.b_gate"))):
        raise TargetError("a gated MLP with b_in or b_gate, expected none for TransformerLens")
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # type: ignore[import-not-found,unused-ignore]

    config, weights = pad_layers(config, weights)
    fields = {n: v for n, v in asdict(config).items() if n not in ABSENT and not n.endswith("_bias")}
    scale = -1.0 if config.attn_scale is None else config.attn_scale
    model = HookedTransformer(HookedTransformerConfig(**fields, attn_scale=scale, device="cpu", init_weights=False))
    if config.tie_word_embeddings:
        weights["unembed.W_U"] = weights["embed.W_E"].T
    state = {stored_name(config, name): tensor.float() for name, tensor in weights.items() if "b_gate" not in name}
    kept = {name: tensor for name, tensor in model.state_dict().items() if re.fullmatch(BUFFERS, name)}
    biases = {
        name: torch.zeros_like(t) for name, t in model.state_dict().items() if re.search(r"\._?b_[A-Za-z]+$", name)
    }
    model.load_state_dict(biases | kept | state)
    return model


def from_hooked(
    model: Any,
    vocab: Vocab | None = None,
    *,
    read_out: Literal["all", "first", "last"] = "all",
    output: Literal["categorical", "numerical"] = "categorical",
    pad_token: int | None = None,
    default_prepend_bos: bool = False,
) -> Target:
    """A HookedTransformer as a target, with float32 copies of its weights; without `vocab` ids name the tokens.

    The keywords are the fields of `TargetConfig` that a HookedTransformer does not know.

    Raises:
        TargetError: a field of its config that is not supported.
    """
    values = {name: v.item() if hasattr(v, "item") else v for name, v in model.cfg.to_dict().items()}
    fields = Fields(values, Path("HookedTransformer.cfg"))
    config = config_from_json(config_fields(fields), fields.path)
    stored = {name: t for name, t in model.state_dict().items() if not re.fullmatch(BUFFERS, name)}

    def read(name: str, *shape: int) -> Tensor:
        return stored[name].detach().to("cpu", torch.float32, copy=True).reshape(shape)

    layout = attention_only(config) if model.cfg.attn_only else state_dict_layout(config)
    weights = layout.embedding(read, config) | layout.unembedding(read, config)
    for layer in range(config.n_layers):
        weights |= layout.block(read, config, layer)
    config = replace(
        config, read_out=read_out, output=output, pad_token=pad_token, default_prepend_bos=default_prepend_bos
    )
    return Target(config, weights, vocab or _ids(config))


def _ids(config: TargetConfig) -> Vocab:
    return Vocab(*(tuple(str(i) for i in range(n)) for n in (config.d_vocab, config.d_vocab_out)))
