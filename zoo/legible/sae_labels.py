"""What a sparse autoencoder finds in a network's last state, beside the same network re-randomised, as labels."""

from __future__ import annotations

import math

import numpy as np
import torch

from tracr_tasks.transformer import TargetConfig
from zoo.legible.autoencoders import AutoencoderConfig, train_autoencoder
from zoo.legible.coverage import coverage
from zoo.legible.network import run
from zoo.legible.rerandomise import rerandomised
from zoo.legible.sae_metrics import ENTROPY, cross_entropy_recovered, reconstruction_metrics, token_entropy
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


@torch.no_grad()
def _last_state(config: TargetConfig, params: Params, task: Task) -> torch.Tensor:
    return run(config, params, torch.from_numpy(task.ids)[None]).states[-1][0]


def _measured(config: TargetConfig, params: Params, task: Task, seed: int) -> dict[str, float]:
    """Latents are chosen on the inputs trained on, all else is of the others."""
    order = np.random.Generator(np.random.PCG64([seed, STREAM])).permutation(len(task.ids))
    seen, test = order[: len(order) // 2], order[len(order) // 2 :]
    state = _last_state(config, params, task)
    points = {half: state[rows][:, 1:].flatten(0, 1) for half, rows in (("seen", seen), ("test", test))}
    autoencoder = train_autoencoder(points["seen"], OPTIONS, seed)
    chosen, tested = (autoencoder.encode(points[half]) for half in ("seen", "test"))
    found = reconstruction_metrics(autoencoder, points["test"], tested)
    found[ENTROPY] = token_entropy(tested, task.ids[test][:, 1:].ravel())
    answers = torch.from_numpy(task.answers[test])
    found["ce_recovered"] = cross_entropy_recovered(config, params, config.n_layers, autoencoder, state[test], answers)
    covered = {
        concept.name: coverage(chosen, concept.codes[seen][:, 1:].ravel(), tested, concept.codes[test][:, 1:].ravel())
        for concept in task.concepts
    }
    for group, computed in (("input", False), ("computed", True)):
        found[f"coverage_{group}"] = float(np.mean([covered[c.name] for c in task.concepts if c.computed == computed]))
    return found


def _rounded(values: dict[str, float]) -> Found:
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()}
