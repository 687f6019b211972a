"""The interpreter for thousands of inputs at once.

An S-op is a table of its distinct values and an integer array [pos, batch] of places in it, so functions are applied
once a distinct value or pair, and selectors are look-ups. No loop runs over sequences; the batch is the last axis of
every array, as NumPy is slow on short last axes. Numbers stay exact: a mean is a sum of integers over a common
denominator.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

import numpy as np

from tracr_tasks import rasp
from tracr_tasks.errors import InputError, ProgramError, Reason
from tracr_tasks.exact import Exact, bounded, is_number, literal, plain, reduced, sort_key
from tracr_tasks.interpreter import combine, related
from tracr_tasks.trace import Node

ALL_INPUTS = 4096
"""A program with at most this many inputs is hashed on all of them."""
HASH_INPUTS = 2000
"""Otherwise on this many random ones."""
DENSE = 1 << 20
"""Pairs up to this many are counted in an array, more are sorted."""


@dataclass(frozen=True)
class Column:
    """An S-op's values on a batch: `values[codes[p, b]]`; codes past a sequence's end mean nothing."""

    codes: np.ndarray
    values: tuple[Exact, ...]
    used: np.ndarray
    """The codes that occur inside a sequence, ascending."""


def run_batch(program: rasp.Program, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The program's values on many inputs.

    Args:
        ids: Int[batch, max_seq_len], places in `program.vocab`; what lies past a sequence's length is ignored.
        lengths: Int[batch], from 1 to max_seq_len.

    Returns:
        Object array [batch, max_seq_len] of ints, floats, strings and None; None past a sequence's length.

    Raises:
        InputError: ids or lengths do not fit the program.
        ProgramError: the program is not defined on one of the inputs.
    """
    codes, values = run_codes(program, ids, lengths)
    table = np.empty(len(values) + 1, dtype=object)
    table[:-1] = [plain(value) for value in values]
    return table[codes]


def run_codes(program: rasp.Program, ids: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, tuple[Exact, ...]]:
    """As `run_batch`: the distinct exact values in a fixed order and Int[batch, max_seq_len] places in them (or -1)."""
    valid, results = run_nodes(program, ids, lengths)
    codes, values = in_order(results[-1], valid)
    return codes.T, values


def run_nodes(
    program: rasp.Program, ids: np.ndarray, lengths: np.ndarray, given: Mapping[int, Column] | None = None
) -> tuple[np.ndarray, list[Any]]:
    """Bool[max_seq_len, batch], true inside a sequence, and each node's `Column` or Bool[query, key, batch].

    `ids` and `lengths` are those of `run_batch`, and so are the errors. A node whose place is in `given` has the column
    that stands there, whatever its arguments are: an intervention on that variable.
    """
    ids, lengths = np.ascontiguousarray(np.transpose(ids)), np.asarray(lengths)
    valid = np.arange(program.max_seq_len)[:, None] < lengths
    _check_batch(program, ids, lengths, valid)
    machine = _Batch(np.where(valid, ids, 0), lengths, valid, program)
    results: list[Any] = []
    for place, node in enumerate(program.nodes):
        if given and place in given:
            results.append(given[place])
            continue
        try:
            results.append(machine.apply(node, [results[at] for at in node.args]))
        except ProgramError as error:
            raise ProgramError([Reason(node.blame, reason.text) for reason in error.reasons]) from None
    return valid, results


def _check_batch(program: rasp.Program, ids: np.ndarray, lengths: np.ndarray, valid: np.ndarray) -> None:
    if ids.shape != valid.shape:
        expected = valid.shape[::-1]
        raise InputError(f"ids have shape {ids.shape[::-1]} where [batch, max_seq_len] = {expected} was expected")
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= program.max_seq_len):
        raise InputError(f"lengths are from 1 to {program.max_seq_len}")
    used = ids[valid]
    if len(used) and not (used.min() >= 0 and used.max() < len(program.vocab)):
        raise InputError(f"ids are places in the vocabulary, 0 to {len(program.vocab) - 1}")


def in_order(column: Column, valid: np.ndarray) -> tuple[np.ndarray, tuple[Exact, ...]]:
    """Keep the values that occur, in the order of `sort_key`."""
    order = sorted(column.used.tolist(), key=lambda code: sort_key(column.values[code]))
    places = np.full(len(column.values) + 1, -1)
    places[order] = np.arange(len(order))
    return np.where(valid, places[column.codes], -1), tuple(column.values[code] for code in order)


def distinct(codes: np.ndarray, size: int) -> np.ndarray:
    """The distinct codes, ascending; every code is under `size`."""
    return np.flatnonzero(np.bincount(codes, minlength=1)) if size <= DENSE else np.unique(codes)


def places_of(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, ascending, and the place of each number among them."""
    low = numbers.min()
    if numbers.max() - low >= DENSE:
        used, places = np.unique(numbers, return_inverse=True)
        return used, places.reshape(-1)
    used = np.flatnonzero(np.bincount(numbers - low))
    table = np.zeros(used[-1] + 1, dtype=np.int64)
    table[used] = np.arange(len(used))
    return used + low, table[numbers - low]


def tabulate(keys: np.ndarray, size: int, results: Sequence[Exact], of: np.ndarray) -> Column:
    """A column from results: `results[i]` where the key is `of[i]`, the keys in use; equal results become one value."""
    places: dict[Exact, int] = {}
    codes = np.array([places.setdefault(result, len(places)) for result in results], dtype=np.int64)
    if size <= DENSE:
        table = np.zeros(size, dtype=np.int64)
        table[of] = codes
        codes = table[keys]
    else:
        codes = codes[np.minimum(np.searchsorted(of, keys), len(of) - 1)]
    return Column(codes, tuple(places), np.arange(len(places)))


def meeting(relation: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """`relation[queries[q, b], keys[k, b]]` for every q, k and b, from Bool[query code, key code]."""
    n_keys = relation.shape[1]
    if n_keys > 64:
        return relation.reshape(-1)[(queries * n_keys)[:, None] + keys[None]]
    word = np.min_scalar_type((1 << n_keys) - 1)  # a query's keys as the bits of a word: five times as fast
    bits = np.left_shift(np.ones(n_keys, dtype=word), np.arange(n_keys, dtype=word))
    held = np.bitwise_or.reduce(relation * bits, axis=1)
    return (held[queries][:, None] & bits[keys][None]) != 0


def counts(chosen: np.ndarray) -> np.ndarray:
    """How many keys each query selects, Int[query, batch] from Bool[query, key, batch]."""
    if chosen.shape[1] > np.iinfo(np.int8).max:
        return chosen.sum(1)
    return chosen.view(np.int8).sum(1, dtype=np.int8).astype(np.int64)


class _Batch:
    """One batch of inputs; `apply` computes one node from its arguments."""

    def __init__(self, ids: np.ndarray, lengths: np.ndarray, valid: np.ndarray, program: rasp.Program):
        self.ids, self.lengths, self.valid, self.program = ids, lengths, valid, program
        self.numbers = tuple(range(program.max_seq_len + 1))
        self.both = valid[:, None, :] & valid[None, :, :]  # [query, key, batch]
        self.pairs = self.both
        if program.causal:
            self.pairs = self.both & np.tril(np.ones((program.max_seq_len,) * 2, dtype=bool))[:, :, None]

    def apply(self, node: Node, args: list[Any]) -> Any:
        """The value of one node, given those of its arguments."""
        match node.op:
            case "tokens":
                return self.column(self.ids, self.program.exact_vocab)
            case "indices":
                places = np.arange(len(self.ids))
                return self.column(np.broadcast_to(places[:, None], self.ids.shape), tuple(places.tolist()))
            case "length":
                return self.column(np.broadcast_to(self.lengths, self.ids.shape), self.numbers)
            case "constant":
                return self.column(np.zeros_like(self.ids), (node.params[0],))
            case "numerical" | "categorical":
                return args[0]
            case "map":
                return self.map(node.params[0], args[0])
            case "sequence_map":
                return self.map_pairs(node.params[0], args[0], args[1])
            case "linear":
                a, b = node.params
                return self.map_pairs(lambda x, y: combine(a, x, b, y), args[0], args[1])
            case "select":
                return self.select(node.params[0], args[0], args[1])
            case "selector_and":
                return args[0] & args[1]
            case "selector_or":
                return args[0] | args[1]
            case "selector_not":
                return ~args[0] & self.pairs
            case "selector_width":
                return self.column(counts(args[0]), self.numbers)
            case "aggregate":
                return self.aggregate(node.params[0], args[0], args[1])
        raise AssertionError(f"no rule for {node.op}")

    def column(self, codes: np.ndarray, values: tuple[Exact, ...]) -> Column:
        """A column of values that need not all occur."""
        return Column(codes, values, distinct(codes[self.valid], len(values)))

    def map(self, fn: Any, x: Column) -> Column:
        return tabulate(x.codes, len(x.values), [fn(x.values[code]) for code in x.used], x.used)

    def map_pairs(self, fn: Any, x: Column, y: Column) -> Column:
        size = len(x.values) * len(y.values)
        keys = x.codes * len(y.values) + y.codes
        used = distinct(keys[self.valid], size)
        results = [fn(x.values[key // len(y.values)], y.values[key % len(y.values)]) for key in used.tolist()]
        return tabulate(keys, size, results, used)

    def select(self, predicate: Any, keys: Column, queries: Column) -> np.ndarray:
        """Bool[query, key, batch]."""
        if predicate.text in ("true", "false") and None not in keys.values and None not in queries.values:
            return self.pairs if predicate.text == "true" else np.zeros_like(self.pairs)
        relation = np.zeros((len(queries.values), len(keys.values)), dtype=bool)
        errors = []
        for q, k in itertools.product(queries.used.tolist(), keys.used.tolist()):
            try:
                relation[q, k] = related(predicate, keys.values[k], queries.values[q])
            except ProgramError as error:  # raised below, if the two ever meet
                errors.append((q, k, error))
        for q, k, failure in errors:
            if ((queries.codes == q)[:, None] & (keys.codes == k)[None] & self.both).any():
                raise failure
        return meeting(relation, queries.codes, keys.codes) & self.pairs

    def aggregate(self, default: Exact, chosen: np.ndarray, x: Column) -> Column:
        """Per row: the mean of the chosen values, the one chosen, or the default."""
        count = counts(chosen)
        first = np.full(x.codes.shape, len(x.values))  # the default comes after the values
        for key in range(len(x.codes) - 1, -1, -1):
            first = np.where(chosen[:, key], x.codes[key], first)
        many = (count > 1) & self.valid
        if not all(is_number(value) for value in x.values):  # many equal values are one value
            many &= (chosen & (x.codes[None] != first[:, None])).any(1)
        values, codes = [*x.values, default], first
        if many.any():
            means, places = self.means(chosen, x, many, count)
            codes = np.where(many, len(values) + places, first)
            values += means
        # equal values become one
        used = distinct(codes[self.valid], len(values))
        return tabulate(codes, len(values), [values[code] for code in used], used)

    def means(
        self, chosen: np.ndarray, x: Column, many: np.ndarray, count: np.ndarray
    ) -> tuple[list[Exact], np.ndarray]:
        """Distinct means of the selected values where more than one is, and their places [pos, batch]."""
        numeric = np.array([is_number(value) for value in x.values])
        if not numeric.all() and ((chosen & ~numeric[x.codes]).any(1) & many).any():
            raise ProgramError([Reason(None, "a mean is over numbers, not over strings or none")])
        numbers: list[Any] = [value if is_number(value) else 0 for value in x.values]
        scale = lcm(*(number.denominator for number in numbers))
        scaled = [int(number * scale) for number in numbers]
        width = len(x.codes) + 1
        if max(abs(number) for number in scaled) * width > 2**52:
            raise ProgramError([Reason(None, "the numbers of a mean have no common denominator below 10^15")])
        sums = (chosen * np.array(scaled)[x.codes]).sum(1)
        used, places = places_of((sums * width + count)[many])
        out = np.zeros(many.shape, dtype=np.int64)
        out[many] = places
        return [bounded(reduced(Fraction(key // width, (key % width) * scale))) for key in used.tolist()], out


# the function hash


@lru_cache(maxsize=64)
def hash_inputs(n_tokens: int, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs that a function hash is taken on: Int[batch, max_seq_len] token ids and Int[batch] lengths.

    All inputs, shortest first, if there are at most 4,096; otherwise 2,000 from Python's generator under seed 0, each
    with a length drawn evenly from 1 to max_seq_len and then tokens drawn evenly.
    """
    total = sum(n_tokens**length for length in range(1, max_seq_len + 1)) if n_tokens < 2 or max_seq_len < 13 else None
    rows: list[tuple[int, ...]] = []
    if total is not None and total <= ALL_INPUTS:
        for length in range(1, max_seq_len + 1):
            rows += itertools.product(range(n_tokens), repeat=length)
    else:
        rng = random.Random(0)
        for _ in range(HASH_INPUTS):
            length = rng.randint(1, max_seq_len)
            rows.append(tuple(rng.randrange(n_tokens) for _ in range(length)))
    ids = np.zeros((len(rows), max_seq_len), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    lengths = np.array([len(row) for row in rows])
    ids.setflags(write=False)
    lengths.setflags(write=False)
    return ids, lengths


def function_hash(program: rasp.Program) -> str:
    """16 hex digits of the sha256 of the program's vocabulary, length and values on `hash_inputs`.

    Raises:
        ProgramError: the program is not defined on one of these inputs.
    """
    codes, values = run_codes(program, *hash_inputs(len(program.vocab), program.max_seq_len))
    names = [literal(token) for token in program.exact_vocab]
    head = json.dumps([names, program.max_seq_len, [literal(value) for value in values]])
    digest = hashlib.sha256(head.encode())
    digest.update(np.ascontiguousarray(codes, dtype="<i4").tobytes())
    return digest.hexdigest()[:16]
