"""Everything that is measured of one autoencoder at one residual state of a network."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.transformer import TargetConfig
from zoo.legible.autoencoders import Autoencoder, Points
from zoo.legible.coverage import coverage
from zoo.legible.sae_metrics import ENTROPY, cross_entropy_recovered, reconstruction_metrics, token_entropy
from zoo.legible.tasks import Task
from zoo.stack import Params

Place = Float[Tensor, "input pos d_model"]
Inputs = Int[np.ndarray, " some"]


def points_of(state: Place, inputs: Inputs) -> Points:
    """A state after BOS on some inputs."""
    return state[inputs][:, 1:].flatten(0, 1)


def findings(
    config: TargetConfig,
    params: Params | None,
    task: Task,
    number: int,
    state: Place,
    autoencoder: Autoencoder,
    choose: Inputs,
    test: Int[np.ndarray, " others"],
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics by name, NaN where one is not defined, and the coverage of each concept of the task.

    Args:
        params: a stack of one network; None where the state is of none, and no cross-entropy can be recovered.
        number: of the state.
        state: on all inputs of the task, BOS first.
        choose: inputs that the best latent of a value is chosen on.
        test: inputs that all else is measured on.
    """
    chosen, points = autoencoder.encode(points_of(state, choose)), points_of(state, test)
    tested = autoencoder.encode(points)
    found = reconstruction_metrics(autoencoder, points, tested)
    found[ENTROPY] = token_entropy(tested, task.ids[test][:, 1:].ravel())
    found["ce_recovered"] = float("nan")
    if params is not None:
        answers = torch.from_numpy(task.answers[test])
        found["ce_recovered"] = cross_entropy_recovered(config, params, number, autoencoder, state[test], answers)
    covered = {
        concept.name: coverage(chosen, concept.codes[choose][:, 1:].ravel(), tested, concept.codes[test][:, 1:].ravel())
        for concept in task.concepts
    }
    return found, covered


def by_group(task: Task, covered: dict[str, float]) -> dict[str, float]:
    """Mean coverage of the input and of the computed concepts."""
    return {
        f"coverage_{group}": float(np.mean([covered[c.name] for c in task.concepts if c.computed == computed]))
        for group, computed in (("input", False), ("computed", True))
    }
