"""What several tests share: a corpus of programs, and a check of a compiled program on many inputs at once."""

from __future__ import annotations

import numpy as np
import torch

from tracr_tasks.batch import hash_inputs, run_batch
from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.library import ENTRIES, library_program
from tracr_tasks.rasp import Program
from tracr_tasks.transformer import forward

NUMBER_ERROR = 1e-3
"""Largest error of a numerical output."""


def library() -> list[Program]:
    return [library_program(entry.name) for entry in ENTRIES]


def token_ids(ids: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """[BOS] + tokens + PAD for ids that are places in the vocabulary."""
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    return torch.from_numpy(np.concatenate([np.zeros((len(ids), 1), int), np.where(inside, ids + 2, 1)], axis=1))


def mismatches(compiled: CompiledProgram, ids: np.ndarray | None = None, lengths: np.ndarray | None = None) -> int:
    """At how many positions the transformer differs from the interpreter (on the hash inputs by default)."""
    program = compiled.program
    if ids is None or lengths is None:
        ids, lengths = hash_inputs(len(program.vocab), program.max_seq_len)
    expected = run_batch(program, ids, lengths)
    inside = np.arange(program.max_seq_len) < lengths[:, None]
    logits = forward(compiled.config, compiled.weights, token_ids(ids, lengths))
    if compiled.output_values is None:
        error = np.abs(logits[:, 1:, 0].numpy()[inside] - expected[inside].astype(float))
        return int((error > NUMBER_ERROR).sum())
    values = np.empty(len(compiled.output_values), dtype=object)
    values[:] = compiled.output_values
    return int((values[logits[:, 1:].argmax(-1).numpy()][inside] != expected[inside]).sum())


def random_inputs(program: Program, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random ids and lengths; every length occurs if count allows."""
    rng = np.random.default_rng(seed)
    lengths = 1 + np.arange(count) % program.max_seq_len
    return rng.integers(0, len(program.vocab), (count, program.max_seq_len)), lengths
