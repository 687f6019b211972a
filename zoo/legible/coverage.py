"""Coverage: how well single latents of an autoencoder stand for the values of a program's variable."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.legible.autoencoders import Latents

QUANTILES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of a latent's positive activations: the thresholds that are tried; 0.0 stands for firing at all."""
LEAST_SHARE = 0.01
"""Values that fewer points have are left out: too few to choose a latent by."""
Codes = Int[np.ndarray, " point"]
Values = Bool[Tensor, "point value"]
Scores = Float[Tensor, "latent value"]


def coverage(
    fit: Latents, fit_codes: Codes, test: Float[Tensor, "other latent"], test_codes: Int[np.ndarray, " other"]
) -> float:
    """Mean over a variable's values of the best single latent's F1 at telling points with that value from the others.

    A latent says "yes" where it is over a threshold. The latent and its threshold, one of ten quantiles of its positive
    activations, are those with the highest F1 on the points of `fit`; their F1 counts on the points of `test`. Chance
    is not 0: a latent that always fires has F1 2p / (1 + p) for a value of share p. Subtract that of a re-randomised
    twin, measured in the same way.

    Args:
        fit_codes: the variable's values, any numbers.
        test_codes: likewise; there must be the same values.

    Returns:
        Between 0 and 1; NaN if no value has `LEAST_SHARE` of the points.
    """
    values, counts = np.unique(fit_codes, return_counts=True)
    values = values[counts >= LEAST_SHARE * len(fit_codes)]
    if not len(values):
        return float("nan")
    thresholds = _thresholds(fit)
    found = torch.stack([f1(fit > line, _is(fit_codes, values)) for line in thresholds])
    best = found.flatten(0, 1).argmax(0)
    line, latent = best // fit.shape[1], best % fit.shape[1]
    said = test[:, latent] > thresholds[line, latent]
    wanted = _is(test_codes, values)
    scores = [f1(said[:, [i]], wanted[:, [i]])[0, 0] for i in range(len(values))]
    return float(torch.stack(scores).mean())


def f1(said: Bool[Tensor, "point latent"], wanted: Values) -> Scores:
    """2 |said and wanted| / (|said| + |wanted|), for every column of `said` against every column of `wanted`."""
    both = said.T.float() @ wanted.float()
    return 2 * both / (said.sum(0)[:, None] + wanted.sum(0)).clamp(min=1)


def _is(codes: Codes, values: Int[np.ndarray, " value"]) -> Values:
    """Whether a point has a value."""
    return torch.from_numpy(codes[:, None] == values)


def _thresholds(latents: Latents) -> Float[Tensor, "quantile latent"]:
    """Of each latent, by `QUANTILES`; zeros for one that never fires."""
    positive = torch.where(latents > 0, latents, float("nan"))
    lines = torch.nanquantile(positive, torch.tensor(QUANTILES, dtype=latents.dtype), dim=0)
    lines[0] = 0
    return lines.nan_to_num(0.0)
