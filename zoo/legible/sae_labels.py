"""What a sparse autoencoder finds in a network's last state, beside the same network re-randomised, as labels."""

from __future__ import annotations

import math

import numpy as np
import torch

from tracr_tasks.transformer import TargetConfig
from zoo.legible.autoencoders import AutoencoderConfig, train_autoencoder
from zoo.legible.network import run
from zoo.legible.rerandomise import rerandomised
from zoo.legible.sae_findings import by_group, findings, points_of
from zoo.legible.tasks import Task
from zoo.stack import Params

STREAM = 13
"""Of a seed: which inputs an autoencoder is trained on, and which it is measured on."""
OPTIONS = AutoencoderConfig(steps=400)
"""TopK, 128 latents of which 8 are active, as in the study."""
Found = dict[str, float | None]


def sae_labels(config: TargetConfig, params: Params, task: Task, seed: int) -> dict[str, Found]:
    """Metrics by name for the network and, under "twin", for the same with every tensor drawn anew.

    "above_twin" has the coverage of input and of computed variables less the twin's. Metrics are of inputs that the
    autoencoder was not trained on; None where one is not defined.

    Args:
        params: a stack of one network.

    Raises:
        InputError: sae-lens is not installed, or the states are all alike.
    """
    twin = rerandomised(config, params, [seed], embeddings=True)
    found, other = (_measured(config, each, task, seed) for each in (params, twin))
    above = {name: found[name] - other[name] for name in ("coverage_input", "coverage_computed")}
    return {name: _rounded(values) for name, values in (("own", found), ("twin", other), ("above_twin", above))}


def _measured(config: TargetConfig, params: Params, task: Task, seed: int) -> dict[str, float]:
    """Of an autoencoder that is trained on one half of the inputs."""
    order = np.random.Generator(np.random.PCG64([seed, STREAM])).permutation(len(task.ids))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    with torch.no_grad():
        state = run(config, params, torch.from_numpy(task.ids)[None]).states[-1][0]
    autoencoder = train_autoencoder(points_of(state, halves[0]), OPTIONS, seed)
    found, covered = findings(config, params, task, config.n_layers, state, autoencoder, *halves)
    return found | by_group(task, covered)


def _rounded(values: dict[str, float]) -> Found:
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()}
