"""Causal edits: one rule of a target is changed in its weights, and the right answer about it changes with it.

    recompiled    the program with one line changed is compiled as a whole                         edits_compiled.py
    patched       only the heads and neurons of that line are replaced, the rest stays bit by bit  edits_compiled.py
    fine-tuned    a copy of a trained target learns its flowchart with one rule changed            edits_trained.py

An oracle that reads weights answers about the edited target as its new program says, one that recognises a target
answers about both alike. Every edit is a pair: the same questions are asked of the original and of the edited target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, Shaped

from tracr_tasks.batch import hash_inputs, run_batch, run_codes
from tracr_tasks.check import NUMBER_ERROR, token_ids
from tracr_tasks.exact import format_value
from tracr_tasks.rasp import Program
from zoo.flowchart import Flowchart
from zoo.target import Target

Way = Literal["recompiled", "patched", "fine-tuned"]
"""How an edit came into the weights."""
Accept = Callable[[Any], bool]
"""Whether a changed program may be taken, for instance one of a held-out split."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One rule of one target changed."""

    id: str
    """Of the original target."""
    way: Way
    what: str
    """The rule before and after, on one line."""
    before: Any
    """What the original computes: a canonical `Program` or `Flowchart`."""
    after: Any
    """What the edited target computes, likewise; it differs in one line or rule."""
    original: Target
    edited: Target
    changed: float
    """Share of inputs on which the two programs differ, somewhere in the output."""
    follows_before: float
    """Share of inputs on which the edited target answers as `before`, at every position."""
    follows_after: float
    """Share of inputs on which it answers as `after`."""
    follows_where_changed: float
    """The same among inputs on which the two programs differ."""


def every_program(program: Any) -> bool:
    """Accept any changed program."""
    return True


def computes(
    target: Target, program: Any, ids: Int[np.ndarray, "batch seq"], lengths: Int[np.ndarray, " batch"] | None = None
) -> Bool[np.ndarray, " batch"]:
    """On which inputs a target answers as a program, at every position; ids are places in the program's vocabulary.

    Inputs of a flowchart have full length; those of a RASP program have the `lengths` given.
    """
    full = np.full(len(ids), program.max_seq_len) if lengths is None else lengths
    logits = target.run(token_ids(ids, full))
    if isinstance(program, Flowchart):
        place = 0 if target.config.read_out == "first" else -1
        names = np.array(target.vocab.output, dtype=object)[logits[:, place].argmax(-1).numpy()]
        return np.asarray(names == _answers(program, ids, None)[:, 0], dtype=bool)
    beyond = np.arange(program.max_seq_len) >= full[:, None]
    if target.config.output == "numerical":
        expected = np.where(beyond, 0.0, run_batch(program, ids, full)).astype(np.float32)
        right = np.abs(logits[:, 1:, 0].numpy() - expected) <= NUMBER_ERROR
    else:
        names = np.array(target.vocab.output, dtype=object)[logits[:, 1:].argmax(-1).numpy()]
        right = names == _answers(program, ids, full)
    return np.asarray((right | beyond).all(1), dtype=bool)


def differ(
    one: Any, other: Any, ids: Int[np.ndarray, "batch seq"], lengths: Int[np.ndarray, " batch"] | None = None
) -> Bool[np.ndarray, " batch"]:
    """On which inputs two programs over one vocabulary and length give different outputs, at any position."""
    answers = [_answers(program, ids, lengths) for program in (one, other)]
    return np.asarray((answers[0] != answers[1]).any(1), dtype=bool)


def judged(program: Program) -> tuple[Int[np.ndarray, "batch seq"], Int[np.ndarray, " batch"]]:
    """Inputs that a compiled target is judged on: all where there are at most 4,096, else 2,000."""
    return hash_inputs(len(program.vocab), program.max_seq_len)


def _answers(
    program: Any, ids: Int[np.ndarray, "batch seq"], lengths: Int[np.ndarray, " batch"] | None
) -> Shaped[np.ndarray, "batch pos"]:
    """The names that a program gives: one an input, or one a position and "" past a sequence's end."""
    if isinstance(program, Flowchart):
        return np.array(program.answers, dtype=object)[program.run_batch(ids)][:, None]
    full = np.full(len(ids), program.max_seq_len) if lengths is None else lengths
    codes, values = run_codes(program, ids, full)
    return np.array([*map(format_value, values), ""], dtype=object)[codes]
