"""Networks with the first two moments of others and none of their structure: every entry is drawn anew.

Source: the re-randomised variants of Heap et al. 2025, "Sparse autoencoders can interpret randomly initialized
transformers", section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.stack import Params

STREAM = 4
"""Of a network's seed that its draws come from, beside 0 for initial weights and 1 for data."""
EMBEDDINGS = ("embed.W_E", "pos_embed.W_pos")
"""Tensors that may be kept."""


def rerandomised(config: TargetConfig, params: Params, seeds: Sequence[int], embeddings: bool) -> Params:
    """Each network with every tensor's entries drawn from a normal with that tensor's own mean and variance.

    Biases and gains are drawn like matrices; a tensor whose entries are all alike stays, and so does the PAD row, which
    no input uses. A network's draws come from its own seed alone, and are the same with and without the embeddings.

    Args:
        embeddings: whether W_E and W_pos are drawn anew too, or kept.

    Raises:
        InputError: not one seed a network.
    """
    n_models = len(params["embed.W_E"])
    if len(seeds) != n_models:
        raise InputError(f"{len(seeds)} seeds for {n_models} networks: expected one a network")
    rngs = [np.random.Generator(np.random.PCG64([seed, STREAM])) for seed in seeds]
    out: Params = {}
    for name, tensor in params.items():
        used = _used(config, name, tensor.shape[1])
        values = tensor.detach().double().numpy()
        drawn = values.copy()
        for i, rng in enumerate(rngs):
            noise = rng.standard_normal(drawn[i][used].shape)
            drawn[i][used] = values[i][used].mean() + values[i][used].std() * noise
        kept = name in EMBEDDINGS and not embeddings
        out[name] = tensor.detach().clone() if kept else torch.from_numpy(drawn).to(tensor.dtype)
    return out


def _used(config: TargetConfig, name: str, rows: int) -> np.ndarray:
    """Which rows of a tensor inputs can reach."""
    used = np.ones(rows, dtype=bool)
    if name == "embed.W_E" and config.pad_token is not None:
        used[config.pad_token] = False
    return used
