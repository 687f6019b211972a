"""Tracr and this compiler on the same programs, in one run: what compiles, what is right, how fast, how large."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm
from tracr_models import compile_with_tracr, size_of_ours, size_of_tracrs

from tracr_tasks import Program, ProgramError, compile_program, run_batch

INPUTS = 40
"""Inputs that Tracr's model is tried on, per length."""


def beside_tracr(programs: Mapping[str, Sequence[Program]]) -> str:
    """A table with one row for each named list of programs; Tracr must be installed."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # Tracr warns about maps that it simplifies
    head = "| programs | number | Tracr refuses or fails | Tracr is wrong, of those it compiles | "
    head += "ms, median: Tracr, this | of both, larger here in some size | parameters, median: Tracr, this |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *(_row(name, some) for name, some in programs.items())])


def _row(name: str, programs: Sequence[Program]) -> str:
    failed: Counter[str] = Counter()
    wrong = larger = 0
    seconds: list[tuple[float, float]] = []
    sizes: list[tuple[int, int]] = []
    for program in tqdm(programs, desc=f"Tracr, {name}", disable=None):
        began = time.perf_counter()
        try:
            theirs = compile_with_tracr(program)
        except Exception as error:  # Tracr has no error of its own for what it does not support
            failed[type(error).__name__] += 1
            continue
        middle = time.perf_counter()
        try:
            ours = compile_program(program)
        except ProgramError:
            continue
        seconds.append((middle - began, time.perf_counter() - middle))
        wrong += is_wrong(theirs, program)
        a, b = size_of_tracrs(theirs), size_of_ours(ours)
        larger += bool(b.exceeds(a))
        sizes.append((a.parameters, b.parameters))
    times, counts = 1000 * np.median(seconds, axis=0), np.median(sizes, axis=0)
    return (
        f"| {name} | {len(programs)} | {sum(failed.values())} | {wrong} of {len(sizes)} | "
        f"{times[0]:.0f}, {times[1]:.1f} | {larger} | {counts[0]:.0f}, {counts[1]:.0f} |"
    )


def is_wrong(model: Any, program: Program) -> bool:
    """Whether Tracr's model differs from the interpreter anywhere (none is not compared: Tracr has none)."""
    rng = np.random.default_rng(0)
    for length in range(1, program.max_seq_len + 1):
        ids = rng.integers(0, len(program.vocab), (INPUTS, program.max_seq_len))
        expected = run_batch(program, ids, np.full(INPUTS, length))[:, :length]
        tokens = [["BOS", *(program.vocab[i] for i in row[:length])] for row in ids]
        output = model.forward(model.params, np.array([model.input_encoder.encode(row) for row in tokens]))
        answers = output.unembedded_output.tolist()
        if model.output_encoder is not None:
            answers = [model.output_encoder.decode(row) for row in answers]
        for got, row in zip(answers, expected, strict=True):
            if not all(want is None or _same(value, want) for value, want in zip(got[1:], row, strict=True)):
                return True
    return False


def _same(got: Any, want: Any) -> bool:
    """Tracr's own tolerance for numbers."""
    if isinstance(got, int | float) and isinstance(want, int | float):
        return abs(got - want) <= 1e-7 + 0.005 * abs(want)
    return bool(got == want)
