"""Why a drawn program is rejected: it is tried on a fixed sample of inputs, and each operation must do something."""

from __future__ import annotations

import itertools
import random
from functools import lru_cache
from typing import Any

import numpy as np

from tracr_tasks import rasp
from tracr_tasks.batch import Column, in_order, run_nodes
from tracr_tasks.canonical import ENCODINGS
from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Exact, Value, is_number
from tracr_tasks.sampler_config import SamplerConfig

REASONS = {
    "size": "an operation needed more or fewer S-ops than were asked for",
    "undefined": "not defined on some input: a mean of strings, None inside a select, a value beyond a table, ...",
    "constant": "an operation has one value on all inputs, or a selector selects nothing or everything",
    "identity": "an operation gives tokens or indices again",
    "repeats": "an operation gives the same as an earlier one",
    "mostly none": "the output is None too often (`max_none`)",
    "nearly constant": "the output hardly varies (`max_share`, `min_deviation`)",
}
"""Why a draw is rejected before it is compiled."""
TRIALS = 128
"""Random inputs that a draw is tried on."""


@lru_cache(maxsize=16)
def trial_inputs(n_tokens: int, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that draws are tried on: Int[batch, max_seq_len] and Int[batch]; longer inputs are more frequent.

    They are 128 random ones and the corners: a token alone, a token all along, and the first tokens up and down.
    """
    rng = random.Random(1)
    lengths = [max(rng.randint(1, max_seq_len), rng.randint(1, max_seq_len)) for _ in range(TRIALS)]
    ids = [[rng.randrange(n_tokens) for _ in range(max_seq_len)] for _ in range(TRIALS)]
    for token, length in itertools.product(range(n_tokens), (1, max_seq_len)):
        lengths.append(length)
        ids.append([token] * max_seq_len)
    up = [place % n_tokens for place in range(max_seq_len)]
    return np.array([*ids, up, up[::-1]]), np.array([*lengths, max_seq_len, max_seq_len])


def rejection(program: rasp.Program, config: SamplerConfig) -> str | None:
    """One of `REASONS`, or None for a program that can be accepted if it can be compiled."""
    ids, lengths = trial_inputs(len(program.vocab), program.max_seq_len)
    try:
        valid, results = run_nodes(program, ids, lengths)
    except ProgramError:
        return "undefined"
    return reason_of_operations(program, valid, results) or reason_of_output(results[-1], valid, config)


def reason_of_operations(program: rasp.Program, valid: np.ndarray, results: list[Any]) -> str | None:
    """Whether an operation is idle: constant, or the same as an input or an earlier operation."""
    pairs = valid[:, None] & valid[None]  # [query, key, batch]
    if program.causal:
        pairs &= np.tril(np.ones(pairs.shape[:2], dtype=bool))[:, :, None]
    inputs = keys_of_inputs(program.vocab, program.max_seq_len)
    seen: set[Any] = set()
    for node, result in zip(program.nodes, results, strict=True):
        if node.op in ("tokens", "indices", *ENCODINGS):
            continue
        key = key_of_selector(result, pairs) if node.is_selector else key_of(result, valid)
        is_all = node.op == "select" and node.params[0].text == "true"
        if key is None and not is_all and node.op != "length":
            return "constant"
        if key in inputs:
            return "identity"
        if key in seen:
            return "repeats"
        seen.add(key)
    return None


def reason_of_output(output: Column, valid: np.ndarray, config: SamplerConfig) -> str | None:
    """Whether the output is None too often or nearly constant."""
    codes, values = in_order(output, valid)
    is_none = codes == values.index(None) if None in values else np.zeros_like(valid)
    lengths = valid.sum(0)
    shares = is_none.sum(0) / lengths
    if is_none.sum() > config.max_none * valid.sum() or shares[lengths > 1].max(initial=0) > config.max_none:
        return "mostly none"
    if np.bincount(codes[valid]).max() > config.max_share * valid.sum():
        return "nearly constant"
    if deviation(codes[:, valid.all(0)], values) < config.min_deviation:
        return "nearly constant"
    return None


def deviation(codes: np.ndarray, values: tuple[Exact, ...]) -> float:
    """The standard deviation over inputs, summed over positions, with 0 for None; infinite where a value is a word."""
    if not all(value is None or is_number(value) for value in values):
        return float("inf")
    numbers = np.array([0.0 if value is None else float(value) for value in values])  # type: ignore[arg-type]
    return float(numbers[codes].std(1).sum())


@lru_cache(maxsize=16)
def keys_of_inputs(vocab: tuple[Value, ...], max_seq_len: int) -> frozenset[Any]:
    """The keys of tokens and indices on the trial inputs."""
    keys = set()
    for sop in (rasp.TOKENS, rasp.INDICES):
        valid, (column,) = run_nodes(rasp.Program(sop, vocab, max_seq_len), *trial_inputs(len(vocab), max_seq_len))
        keys.add(key_of(column, valid))
    return frozenset(keys)


def key_of(column: Column, valid: np.ndarray) -> Any:
    """A key that is equal for S-ops with equal values; None for one value everywhere."""
    codes, values = in_order(column, valid)
    return None if len(values) < 2 else (values, codes.astype(np.int16).tobytes())


def key_of_selector(chosen: np.ndarray, pairs: np.ndarray) -> Any:
    """A key that is equal for equal selectors; None for one that selects nothing or all of the pairs."""
    chosen = chosen & pairs
    return None if not chosen.any() or np.array_equal(chosen, pairs) else np.packbits(chosen).tobytes()
