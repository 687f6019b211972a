"""Many networks trained at once on tasks of their own, with learning rates an entry and penalties on their states.

A network's data depends on its own seed only, so it is the network that a lone run gives, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig
from zoo.fit import repeatable
from zoo.legible.network import Trace, run
from zoo.legible.tasks import UNASKED, Task
from zoo.legible.training_options import WINDOW
from zoo.legible.training_options import NetworkTraining as NetworkTraining
from zoo.stack import Params

DATA = 1
"""Stream of a network's seed that its batches come from, beside 0 for its initial weights."""
GOAL = 0.9
"""Accuracy whose first step is recorded."""
UNTRAINED = ".b_K"
"""Ends the names of tensors that stay as they are: softmax takes no notice of b_K, its gradient is rounding alone."""


@dataclass(frozen=True)
class Batch:
    """What a stack sees in one step."""

    step: int
    """From 1."""
    rows: Int[np.ndarray, "model batch"]
    """Places in each network's task."""
    ids: Int[Tensor, "model batch pos"]
    answers: Int[Tensor, "model batch pos"]
    """`UNASKED` where nothing is asked."""


Penalty = Callable[[Trace, Batch], Float[Tensor, " model"]]
"""Added to each network's loss; networks must not mix in it."""
Restraint = Callable[[Params], Float[Tensor, " model"]]
"""A penalty on weights."""
Watch = Callable[[int, Params], None]
"""Called with the number of updates done and the stack, which it must not change."""


@dataclass(frozen=True)
class NetworkRecord:
    """How one network's training went."""

    steps: int
    loss: float
    """Of its last batch, penalties aside."""
    accuracy: float
    """Of the asked answers to all inputs of its task, at its end."""
    steps_to_goal: int | None
    """After which the mean accuracy of the last `WINDOW` batches was `GOAL`; None: never."""


@dataclass(frozen=True)
class TrainedNetworks:
    """A stack at its end."""

    params: Params
    records: tuple[NetworkRecord, ...]


def train_networks(
    config: TargetConfig,
    params: Params,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    training: NetworkTraining,
    *,
    rates: Params | None = None,
    penalties: Sequence[Penalty] = (),
    restraints: Sequence[Restraint] = (),
    watch: Watch | None = None,
    watch_at: Sequence[int] = (),
) -> TrainedNetworks:
    """Train network i from `params[name][i]` on `tasks[i]`.

    Args:
        rates: factors of each entry's updates, between 0 (frozen) and 1 (as the rest), shaped like `params`; tensors
            that are left out have 1.
        penalties: on states, added to the loss.
        restraints: on weights, added to the loss.
        watch: is called before the first update and after those of the numbers in `watch_at`.
        watch_at: numbers of updates, 0 included if it is wanted.
    """
    data = _Data(tasks, seeds)
    params = {name: tensor.clone().requires_grad_(not name.endswith(UNTRAINED)) for name, tensor in params.items()}
    out = {name: tensor.detach().clone() for name, tensor in params.items()}
    optimizer = _optimizer(params, training)
    live, tally, losses = np.ones(len(seeds), dtype=bool), _Tally(len(seeds), training), torch.zeros(len(seeds))
    with repeatable(torch.device("cpu")):
        if watch is not None and 0 in watch_at:
            watch(0, _plain(params))
        for batch in data.batches(training):
            trace = run(config, params, batch.ids)
            each = task_loss(trace.logits, batch.answers)
            extra = [penalty(trace, batch) for penalty in penalties] + [restraint(params) for restraint in restraints]
            _step(params, optimizer, sum(extra, start=each), _rate(training, batch.step), rates)
            losses[torch.from_numpy(live)] = each.detach()[torch.from_numpy(live)]
            done = tally.add(batch.step, hit_share(trace.logits, batch.answers))
            if watch is not None and batch.step in watch_at:
                watch(batch.step, _plain(params))
            ending = live & (done | (batch.step == training.steps))
            for name, tensor in params.items():
                out[name][ending] = tensor.detach()[ending]
            live &= ~ending
            if not live.any():
                break
        accuracies = accuracy(config, out, tasks)
    records = tuple(
        NetworkRecord(tally.ends[i], float(losses[i]), float(accuracies[i]), tally.reached[i])
        for i in range(len(seeds))
    )
    return TrainedNetworks(out, records)


def task_loss(
    logits: Float[Tensor, "model batch pos out"], answers: Int[Tensor, "model batch pos"]
) -> Float[Tensor, " model"]:
    """Mean cross-entropy of the asked answers of each network, in nats."""
    asked = answers != UNASKED
    each = functional.cross_entropy(logits.flatten(0, 2), answers.flatten(), ignore_index=UNASKED, reduction="none")
    return each.view(answers.shape).sum((1, 2)) / asked.sum((1, 2)).clamp(min=1)


def hit_share(
    logits: Float[Tensor, "model batch pos out"], answers: Int[Tensor, "model batch pos"]
) -> Float[np.ndarray, " model"]:
    """Share of the asked answers of each network that are right."""
    hits = (logits.argmax(-1) == answers).sum((1, 2))
    return (hits / (answers != UNASKED).sum((1, 2)).clamp(min=1)).detach().double().numpy()


@torch.no_grad()
def accuracy(config: TargetConfig, params: Params, tasks: Sequence[Task], rows: int = 1_024) -> np.ndarray:
    """Share of the asked answers to all inputs of its task that each network gets right."""
    out = []
    for i, task in enumerate(tasks):
        one = {name: tensor[i : i + 1] for name, tensor in params.items()}
        hits = 0
        for start in range(0, len(task.ids), rows):
            ids = torch.from_numpy(task.ids[start : start + rows])[None]
            said = run(config, one, ids).logits.argmax(-1)[0].numpy()
            hits += int((said == task.answers[start : start + rows]).sum())
        out.append(hits / int((task.answers != UNASKED).sum()))
    return np.array(out)


class _Data:
    """Tables of all tasks of a stack, and what each network draws of them."""

    def __init__(self, tasks: Sequence[Task], seeds: Sequence[int]):
        each = list(dict.fromkeys(tasks))  # networks that share a task share its tables
        starts = np.cumsum([0, *(len(task.ids) for task in each)])
        place = {task: i for i, task in enumerate(each)}
        self.sizes = np.array([len(task.ids) for task in tasks])
        self.starts = np.array([starts[place[task]] for task in tasks])
        self.ids = torch.from_numpy(np.concatenate([task.ids for task in each]))
        self.answers = torch.from_numpy(np.concatenate([task.answers for task in each]))
        self.rngs = [np.random.Generator(np.random.PCG64([seed, DATA])) for seed in seeds]

    def batches(self, training: NetworkTraining) -> Iterator[Batch]:
        """One batch a step."""
        for step in range(1, training.steps + 1):
            draws = zip(self.rngs, self.sizes.tolist(), strict=True)
            rows = np.stack([rng.integers(0, size, training.batch) for rng, size in draws])
            index = torch.from_numpy(rows + self.starts[:, None])
            yield Batch(step, rows, self.ids[index], self.answers[index])


class _Tally:
    """Running means of accuracy: who reached the goal, and who is done."""

    def __init__(self, n_models: int, training: NetworkTraining):
        self.window = np.zeros((WINDOW, n_models))
        self.training = training
        self.ends = [training.steps] * n_models
        self.reached: list[int | None] = [None] * n_models
        self.done = np.zeros(n_models, dtype=bool)

    def add(self, step: int, shares: Float[np.ndarray, " model"]) -> np.ndarray:
        """Note a step's accuracies; which networks are done by now."""
        self.window[step % WINDOW] = shares
        mean = self.window.mean(0) if step >= WINDOW else np.zeros(len(shares))
        for i in np.flatnonzero(mean >= GOAL).tolist():
            self.reached[i] = self.reached[i] or step
        for i in np.flatnonzero((mean >= self.training.stop_accuracy) & ~self.done).tolist():
            self.ends[i], self.done[i] = step, True
        return self.done.copy()


def _rate(training: NetworkTraining, step: int) -> float:
    """The step size of an update; `step` counts from 1."""
    return training.lr * min(1.0, step / max(1, training.warmup)) * (1 - (step - 1) / training.steps)


def _optimizer(params: Params, training: NetworkTraining) -> torch.optim.Optimizer:
    tensors = [tensor for tensor in params.values() if tensor.requires_grad]
    if training.optimizer == "sgd":
        return torch.optim.SGD(tensors, lr=training.lr, momentum=0.9, weight_decay=training.weight_decay)
    return torch.optim.AdamW(tensors, lr=training.lr, betas=(0.9, 0.98), weight_decay=training.weight_decay, fused=True)


def _step(
    params: Params, optimizer: torch.optim.Optimizer, loss: Float[Tensor, " model"], lr: float, rates: Params | None
) -> None:
    """One update of every network; where there are rates, that share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.sum().backward()
    before = {name: params[name].detach().clone() for name in rates} if rates else {}
    optimizer.step()
    with torch.no_grad():
        for name, old in before.items():
            assert rates is not None
            params[name].copy_(torch.lerp(old, params[name], rates[name]))


def _plain(params: Params) -> Params:
    return {name: tensor.detach() for name, tensor in params.items()}
