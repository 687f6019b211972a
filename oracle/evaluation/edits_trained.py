"""Edits of trained targets: a copy learns its flowchart with one rule changed, starting from the weights that it has.

The copies are trained by the zoo's own code, many at once. An edit is kept if the copy answers as the changed flowchart
on 98% of random inputs, and of those on which the change shows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from oracle.evaluation.edits import Accept, Edit, computes, differ, every_program
from oracle.evaluation.edits_charts import rule_changes
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import shapes
from zoo.branches import draw_inputs
from zoo.canonical import canonical
from zoo.fit import fit, repeatable
from zoo.flowchart import Flowchart
from zoo.lessons import make_lessons, training_pool
from zoo.stack import Params, is_trained, member_weights, training_flops
from zoo.target import Target
from zoo.train import STEP_FLOPS
from zoo.training_config import TrainConfig

TUNING = TrainConfig(steps=400, lr=0.005, warmup=10, weight_decay=0.0, stop_accuracy=0.995, stop_window=10)
"""How copies are fine-tuned: Adam, at most 400 steps, fewer for those that are right earlier."""
ENOUGH = 0.98
"""Share of inputs on which a copy must answer as the changed flowchart."""
N_RANDOM, N_CHANGED = 2_048, 1_024
"""Inputs that a copy is judged on: random ones, and at most so many on which the two flowcharts differ."""
LESSON, JUDGED = 11, 12
"""Streams of an edit's seed."""


@dataclass(frozen=True, eq=False)
class _Task:
    """One edit to be made."""

    id: str
    target: Target
    before: Flowchart
    after: Flowchart
    what: str
    seed: int


def fine_tuned(
    target_id: str,
    target: Target,
    chart: Flowchart,
    rng: random.Random,
    accept: Accept = every_program,
    train: TrainConfig = TUNING,
) -> Edit | None:
    """A copy of a trained target that learned its flowchart with a random rule changed (see `fine_tuned_all`)."""
    return fine_tuned_all([(target_id, target, chart)], rng, accept, train)[0]


def fine_tuned_all(
    targets: Sequence[tuple[str, Target, Flowchart]],
    rng: random.Random,
    accept: Accept = every_program,
    train: TrainConfig = TUNING,
) -> list[Edit | None]:
    """One edit for each target (with its id and flowchart); those of one shape are fine-tuned together.

    None where no rule can be changed acceptably, or the copy has not learned the change when its steps are over. The
    same targets and generator give the same bytes; a target alone gives those up to the rounding of batched products.

    Raises:
        InputError: a target is not one that the zoo trains, in the basis that it was trained in, or its names are not
            those of its flowchart.
        ProgramError: a flowchart has no canonical form (see `zoo.canonical.canonical`).
    """
    tasks: dict[int, _Task] = {}
    for i, (target_id, target, chart) in enumerate(targets):
        _check(target_id, target, chart)
        before, seed = canonical(chart), rng.getrandbits(62)
        changes = rule_changes(before, random.Random(seed))
        if (found := next((change for change in changes if accept(change[1])), None)) is not None:
            tasks[i] = _Task(target_id, target, before, found[1], found[0], seed)
    made: dict[int, Edit | None] = {}
    for members in _stacks(tasks, train):
        edits = _tuned([tasks[i] for i in members], train)
        made |= dict(zip(members, edits, strict=True))
    return [made.get(i) for i in range(len(targets))]


def _check(target_id: str, target: Target, chart: Flowchart) -> None:
    """Refuse a target that the zoo's training cannot go on with."""
    config, weights = target.config, target.weights
    names = target.vocab.input[2:], target.vocab.output, config.n_ctx - 1
    if names != (chart.vocab, chart.answers, chart.max_seq_len):
        raise InputError(f"{target_id}: its tokens, answers or length are not those of its flowchart")
    alike = {name: tuple(tensor.shape) for name, tensor in weights.items()} == shapes(config)
    if config.extensions() or config.read_out == "all" or not alike:
        raise InputError(f"{target_id}: expected a target trained by this package")
    if moved := [name for name, tensor in weights.items() if not is_trained(name) and tensor.any()]:
        raise InputError(f"{target_id}: {moved[0]} is not zero; expected the basis that the target was trained in")


def _stacks(tasks: dict[int, _Task], train: TrainConfig) -> Iterator[list[int]]:
    """Tasks that can be trained together, by their keys."""
    alike: dict[object, list[int]] = {}
    for i, task in tasks.items():
        alike.setdefault((task.target.config, task.before.vocab, task.before.answers), []).append(i)
    for members in alike.values():
        flops = training_flops(tasks[members[0]].target.config, 1, train.batch)
        size = max(1, int(STEP_FLOPS / flops))
        yield from (members[start : start + size] for start in range(0, len(members), size))


def _tuned(tasks: Sequence[_Task], train: TrainConfig) -> list[Edit | None]:
    """The edits of one stack."""
    config, seeds = tasks[0].target.config, [task.seed for task in tasks]
    lessons = make_lessons([task.after for task in tasks], seeds, LESSON)
    even = round(train.batch * train.balanced)
    draws = np.stack(
        [
            lesson.draw(_rng(task, LESSON), train.steps, train.batch - even, even)
            for lesson, task in zip(lessons.each, tasks, strict=True)
        ],
        axis=1,
    )
    last = np.full(len(tasks), train.steps)
    with repeatable(torch.device("cpu")):
        fitted = fit(config, _stacked(tasks), lessons, draws, last, train)
    return [_judge(task, member_weights(config, fitted.params, i)) for i, task in enumerate(tasks)]


def _stacked(tasks: Sequence[_Task]) -> Params:
    names = [name for name in shapes(tasks[0].target.config) if is_trained(name)]
    return {name: torch.stack([task.target.weights[name] for task in tasks]) for name in names}


def _judge(task: _Task, weights: dict[str, torch.Tensor]) -> Edit | None:
    """The edit, measured; None if its copy has not learned the change."""
    edited = replace(task.target, weights=weights)
    ids, changed = _judged_inputs(task)
    if not len(changed):  # so rare that no input was found
        return None
    both = np.concatenate([ids, changed])
    follows = computes(edited, task.after, both)
    if min(follows[: len(ids)].mean(), follows[len(ids) :].mean()) < ENOUGH:
        return None
    return Edit(
        id=task.id,
        way="fine-tuned",
        what=task.what,
        before=task.before,
        after=task.after,
        original=task.target,
        edited=edited,
        changed=float(differ(task.before, task.after, ids).mean()),
        follows_before=float(computes(edited, task.before, ids).mean()),
        follows_after=float(follows[: len(ids)].mean()),
        follows_where_changed=float(follows[len(ids) :].mean()),
    )


def _judged_inputs(task: _Task) -> tuple[Int[np.ndarray, "random pos"], Int[np.ndarray, "changed pos"]]:
    """Random inputs, and inputs on which the two flowcharts differ, be they ever so rare."""
    rng, before, after = _rng(task, JUDGED), task.before, task.after
    pool = training_pool(len(before.vocab), before.max_seq_len)
    ids = pool[rng.integers(0, len(pool), N_RANDOM)]
    changed = pool[differ(before, after, pool)]
    if len(changed) < N_CHANGED and len(pool) < len(before.vocab) ** before.max_seq_len:
        branches = [(chart, branch) for chart in (before, after) for branch in range(len(chart.leaves()))]
        drawn = np.concatenate([draw_inputs(chart, branch, N_CHANGED, rng) for chart, branch in branches])
        changed = np.concatenate([changed, drawn[differ(before, after, drawn)]])
    return ids, changed[rng.permutation(len(changed))[:N_CHANGED]]


def _rng(task: _Task, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([task.seed, stream]))
