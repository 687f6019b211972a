"""The usual metrics of a sparse autoencoder, and the token entropy of its latents.

Source: Heap et al. 2025 (arXiv 2501.17727v2), section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.transformer import TargetConfig
from zoo.legible.autoencoders import Autoencoder, Latents, Points
from zoo.legible.network import run_from
from zoo.legible.trainer import task_loss
from zoo.stack import Params

LEAST_GAP = 0.1
"""Nats by which zeroing a state must raise the cross-entropy for the recovered share to mean something."""
USUAL = ("explained_variance", "cosine", "l0", "l1", "dead", "ce_recovered")
"""Names of the usual metrics."""
ENTROPY = "token_entropy"


def reconstruction_metrics(autoencoder: Autoencoder, points: Points, latents: Latents) -> dict[str, float]:
    """Of an autoencoder on points it was not trained on.

    explained_variance: 1 - sum |x - x'|^2 / sum |x - mean|^2. cosine: mean of cos(x, x'). l0: mean number of latents
    that fire. l1: mean sum of the latents, in units of the points' root mean square entry. dead: share of latents that
    never fire.
    """
    rebuilt = autoencoder.decode(latents)
    residual, spread = (points - rebuilt).square().sum(), (points - points.mean(0)).square().sum()
    fires = latents > 0
    return {
        "explained_variance": float(1 - residual / spread),
        "cosine": float(torch.nn.functional.cosine_similarity(points, rebuilt, dim=-1).mean()),
        "l0": float(fires.sum(1).float().mean()),
        "l1": float(latents.sum(1).mean()),
        "dead": float(1 - fires.any(0).float().mean()),
    }


def token_entropy(latents: Latents, tokens: Int[np.ndarray, " point"]) -> float:
    """Mean over live latents of H_j = -sum_v p_jv log p_jv, in nats; NaN if none is live.

    p_jv is the share of latent j's total activation that falls on token v: 0 for a latent of one token, log of the
    vocabulary's size for one that takes no notice of tokens. The source takes its maximally activating examples; here
    all points count.
    """
    values, codes = np.unique(tokens, return_inverse=True)
    at_token = torch.nn.functional.one_hot(torch.from_numpy(codes), len(values)).to(latents.dtype)
    mass = latents.T @ at_token
    mass = mass[mass.sum(1) > 0]
    shares = mass / mass.sum(1, keepdim=True)
    return float(-torch.xlogy(shares, shares).sum(1).mean())


@torch.no_grad()
def cross_entropy_recovered(
    config: TargetConfig,
    params: Params,
    number: int,
    autoencoder: Autoencoder,
    state: Float[Tensor, "input pos d_model"],
    answers: Int[Tensor, "input pos"],
) -> float:
    """(CE_zero - CE_sae) / (CE_zero - CE_model): the share of the loss that the reconstruction saves.

    The reconstruction, or zeros, stand in for state `number` at all positions after BOS; CE is the mean cross-entropy
    of the asked answers. NaN where CE_zero - CE_model is under `LEAST_GAP`: an untrained network has nothing to lose.

    Args:
        params: one network, as a stack of one.
        state: its state at that number, BOS first.
    """
    rebuilt, zero = state.clone(), state.clone()
    points = state[:, 1:].flatten(0, 1)
    rebuilt[:, 1:] = autoencoder.decode(autoencoder.encode(points)).view(state[:, 1:].shape)
    zero[:, 1:] = 0
    losses = [
        float(task_loss(run_from(config, params, number, each[None]), answers[None])[0])
        for each in (state, rebuilt, zero)
    ]
    model, sae, nothing = losses
    return (nothing - sae) / (nothing - model) if nothing - model >= LEAST_GAP else float("nan")
