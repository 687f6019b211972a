"""What several tests share: a corpus of programs, and random inputs."""

from __future__ import annotations

import numpy as np

from tracr_tasks.check import mismatches, token_ids
from tracr_tasks.library import ENTRIES, library_program
from tracr_tasks.rasp import Program

__all__ = ["library", "mismatches", "random_inputs", "token_ids"]


def library() -> list[Program]:
    return [library_program(name) for name in ENTRIES]


def random_inputs(program: Program, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random ids and lengths; every length occurs if count allows."""
    rng = np.random.default_rng(seed)
    lengths = 1 + np.arange(count) % program.max_seq_len
    return rng.integers(0, len(program.vocab), (count, program.max_seq_len)), lengths
