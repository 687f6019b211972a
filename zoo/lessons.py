"""What a target is taught: inputs with a flowchart's answers, drawn so that rare branches are seen too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zoo.branches import draw_inputs
from zoo.conditions import TokenIds
from zoo.flowchart import MAX_EXHAUSTIVE, Flowchart, input_ids

FEW = 256
"""A branch with fewer inputs than this in a pool that is not the whole space gets inputs of its own."""
OWN_INPUTS = 1_024
"""Inputs that such a branch gets."""


class Lesson:
    """One flowchart's inputs, answers and branches, ready to be drawn from."""

    def __init__(
        self, chart: Flowchart, pool: Int[np.ndarray, "pool pos"], own: Int[np.ndarray, "own pos"] | None = None
    ):
        """Uniform draws are from `pool`, those by branch from `own` as well."""
        self.own = np.zeros((0, pool.shape[1]), dtype=np.int64) if own is None else own
        self.branch = np.concatenate([chart.branch_batch(pool), chart.branch_batch(self.own)])
        order = np.array([chart.answers.index(leaf) for leaf in chart.leaves()])
        self.answers = order[self.branch]
        self.by_branch = np.argsort(self.branch, kind="stable")
        self.counts = np.bincount(self.branch, minlength=len(order))
        self.starts = np.cumsum(self.counts) - self.counts
        self.reached = np.flatnonzero(self.counts)
        self.uniform = len(pool)

    def draw(self, rng: np.random.Generator, rows: int, uniform: int, balanced: int) -> Int[np.ndarray, "rows draw"]:
        """Indices into pool and own inputs: `uniform` of each row at random, `balanced` evenly over the branches."""
        plain = rng.integers(0, self.uniform, (rows, uniform))
        branch = self.reached[rng.integers(0, len(self.reached), (rows, balanced))]
        inside = (rng.random((rows, balanced)) * self.counts[branch]).astype(np.int64)
        return np.concatenate([plain, self.by_branch[self.starts[branch] + inside]], 1)


@dataclass(frozen=True, eq=False)
class Lessons:
    """The lessons of a stack, with all their inputs in one array."""

    each: tuple[Lesson, ...]
    """One a model."""
    inputs: TokenIds
    """The pool, which all share, and after it each model's own inputs."""
    answers: Int[np.ndarray, "model input"]
    """The right answer to each input of a lesson; filled up with 0."""
    vocab_size: int
    """Tokens that the inputs index."""

    @property
    def has_own(self) -> bool:
        """Whether some model has inputs of its own."""
        return any(len(lesson.own) for lesson in self.each)

    def place(
        self, index: Int[Tensor, "model draw"], models: Int[Tensor, " model"] | None = None
    ) -> Int[Tensor, "model draw"]:
        """Rows of `inputs` for what some lessons drew, all if not told which: the own inputs of each come in turn."""
        if not self.has_own:
            return index
        own = np.array([len(lesson.own) for lesson in self.each])
        skip = torch.from_numpy(np.cumsum(own) - own)
        skip = (skip if models is None else skip[models])[:, None].to(index.device)
        return index + skip * (index >= self.each[0].uniform)


def make_lessons(charts: Sequence[Flowchart], seeds: Sequence[int], stream: int) -> Lessons:
    """Lessons over `training_pool`, with inputs for rare branches drawn from each seed's own `stream`."""
    pool = training_pool(len(charts[0].vocab), charts[0].max_seq_len)
    each = [_lesson(chart, pool, seed, stream) for chart, seed in zip(charts, seeds, strict=True)]
    answers = np.zeros((len(each), max(len(lesson.answers) for lesson in each)), dtype=np.int64)
    for row, lesson in zip(answers, each, strict=True):
        row[: len(lesson.answers)] = lesson.answers
    inputs = np.concatenate([pool, *(lesson.own for lesson in each)])
    return Lessons(tuple(each), inputs, answers, len(charts[0].vocab))


def _lesson(chart: Flowchart, pool: TokenIds, seed: int, stream: int) -> Lesson:
    """A lesson with inputs of its own where the pool has few of a branch."""
    lesson = Lesson(chart, pool)
    few = np.flatnonzero(lesson.counts < FEW)
    if len(few) == 0 or len(chart.vocab) ** chart.max_seq_len == len(pool):
        return lesson
    rng = np.random.Generator(np.random.PCG64([seed, stream, 1]))
    return Lesson(chart, pool, np.concatenate([draw_inputs(chart, int(branch), OWN_INPUTS, rng) for branch in few]))


def training_pool(vocab_size: int, max_seq_len: int) -> TokenIds:
    """The inputs that training draws from: all of them, or 50,000 drawn under a fixed seed where there are more."""
    if vocab_size**max_seq_len <= MAX_EXHAUSTIVE:
        return input_ids(vocab_size, max_seq_len)
    rng = np.random.Generator(np.random.PCG64([vocab_size, max_seq_len, 1]))
    return rng.integers(0, vocab_size, (MAX_EXHAUSTIVE, max_seq_len), dtype=np.int64)
