"""A direction taken out of a residual state: what accuracy goes where a concept holds, and what goes elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig
from zoo.legible.network import run_from
from zoo.legible.tasks import UNASKED, Task
from zoo.stack import Params


@dataclass(frozen=True)
class Removal:
    """Accuracy before minus accuracy after, as shares of the asked answers."""

    on: float
    """Where the concept holds."""
    elsewhere: float


def without(state: Float[Tensor, "*place d_model"], axis: Float[Tensor, " d_model"]) -> Float[Tensor, "*place d_model"]:
    """norm(h - max(0, h.v) v): what points along v goes, the length stays (arXiv 2512.12469, section 4)."""
    along = (state @ axis).clamp(min=0)
    return functional.normalize(state - along[..., None] * axis, dim=-1) * state.norm(dim=-1, keepdim=True)


@torch.no_grad()
def accuracy_lost(
    config: TargetConfig,
    params: Params,
    task: Task,
    holds: Bool[np.ndarray, "input pos"],
    number: int,
    state: Float[Tensor, "input pos d_model"],
    axes: Mapping[str, Float[np.ndarray, " d_model"]],
) -> dict[str, Removal]:
    """What a network loses on all inputs of its task without each of some directions at one state.

    Args:
        params: a stack of one network.
        holds: where the concept does; `concerned` says which answers that makes its own.
        number: of the state, at every position of which the direction is removed.
        state: as the network has it on all inputs.
    """
    on, asked = concerned(task, holds), task.answers != UNASKED
    before, out = _right(config, params, task, number, state).astype(float), {}
    for name, axis in axes.items():
        lost = before - _right(config, params, task, number, without(state, torch.from_numpy(axis).to(state)))
        out[name] = Removal(_mean(lost[on & asked]), _mean(lost[~on & asked]))
    return out


def concerned(task: Task, holds: Bool[np.ndarray, "input pos"]) -> Bool[np.ndarray, "input pos"]:
    """The answers that are a concept's own: at its positions, or where nothing is ever asked there, all of an input."""
    if np.any(holds[task.answers != UNASKED]):
        return holds
    return np.repeat(np.any(holds, axis=1, keepdims=True), holds.shape[1], axis=1)


def _right(
    config: TargetConfig, params: Params, task: Task, number: int, state: Float[Tensor, "input pos d_model"]
) -> Bool[np.ndarray, "input pos"]:
    """Which answers are right where a state is as given."""
    said = run_from(config, params, number, state[None]).argmax(-1)[0].numpy()
    return np.asarray(said == task.answers)


def _mean(values: Float[np.ndarray, " answer"]) -> float:
    """NaN where there are none."""
    return float(values.mean()) if len(values) else float("nan")
