"""Is a compiled transformer the program that it was compiled from? Both are run on many inputs and compared."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tracr_tasks.batch import hash_inputs, run_batch
from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.transformer import forward

NUMBER_ERROR = 1e-3
"""Largest error of a numerical output."""


def token_ids(ids: Int[np.ndarray, "batch seq"], lengths: Int[np.ndarray, " batch"]) -> Int[Tensor, "batch pos"]:
    """[BOS] + tokens + PAD for ids that are places in the vocabulary."""
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    return torch.from_numpy(np.concatenate([np.zeros((len(ids), 1), int), np.where(inside, ids + 2, 1)], axis=1))


def mismatches(
    compiled: CompiledProgram,
    ids: Int[np.ndarray, "batch seq"] | None = None,
    lengths: Int[np.ndarray, " batch"] | None = None,
) -> int:
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
