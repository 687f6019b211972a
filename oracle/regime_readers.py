"""What different readers see of a target's weights, as one row of numbers each, for simple read-outs to learn from.

shape        sizes alone: what anyone can tell without looking at a weight
statistics   seven numbers of each tensor (Unterthiner et al. 2020), in a random gauge of the target's own
new encoder  the main encoder with random weights, its weight tokens pooled
encoder      the encoder of the decoder that ships, its weight tokens pooled
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from oracle.attention import present
from oracle.config import EncoderConfig
from oracle.decoder import DecoderConfig, WeightDecoder
from oracle.decompiler import Decompiler, new_decoder, read_batch
from oracle.precision import quick_products
from zoo.target import Target

READERS = ("shape", "statistics", "new encoder", "encoder")
BATCH = 16
"""Targets encoded at once."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of a tensor's entries, beside their mean and variance: the seven statistics."""


def views_of(targets: Sequence[Target], seed: int) -> dict[str, Float[np.ndarray, "target feature"]]:
    """What each reader sees of some targets, which are taken as they are: put them in random gauges first."""
    shipped = Decompiler.from_pretrained()
    torch.manual_seed(seed)
    sizes = EncoderConfig(**shipped.facts["weights"]), DecoderConfig(**shipped.facts["decoder"])
    fresh = new_decoder(shipped.facts["encoder"], *sizes).eval()
    return {
        "shape": np.array([_shape(target) for target in targets]),
        "statistics": _aligned([_statistics(target) for target in targets]),
        "new encoder": _pooled(fresh, targets, "new encoder"),
        "encoder": _pooled(shipped.decoder, targets, "encoder"),
    }


def _shape(target: Target) -> list[float]:
    c = target.config
    sizes = [c.d_model, c.n_layers, c.n_heads, c.d_head, c.d_mlp, c.d_vocab, c.d_vocab_out, c.n_ctx]
    return [*map(float, sizes), float(target.n_parameters), float(c.normalize_states)]


def _statistics(target: Target) -> dict[str, list[float]]:
    out = {}
    for name, tensor in target.weights.items():
        values = tensor.double().flatten().numpy()
        out[name] = [values.mean(), values.var(), *np.quantile(values, QUANTILES)]
    return out


def _aligned(rows: Sequence[dict[str, list[float]]]) -> Float[np.ndarray, "target feature"]:
    """One column a tensor and statistic; tensors that a target lacks are zero."""
    names = sorted({name for row in rows for name in row})
    empty = [0.0] * (2 + len(QUANTILES))
    return np.array([[value for name in names for value in row.get(name, empty)] for row in rows])


@torch.no_grad()
def _pooled(decoder: WeightDecoder, targets: Sequence[Target], label: str) -> Float[np.ndarray, "target feature"]:
    """Mean, standard deviation and maximum of each target's weight tokens."""
    order = sorted(range(len(targets)), key=lambda i: targets[i].n_parameters)
    rows: dict[int, np.ndarray] = {}
    for chunk in _chunks(order, label):
        with quick_products():
            tokens = decoder.encoder(read_batch(decoder.codec, [targets[i] for i in chunk]), decoder.table)
        held = present(tokens)[..., None]
        count = held.sum(1)
        mean = (tokens * held).sum(1) / count
        spread = (((tokens - mean[:, None]) * held).square().sum(1) / count).sqrt()
        top = tokens.masked_fill(~held.bool(), -torch.inf).amax(1)
        for i, row in zip(chunk, torch.cat([mean, spread, top], 1).double().numpy(), strict=True):
            rows[i] = row
    return np.stack([rows[i] for i in range(len(targets))])


def _chunks(order: Sequence[int], label: str) -> Iterator[Sequence[int]]:
    for start in tqdm(range(0, len(order), BATCH), desc=label, leave=False, disable=None):
        yield order[start : start + BATCH]
