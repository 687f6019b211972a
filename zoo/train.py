"""Stacked training: many flowcharts learned at once, each by its own small transformer from its own seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig
from zoo.conditions import TokenIds
from zoo.flowchart import MAX_EXHAUSTIVE, Flowchart, input_ids
from zoo.stack import Params, codes, forward_codes, initial_params
from zoo.training_config import TrainConfig

DATA, EVALUATION = 1, 2
"""Streams of a target's seed, beside 0 for its initial weights."""


@dataclass(frozen=True)
class TrainRecord:
    """What is known of one trained target."""

    steps: int
    """Updates it had."""
    loss: float
    """Cross-entropy (nats) on its last batch."""
    accuracy: float
    """Share of random inputs on which it gives the flowchart's answer."""
    branch_accuracy: tuple[float, ...]
    """The same by branch, in the order of the text."""

    def to_json(self) -> dict[str, Any]:
        """Rounded, so that the record of one target is one text."""
        fields = asdict(self)
        fields["loss"] = round(self.loss, 6)
        fields["accuracy"] = round(self.accuracy, 6)
        fields["branch_accuracy"] = [round(value, 4) for value in self.branch_accuracy]
        return fields


@dataclass(frozen=True)
class TrainedStack:
    """A stack after training."""

    params: Params
    records: tuple[TrainRecord, ...]
    seconds: float
    """Wall time of the whole stack."""


class Lesson:
    """One flowchart's inputs, answers and branches, ready to be drawn from."""

    def __init__(self, chart: Flowchart, pool: TokenIds):
        branch = chart.branch_batch(pool)
        order = np.array([chart.answers.index(leaf) for leaf in chart.leaves()])
        self.answers = order[branch]
        self.by_branch = np.argsort(branch, kind="stable")
        self.counts = np.bincount(branch, minlength=len(order))
        self.starts = np.cumsum(self.counts) - self.counts
        self.reached = np.flatnonzero(self.counts)
        self.branch = branch

    def draw(self, rng: np.random.Generator, rows: int, uniform: int, balanced: int) -> Int[np.ndarray, "rows draw"]:
        """Indices into the pool: `uniform` of each row at random, `balanced` evenly over the branches."""
        plain = rng.integers(0, len(self.answers), (rows, uniform))
        branch = self.reached[rng.integers(0, len(self.reached), (rows, balanced))]
        inside = (rng.random((rows, balanced)) * self.counts[branch]).astype(np.int64)
        return np.concatenate([plain, self.by_branch[self.starts[branch] + inside]], 1)


def training_pool(vocab_size: int, max_seq_len: int) -> TokenIds:
    """The inputs that training draws from: all of them, or 50,000 drawn under a fixed seed where there are more."""
    if vocab_size**max_seq_len <= MAX_EXHAUSTIVE:
        return input_ids(vocab_size, max_seq_len)
    rng = np.random.Generator(np.random.PCG64([vocab_size, max_seq_len, 1]))
    return rng.integers(0, vocab_size, (MAX_EXHAUSTIVE, max_seq_len), dtype=np.int64)


def train_stack(
    config: TargetConfig, charts: Sequence[Flowchart], seeds: Sequence[int], train: TrainConfig
) -> TrainedStack:
    """Train one model a flowchart; models share nothing but the clock. All flowcharts have one vocabulary and length.

    A model's initial weights and its data depend on its own seed only, so it is the model that a lone run gives, up to
    the rounding of the batched products.
    """
    began = time.perf_counter()
    pool = training_pool(len(charts[0].vocab), charts[0].max_seq_len)
    lessons = [Lesson(chart, pool) for chart in charts]
    pool_codes = codes(torch.from_numpy(pool), len(charts[0].vocab))
    params = initial_params(config, list(seeds))
    with full_precision():
        loss = _fit(config, params, lessons, seeds, pool_codes, train)
        records = _evaluate(config, params, lessons, seeds, pool_codes, train, loss)
    return TrainedStack(params, records, time.perf_counter() - began)


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
    config: TargetConfig,
    params: Params,
    lessons: Sequence[Lesson],
    seeds: Sequence[int],
    pool: Int[Tensor, "input pos"],
    train: TrainConfig,
) -> Float[Tensor, " model"]:
    """Train `params` in place and return the losses of the last step."""
    even = round(train.batch * train.balanced)
    rngs = [np.random.Generator(np.random.PCG64([seed, DATA])) for seed in seeds]
    draws = np.stack(
        [lesson.draw(rng, train.steps, train.batch - even, even) for lesson, rng in zip(lessons, rngs, strict=True)], 1
    )
    answers = torch.from_numpy(np.stack([lesson.answers for lesson in lessons]))
    for tensor in params.values():
        tensor.requires_grad_()
    optimizer = torch.optim.AdamW(
        list(params.values()), lr=train.lr, betas=(0.9, train.beta2), weight_decay=train.weight_decay, fused=True
    )
    each = torch.zeros(len(lessons))
    for step in range(train.steps):
        index = torch.from_numpy(draws[step])
        logits = forward_codes(config, params, pool[index])
        losses = functional.cross_entropy(logits.flatten(0, 1), answers.gather(1, index).flatten(), reduction="none")
        each = losses.view(len(lessons), -1).mean(1)
        for group in optimizer.param_groups:
            group["lr"] = train.lr * min(1.0, (step + 1) / max(1, train.warmup)) * (1 - step / train.steps)
        optimizer.zero_grad(set_to_none=True)
        each.sum().backward()
        optimizer.step()
    for tensor in params.values():
        tensor.requires_grad_(False)
    return each.detach()


def _evaluate(
    config: TargetConfig,
    params: Params,
    lessons: Sequence[Lesson],
    seeds: Sequence[int],
    pool: Int[Tensor, "input pos"],
    train: TrainConfig,
    loss: Float[Tensor, " model"],
) -> tuple[TrainRecord, ...]:
    """Accuracy on random inputs, and by branch on inputs drawn evenly over branches."""
    n, even = train.eval_inputs, train.eval_inputs // 2
    rngs = [np.random.Generator(np.random.PCG64([seed, EVALUATION])) for seed in seeds]
    drawn = np.stack([lesson.draw(rng, 1, n, even)[0] for lesson, rng in zip(lessons, rngs, strict=True)])
    with torch.no_grad():
        said = forward_codes(config, params, pool[torch.from_numpy(drawn)]).argmax(-1).numpy()
    records = []
    for i, lesson in enumerate(lessons):
        right = said[i] == lesson.answers[drawn[i]]
        branch = lesson.branch[drawn[i, n:]]
        hits = np.bincount(branch, weights=right[n:], minlength=len(lesson.counts))
        shares = hits / np.maximum(1, np.bincount(branch, minlength=len(lesson.counts)))
        records.append(
            TrainRecord(train.steps, float(loss[i]), float(right[:n].mean()), tuple(float(share) for share in shares))
        )
    return tuple(records)
