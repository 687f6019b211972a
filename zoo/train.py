"""Stacked training: many flowcharts learned at once, each by its own small transformer from its own seed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from tracr_tasks.transformer import TargetConfig
from zoo.fit import Fitted, fit, lesson_codes, repeatable
from zoo.flowchart import Flowchart
from zoo.lessons import Lessons, make_lessons
from zoo.stack import Params, forward_codes, initial_params, training_flops
from zoo.train_record import CURVE_POINTS, TrainRecord
from zoo.training_config import TrainConfig

DATA, EVALUATION, CUT = 1, 2, 3
"""Streams of a target's seed, beside 0 for its initial weights."""
STEP_FLOPS = 6e9
"""Most operations of one step of a stack: one thread trains no faster in larger ones, and they need more memory. A
model that alone has so many is trained alone."""


@dataclass(frozen=True)
class TrainedStack:
    """A stack after training."""

    params: Params
    records: tuple[TrainRecord, ...]
    seconds: float
    """Wall time of the whole stack, further tries included."""


def train_stack(
    config: TargetConfig,
    charts: Sequence[Flowchart],
    seeds: Sequence[int],
    train: TrainConfig,
    device: str | torch.device = "cpu",
) -> TrainedStack:
    """Train one model a flowchart; models share nothing but the clock. All flowcharts have one vocabulary and length.

    A model's initial weights and its data depend on its own seed only, so it is the model that a lone run gives, up to
    the rounding of the batched products. Those that miss the accuracy asked for are treated as `train.on_miss` says.
    """
    device = torch.device(device)
    size = max(1, int(STEP_FLOPS / training_flops(config, 1, train.batch)))
    cuts = [slice(start, start + size) for start in range(0, len(charts), size)]
    stack = _joined([_train_once(config, charts[cut], seeds[cut], train, device) for cut in cuts])
    if train.on_miss == "keep":
        return stack
    for again in range(1, train.retries + 1) if train.on_miss == "retry" else ():
        missing = [i for i, record in enumerate(stack.records) if record.misses(train)]
        if not missing:
            break
        other_seeds = [retry_seed(seeds[i], again) for i in missing]
        other = _train_once(config, [charts[i] for i in missing], other_seeds, train, device)
        stack = _best(stack, other, missing, train)
    return replace(stack, records=tuple(replace(record, missed=record.misses(train)) for record in stack.records))


def retry_seed(seed: int, again: int) -> int:
    """The seed of a target's `again`-th further try: 63 bits."""
    digest = hashlib.sha256(f"{seed}:retry:{again}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _train_once(
    config: TargetConfig, charts: Sequence[Flowchart], seeds: Sequence[int], train: TrainConfig, device: torch.device
) -> TrainedStack:
    """Train every model from its seed."""
    began = time.perf_counter()
    lessons = make_lessons(charts, seeds, DATA)
    params = {name: tensor.to(device) for name, tensor in initial_params(config, list(seeds)).items()}
    even = round(train.batch * train.balanced)
    draws = _drawn(lessons, seeds, DATA, train.steps, train.batch - even, even)
    with repeatable(device):
        fitted = fit(config, params, lessons, draws, last_steps(seeds, train), train)
        fresh = make_lessons(charts, seeds, EVALUATION) if lessons.has_own else lessons
        records = _evaluate(config, fitted, fresh, seeds, train)
    seconds = time.perf_counter() - began
    params = {name: tensor.cpu() for name, tensor in fitted.params.items()}
    return TrainedStack(params, tuple(replace(r, seconds=seconds / len(records)) for r in records), seconds)


def _joined(stacks: Sequence[TrainedStack]) -> TrainedStack:
    """One stack after another as one."""
    params = {name: torch.cat([stack.params[name] for stack in stacks]) for name in stacks[0].params}
    records = tuple(record for stack in stacks for record in stack.records)
    return TrainedStack(params, records, sum(stack.seconds for stack in stacks))


def last_steps(seeds: Sequence[int], train: TrainConfig) -> Int[np.ndarray, " model"]:
    """The step that each model ends with: `train.steps`, or if it is one of those that are cut, any up to that."""
    rngs = [np.random.Generator(np.random.PCG64([seed, CUT])) for seed in seeds]
    cut = [int(rng.integers(1, train.steps + 1)) if rng.random() < train.cut else train.steps for rng in rngs]
    return np.array(cut)


def _best(stack: TrainedStack, other: TrainedStack, members: Sequence[int], train: TrainConfig) -> TrainedStack:
    """A stack with one more try of some of its members: the better one of each is kept."""
    params, records = {name: tensor.clone() for name, tensor in stack.params.items()}, list(stack.records)
    for j, i in enumerate(members):
        old, new = records[i], other.records[j]
        tries, seconds = old.tries + 1, old.seconds + new.seconds
        if new.better_than(old, train):
            old = replace(new, kept=tries)
            for name, tensor in params.items():
                tensor[i] = other.params[name][j]
        records[i] = replace(old, tries=tries, seconds=seconds)
    return TrainedStack(params, tuple(records), stack.seconds + other.seconds)


def _evaluate(
    config: TargetConfig, fitted: Fitted, lessons: Lessons, seeds: Sequence[int], train: TrainConfig
) -> tuple[TrainRecord, ...]:
    """Accuracy on random inputs, and by branch on inputs drawn evenly over branches."""
    n = train.eval_inputs
    drawn = _drawn(lessons, seeds, EVALUATION, 1, n, n // 2)[0]
    with torch.no_grad():
        inputs = lesson_codes(lessons)[lessons.place(torch.from_numpy(drawn))]
        said = (
            forward_codes(config, fitted.params, inputs.to(fitted.params["embed.W_E"].device)).argmax(-1).cpu().numpy()
        )
    records = []
    for i, (lesson, losses) in enumerate(zip(lessons.each, fitted.losses, strict=True)):
        right = said[i] == lesson.answers[drawn[i]]
        branch = lesson.branch[drawn[i, n:]]
        hits = np.bincount(branch, weights=right[n:], minlength=len(lesson.counts))
        shares = hits / np.maximum(1, np.bincount(branch, minlength=len(lesson.counts)))
        records.append(
            TrainRecord(
                steps=len(losses),
                loss=float(losses[-1]),
                accuracy=float(right[:n].mean()),
                branch_accuracy=tuple(float(share) for share in shares),
                loss_curve=tuple(float(part.mean()) for part in losses.tensor_split(min(CURVE_POINTS, len(losses)))),
                seconds=0.0,
            )
        )
    return tuple(records)


def _drawn(
    lessons: Lessons, seeds: Sequence[int], stream: int, rows: int, uniform: int, even: int
) -> Int[np.ndarray, "row model draw"]:
    """What each model draws of its own lesson, from its own seed."""
    rngs = [np.random.Generator(np.random.PCG64([seed, stream])) for seed in seeds]
    return np.stack([lesson.draw(r, rows, uniform, even) for lesson, r in zip(lessons.each, rngs, strict=True)], 1)
