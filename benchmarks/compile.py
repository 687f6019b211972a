"""Random programs, compiled: is the transformer the program, how fast is it made, why are others refused?

    OMP_NUM_THREADS=1 python benchmarks/compile.py                       # the whole table, most of an hour
    OMP_NUM_THREADS=1 python benchmarks/compile.py --scale 0.02          # a taste

Where Tracr is installed (`pip install tracr-pypi jax dm-haiku`; no dependency) a second table has both side by side.

A program is drawn until the sampler's checks pass, and never looked at by the compiler before it is counted here. Its
transformer is compared with the interpreter at every position of all inputs (at most 4,096), or of 2,000 random ones of
all lengths. Times are of one thread; `interpreter` is 10,000 evaluations of the program on inputs of five tokens.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import tyro
from tqdm import tqdm
from tracr_models import tracr_is_here
from tracr_side import beside_tracr

from tracr_tasks import Program, ProgramError, SamplerConfig, compile_program, library_program, run_batch
from tracr_tasks.check import mismatches, token_ids
from tracr_tasks.sampler import sample_draw
from tracr_tasks.transformer import forward

SIZES = {"min_ops": 4, "max_ops": 8}
"""S-ops of the published programs, inputs counted."""
SETTINGS = {
    "vocabulary 5, length 5": (10_000, SamplerConfig(**SIZES)),
    "vocabulary 10": (2_000, SamplerConfig(vocab_size=10, **SIZES)),
    "length 10": (2_000, SamplerConfig(max_seq_len=10, **SIZES)),
    "causal": (2_000, SamplerConfig(causal=True, **SIZES)),
}
"""Rows of the table: how many programs, and which."""


@dataclass(frozen=True)
class Config:
    scale: float = 1.0
    """Multiplies the numbers of programs."""
    seed: int = 0
    """First seed."""
    tracr_programs: int = 60
    """Programs of each row that Tracr compiles too, where it is installed."""


@dataclass
class Row:
    """What is counted for one setting."""

    programs: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    """Anything but a refusal, by its error."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    wrong: int = 0
    """Programs with a mismatch at any position of any input."""
    compile_s: list[float] = field(default_factory=list)
    interpret_s: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """The row of the table, after its name."""
        compiled, evaluated = (1000 * np.quantile(s, [0.5, 0.95]) for s in (self.compile_s, self.interpret_s))
        return (
            f"{self.programs} | {sum(self.refused.values())} | {sum(self.crashes.values())} | {self.wrong} | "
            f"{len(self.compile_s) / sum(self.compile_s):.0f} | {compiled[0]:.1f}, {compiled[1]:.1f} | "
            f"{evaluated[0]:.1f}, {evaluated[1]:.1f}"
        )


def measure(row: Row, program: Program) -> None:
    """Compile one program and compare it with the interpreter."""
    row.programs += 1
    began = time.perf_counter()
    try:
        compiled = compile_program(program)
    except ProgramError as error:
        row.refused.update({kind_of(reason.text) for reason in error.reasons})
        return
    finally:
        row.compile_s.append(time.perf_counter() - began)
    row.wrong += mismatches(compiled) > 0
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, len(program.vocab), (10_000, program.max_seq_len)), np.full(10_000, 5)
    began = time.perf_counter()
    run_batch(program, *inputs)
    row.interpret_s.append(time.perf_counter() - began)


def kind_of(reason: str) -> str:
    """A reason without what is particular to the program."""
    reason = re.sub(r"'[^']*' is not defined for.*: ", "a function is not defined for a value: ", reason)
    reason = re.sub(r"\b(v\d+|out|tokens|indices)\b", "...", reason.split(": several of")[0])
    return re.sub(r"\d+ combinations", "many combinations", reason)


def programs_of(name: str, config: Config) -> Iterator[Program]:
    """The random programs of one row."""
    count, sampler = SETTINGS[name]
    for i in tqdm(range(max(1, round(count * config.scale))), desc=name, disable=None):
        yield sample_draw(config.seed + i, sampler)


def long_frac_prevs(length: int = 100) -> float:
    """The largest error of `frac_prevs` in float32 on inputs of this length."""
    compiled = compile_program(library_program("frac_prevs", max_seq_len=length))
    rng = np.random.default_rng(0)
    ids, lengths = rng.integers(0, len(compiled.program.vocab), (64, length)), np.full(64, length)
    logits = forward(compiled.config, compiled.weights, token_ids(ids, lengths))[:, 1:, 0].numpy()
    return float(np.abs(logits - run_batch(compiled.program, ids, lengths).astype(float)).max())


def main(config: Config) -> None:
    """Print the table, the reasons of refusals, and Tracr's table where it is installed."""
    print("| programs | number | refused | crashes | with a mismatch | compiled a second | ms: median, 95% | ", end="")
    print("interpreter, ms: median, 95% |\n|---|---|---|---|---|---|---|---|")
    rows = {}
    for name in SETTINGS:
        row = rows[name] = Row()
        for program in programs_of(name, config):
            try:
                measure(row, program)
            except Exception as error:  # a crash is what this counts; the first of each kind is shown
                if not row.crashes[type(error).__name__]:
                    tqdm.write(f"{type(error).__name__}: {error}\n{program!r}")
                row.crashes[type(error).__name__] += 1
        print(f"| {name} | {row.cells()} |", flush=True)
    reasons = sum((row.refused for row in rows.values()), Counter[str]())
    print("\n| why refused | programs |\n|---|---|")
    print("\n".join(f"| {reason} | {count} |" for reason, count in reasons.most_common()))
    print(f"\nfrac_prevs at length 100 in float32: largest error {long_frac_prevs():.1e}")
    if config.tracr_programs and tracr_is_here():
        print("\n" + beside_tracr({name: first_programs(name, config) for name in SETTINGS}))


def first_programs(name: str, config: Config) -> list[Program]:
    """The programs of a row that Tracr compiles too."""
    return [sample_draw(config.seed + i, SETTINGS[name][1]) for i in range(config.tracr_programs)]


if __name__ == "__main__":
    main(tyro.cli(Config))
