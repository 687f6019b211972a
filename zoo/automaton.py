"""A flowchart's conditions as one automaton that reads a sequence from left to right.

Its state is a row of registers, one a condition: how often a token occurred (up to the count that is asked), which of
two tokens came first, whether a position had the token asked for, or a token that a later one is to be compared with.
There are few such rows where there are many inputs, so which truth values occur together, how many inputs have them,
and random inputs that have them are all found exactly, whatever the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from tracr_tasks.errors import ProgramError, Reason
from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn, TokenIds
from zoo.flowchart_config import MAX_STATES

EVERYWHERE = 0
"""Key of a register's table that holds at every position."""
Cell = tuple[bool, ...]
"""Truth values of some conditions, in their order."""


@dataclass(frozen=True)
class Register:
    """What is remembered for one condition: a number, 0 before the first token."""

    tables: dict[int, Int[np.ndarray, "value symbol"]]
    """Position (or EVERYWHERE) -> next number by number and symbol read. Where there is no table, it stays."""
    true_at: int
    """The number at the end of the sequences of which the condition holds."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """Every state that some sequence leads to, by position."""

    symbols: tuple[str | None, ...]
    """Tokens told apart; None stands for all others."""
    weights: Float[np.ndarray, " symbol"]
    """Tokens that a symbol stands for."""
    moves: tuple[Int[np.ndarray, "_ symbol"], ...]
    """By position: the state after it (a row of the next array), by state before it and symbol read."""
    truth: Bool[np.ndarray, "state condition"]
    """Which conditions hold, by last state."""

    def counts(self) -> Float[np.ndarray, " state"]:
        """Inputs that end in each last state: exact where there are at most 2^53 inputs, else rounded."""
        now: Float[np.ndarray, " state"] = np.ones(1)
        for moves in self.moves:
            now = np.bincount(moves.ravel(), weights=(now[:, None] * self.weights).ravel())
        return now

    def draw(
        self, wanted: Bool[np.ndarray, " state"], vocab: Sequence[str], inputs: int, rng: np.random.Generator
    ) -> TokenIds:
        """Inputs (indices into `vocab`) drawn evenly from those that end in a wanted last state; there must be one."""
        ways = self._ways(wanted)
        state, read = np.zeros(inputs, dtype=np.int64), np.zeros((inputs, len(self.moves)), dtype=np.int64)
        for position, moves in enumerate(self.moves):
            chances = (self.weights * ways[position + 1][moves[state]]).cumsum(1)
            passed = chances <= rng.random((inputs, 1)) * chances[:, -1:]
            last = (chances < chances[:, -1:]).sum(1)  # the product above may be rounded up to the sum of all chances
            read[:, position] = np.minimum(passed.sum(1), last)
            state = moves[state, read[:, position]]
        return self._tokens(read, vocab, rng)

    def least(self, wanted: Bool[np.ndarray, " state"], vocab: Sequence[str]) -> list[int]:
        """The first input (indices into `vocab`), in the order of names, that ends in a wanted last state; there must
        be one."""
        ways, state, read = self._ways(wanted), 0, list[int]()
        symbols = [self.symbols.index(name if name in self.symbols else None) for name in vocab]
        by_name = sorted(range(len(vocab)), key=vocab.__getitem__)
        for moves, after in zip(self.moves, ways[1:], strict=True):
            read.append(next(i for i in by_name if after[moves[state, symbols[i]]] > 0))
            state = moves[state, symbols[read[-1]]]
        return read

    def _ways(self, wanted: Bool[np.ndarray, " state"]) -> list[Float[np.ndarray, " _"]]:
        """By position, from before the first token to after the last: inputs that lead from each state to a wanted last
        one."""
        ways = [wanted.astype(np.float64)]
        for moves in reversed(self.moves):
            ways.append((self.weights * ways[-1][moves]).sum(1))
        ways.reverse()
        assert ways[0][0] > 0, "no input ends in a wanted state"
        return ways

    def _tokens(self, read: TokenIds, vocab: Sequence[str], rng: np.random.Generator) -> TokenIds:
        """A token for each symbol."""
        out = np.zeros_like(read)
        for number, symbol in enumerate(self.symbols):
            here = read == number
            tokens = [
                i for i, name in enumerate(vocab) if (name not in self.symbols if symbol is None else name == symbol)
            ]
            out[here] = np.array(tokens)[rng.integers(0, len(tokens), int(here.sum()))]
        return out


@lru_cache(maxsize=512)
def automaton(conditions: tuple[Condition, ...], vocab: tuple[str, ...], max_seq_len: int) -> Automaton:
    """The automaton of some conditions over sequences of `max_seq_len` tokens of `vocab`.

    Raises:
        ProgramError: it has more than 100,000 states after some position.
    """
    symbols, weights = _symbols(conditions, vocab)
    registers = [_register(condition, symbols, max_seq_len) for condition in conditions]
    states, moves = np.zeros((1, len(registers)), dtype=np.int32), []
    for position in range(1, max_seq_len + 1):
        after = np.repeat(states[:, None], len(symbols), 1)
        for i, register in enumerate(registers):
            table = register.tables.get(position, register.tables.get(EVERYWHERE))
            if table is not None:
                after[:, :, i] = table[states[:, i]]
        states, index = _distinct(after.reshape(len(states) * len(symbols), len(registers)))
        if len(states) > MAX_STATES:
            asked = "; ".join(condition.text() for condition in conditions)
            raise ProgramError(
                [Reason(None, f"more than {MAX_STATES} joint states; ask fewer questions than: {asked}")]
            )
        moves.append(index.reshape(after.shape[:2]))
    truth = states == np.array([register.true_at for register in registers], dtype=np.int32)
    return Automaton(symbols, weights, tuple(moves), truth)


@lru_cache(maxsize=65_536)
def reachable_cells(conditions: tuple[Condition, ...], vocab: tuple[str, ...], max_seq_len: int) -> tuple[Cell, ...]:
    """Every combination of truth values that some input has, sorted (see `automaton` for what is raised)."""
    cells = np.unique(automaton(conditions, vocab, max_seq_len).truth, axis=0)
    return tuple(tuple(bool(value) for value in cell) for cell in cells)


def _symbols(
    conditions: Sequence[Condition], vocab: Sequence[str]
) -> tuple[tuple[str | None, ...], Float[np.ndarray, " symbol"]]:
    """The tokens that are named (all of them where tokens are compared), and one symbol for the others, if any."""
    compared = any(isinstance(condition, Equals) for condition in conditions)
    named = {token for condition in conditions for token in condition.tokens}
    told = [token for token in vocab if compared or token in named]
    others = [] if len(told) == len(vocab) else [None]
    return (*told, *others), np.array([1.0] * len(told) + [float(len(vocab) - len(told))] * len(others))


def _register(condition: Condition, symbols: Sequence[str | None], max_seq_len: int) -> Register:
    """The register of one condition."""
    match condition:
        case At(position, token):
            return Register({position: _member(symbols, (token,))}, 1)
        case Contains(token):
            return Register({EVERYWHERE: _counter(symbols, token, 1)}, 1)
        case AtLeast(count, token):
            return Register({EVERYWHERE: _counter(symbols, token, count)}, count)
        case Before(token, other):
            came = np.zeros((3, len(symbols)), dtype=np.int32)  # 0: neither yet, 1: token, 2: other
            came[0, symbols.index(token)], came[0, symbols.index(other)], came[1], came[2] = 1, 2, 1, 2
            return Register({EVERYWHERE: came}, 1)
        case Equals(position, other_position):
            n = len(symbols)
            kept = np.arange(1, n + 1, dtype=np.int32)[None]
            same = np.concatenate([np.zeros((1, n), dtype=np.int32), np.eye(n, dtype=np.int32)])
            return Register({position: kept, other_position: same}, 1)
        case FirstIn(tokens):
            return Register({1: _member(symbols, tokens)}, 1)
        case LastIn(tokens):
            return Register({max_seq_len: _member(symbols, tokens)}, 1)


def _member(symbols: Sequence[str | None], tokens: Sequence[str]) -> Int[np.ndarray, "1 symbol"]:
    """1 if the symbol is one of the tokens."""
    return np.array([[symbol in tokens for symbol in symbols]], dtype=np.int32)


def _counter(symbols: Sequence[str | None], token: str, most: int) -> Int[np.ndarray, "value symbol"]:
    """One more at each occurrence of the token, up to `most`."""
    table = np.repeat(np.arange(most + 1, dtype=np.int32)[:, None], len(symbols), 1)
    table[:most, symbols.index(token)] += 1
    return table


def _distinct(
    rows: Int[np.ndarray, "row register"],
) -> tuple[Int[np.ndarray, "state register"], Int[np.ndarray, " row"]]:
    """The rows that differ, and which of them each row is."""
    if rows.shape[1] == 0:
        return rows[:1], np.zeros(len(rows), dtype=np.int64)
    packed = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, index = np.unique(packed, return_index=True, return_inverse=True)
    return rows[first], index.reshape(-1)
