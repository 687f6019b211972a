"""Stacked training: many flowcharts learned at once, each by its own small transformer from its own seed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig
from zoo.flowchart import Flowchart
from zoo.lessons import Lessons, make_lessons
from zoo.stack import Params, codes, forward_codes, initial_params
from zoo.train_record import CURVE_POINTS, TrainRecord
from zoo.training_config import TrainConfig

DATA, EVALUATION = 1, 2
"""Streams of a target's seed, beside 0 for its initial weights."""


@dataclass(frozen=True)
class TrainedStack:
    """A stack after training."""

    params: Params
    records: tuple[TrainRecord, ...]
    seconds: float
    """Wall time of the whole stack, further tries included."""


def train_stack(
    config: TargetConfig, charts: Sequence[Flowchart], seeds: Sequence[int], train: TrainConfig
) -> TrainedStack:
    """Train one model a flowchart; models share nothing but the clock. All flowcharts have one vocabulary and length.

    A model's initial weights and its data depend on its own seed only, so it is the model that a lone run gives, up to
    the rounding of the batched products. Those that miss the accuracy asked for are treated as `train.on_miss` says.
    """
    stack = _train_once(config, charts, seeds, train)
    if train.on_miss == "keep":
        return stack
    for again in range(1, train.retries + 1) if train.on_miss == "retry" else ():
        missing = [i for i, record in enumerate(stack.records) if record.misses(train)]
        if not missing:
            break
        other_seeds = [retry_seed(seeds[i], again) for i in missing]
        other = _train_once(config, [charts[i] for i in missing], other_seeds, train)
        stack = _best(stack, other, missing, train)
    return replace(stack, records=tuple(replace(record, missed=record.misses(train)) for record in stack.records))


def retry_seed(seed: int, again: int) -> int:
    """The seed of a target's `again`-th further try: 63 bits."""
    digest = hashlib.sha256(f"{seed}:retry:{again}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _train_once(
    config: TargetConfig, charts: Sequence[Flowchart], seeds: Sequence[int], train: TrainConfig
) -> TrainedStack:
    """Train every model from its seed."""
    began = time.perf_counter()
    lessons = make_lessons(charts, seeds, DATA)
    params = initial_params(config, list(seeds))
    with full_precision():
        losses = _fit(config, params, lessons, seeds, train)
        fresh = make_lessons(charts, seeds, EVALUATION) if lessons.has_own else lessons
        records = _evaluate(config, params, fresh, seeds, train, losses)
    seconds = time.perf_counter() - began
    return TrainedStack(params, tuple(replace(r, seconds=seconds / len(records)) for r in records), seconds)


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


@contextmanager
def full_precision() -> Iterator[None]:
    """Products in full float32, whatever the process has set: the same seed must give the same bytes."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _fit(
    config: TargetConfig, params: Params, lessons: Lessons, seeds: Sequence[int], train: TrainConfig
) -> Float[Tensor, "step model"]:
    """Train `params` in place and return the losses."""
    even = round(train.batch * train.balanced)
    draws = _drawn(lessons, seeds, DATA, train.steps, train.batch - even, even)
    inputs, answers = _codes(lessons), torch.from_numpy(lessons.answers)
    for tensor in params.values():
        tensor.requires_grad_()
    optimizer = torch.optim.AdamW(
        list(params.values()), lr=train.lr, betas=(0.9, train.beta2), weight_decay=train.weight_decay, fused=True
    )
    curve = torch.zeros(train.steps, len(lessons.each))
    for step in range(train.steps):
        index = torch.from_numpy(draws[step])
        logits = forward_codes(config, params, inputs[lessons.place(index)])
        losses = functional.cross_entropy(logits.flatten(0, 1), answers.gather(1, index).flatten(), reduction="none")
        each = losses.view(len(lessons.each), -1).mean(1)
        curve[step] = each.detach()
        for group in optimizer.param_groups:
            group["lr"] = train.lr * min(1.0, (step + 1) / max(1, train.warmup)) * (1 - step / train.steps)
        optimizer.zero_grad(set_to_none=True)
        each.sum().backward()
        optimizer.step()
    for tensor in params.values():
        tensor.requires_grad_(False)
    return curve


def _evaluate(
    config: TargetConfig,
    params: Params,
    lessons: Lessons,
    seeds: Sequence[int],
    train: TrainConfig,
    losses: Float[Tensor, "step model"],
) -> tuple[TrainRecord, ...]:
    """Accuracy on random inputs, and by branch on inputs drawn evenly over branches."""
    n = train.eval_inputs
    drawn = _drawn(lessons, seeds, EVALUATION, 1, n, n // 2)[0]
    with torch.no_grad():
        inputs = _codes(lessons)[lessons.place(torch.from_numpy(drawn))]
        said = forward_codes(config, params, inputs).argmax(-1).numpy()
    records = []
    for i, lesson in enumerate(lessons.each):
        right = said[i] == lesson.answers[drawn[i]]
        branch = lesson.branch[drawn[i, n:]]
        hits = np.bincount(branch, weights=right[n:], minlength=len(lesson.counts))
        shares = hits / np.maximum(1, np.bincount(branch, minlength=len(lesson.counts)))
        records.append(
            TrainRecord(
                steps=train.steps,
                loss=float(losses[-1, i]),
                accuracy=float(right[:n].mean()),
                branch_accuracy=tuple(float(share) for share in shares),
                loss_curve=tuple(
                    float(part.mean()) for part in losses[:, i].tensor_split(min(CURVE_POINTS, train.steps))
                ),
                seconds=0.0,
            )
        )
    return tuple(records)


def _codes(lessons: Lessons) -> Int[Tensor, "input pos"]:
    """The inputs as the stack reads them."""
    return codes(torch.from_numpy(lessons.inputs), lessons.vocab_size)


def _drawn(
    lessons: Lessons, seeds: Sequence[int], stream: int, rows: int, uniform: int, even: int
) -> Int[np.ndarray, "row model draw"]:
    """What each model draws of its own lesson, from its own seed."""
    rngs = [np.random.Generator(np.random.PCG64([seed, stream])) for seed in seeds]
    return np.stack([lesson.draw(r, rows, uniform, even) for lesson, r in zip(lessons.each, rngs, strict=True)], 1)
