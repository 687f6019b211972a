"""What each program of the library computes, in plain Python that knows nothing of RASP: the judge of test_library.py.

A reference takes the tokens and the program's parameters (caesar also the vocabulary); it gives one value a position.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, groupby, pairwise
from typing import Any

Tokens = list[Any]
REFERENCES: dict[str, Callable[..., list[Any]]] = {}  # filled by the three decorators


def per_position(function: Callable[..., Any]) -> Any:
    """A reference that gives the value at position i of tokens t."""
    REFERENCES[function.__name__] = lambda t, **given: [function(t, i, **given) for i in range(len(t))]
    return function


def everywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that gives one value for all positions."""
    REFERENCES[function.__name__] = lambda t, **given: [function(t, **given)] * len(t)
    return function


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that gives the list of values itself."""
    REFERENCES[function.__name__] = function
    return function


# Tracr's library


@everywhere
def length(t: Tokens) -> int:
    return len(t)


@whole
def reverse(t: Tokens) -> Tokens:
    return t[::-1]


@per_position
def pair_balance(t: Tokens, i: int, open: Any = "(", close: Any = ")") -> Fraction:
    return Fraction(t[: i + 1].count(open) - t[: i + 1].count(close), i + 1)


@everywhere
def shuffle_dyck(t: Tokens, pairs: Sequence[Any] = ("()",)) -> bool:
    def heights(opening: Any, closing: Any) -> list[int]:
        return list(accumulate((token == opening) - (token == closing) for token in t))

    return all(min(heights(*pair)) >= 0 and heights(*pair)[-1] == 0 for pair in pairs)


@everywhere
def shuffle_dyck2(t: Tokens) -> bool:
    return shuffle_dyck(t, ("()", "{}"))


@per_position
def hist(t: Tokens, i: int) -> int:
    return Counter(t)[t[i]]


@whole
def sort_unique(t: Tokens) -> Tokens:
    return [x for x, same in groupby(sorted(t)) for x in [x, *[None] * (len(list(same)) - 1)]]


@whole
def sort(t: Tokens, min_key: float = 1) -> Tokens:
    return sorted(t)


@whole
def sort_freq(t: Tokens) -> Tokens:
    return sorted(t, key=lambda token: -t.count(token))


@per_position
def frac_prevs(t: Tokens, i: int, token: Any = "a") -> Fraction:
    return Fraction(t[: i + 1].count(token), i + 1)


@per_position
def shift_by(t: Tokens, i: int, offset: int = 1) -> Any:
    return t[i - offset] if 0 <= i - offset < len(t) else None


@per_position
def detect_pattern(t: Tokens, i: int, pattern: Sequence[Any] = "abc") -> bool | None:
    start = i + 1 - len(pattern)
    return None if start < 0 else t[start : i + 1] == list(pattern)


@everywhere
def count_less_freq(t: Tokens, n: int = 2) -> int:
    return sum(times for times in Counter(t).values() if times <= n)


@everywhere
def count(t: Tokens, token: Any = "a") -> int:
    return t.count(token)


@per_position
def nary_sequencemap(t: Tokens, i: int, fn: str = "x + y - z", sops: Sequence[Any] = ()) -> Any:
    return {"x + y - z": t[i] + t[i] - i, "x * (y == w) + u": t[i] * (i == len(t)) + t.count(t[i])}[fn]


# counts


@per_position
def occurrence(t: Tokens, i: int) -> int:
    return t[: i + 1].count(t[i])


@per_position
def seen_before(t: Tokens, i: int) -> bool:
    return t[i] in t[:i]


@per_position
def deduplicate(t: Tokens, i: int, mark: Any = None) -> Any:
    return mark if t[i] in t[:i] else t[i]


@per_position
def only_once(t: Tokens, i: int, mark: Any = None) -> Any:
    return t[i] if t.count(t[i]) == 1 else mark


@everywhere
def count_distinct(t: Tokens) -> int:
    return len(set(t))


@per_position
def double_hist(t: Tokens, i: int) -> int:
    return sum(times == t.count(t[i]) for times in Counter(t).values())


@per_position
def bigram_count(t: Tokens, i: int) -> int:
    bigrams = list(zip([None, *t], t, strict=False))
    return bigrams.count(bigrams[i])


@everywhere
def highest_count(t: Tokens) -> int:
    return max(Counter(t).values())


@per_position
def most_frequent(t: Tokens, i: int) -> bool:
    return t[i] in statistics.multimode(t)


@everywhere
def majority(t: Tokens, token: Any = "a") -> bool:
    return t.count(token) > len(t) / 2


@per_position
def in_majority(t: Tokens, i: int) -> bool:
    return majority(t, t[i])


@everywhere
def parity(t: Tokens, token: Any = "a") -> int:
    return t.count(token) & 1


# places


@everywhere
def first(t: Tokens) -> Any:
    return t[0]


@everywhere
def last(t: Tokens) -> Any:
    return t[-1]


@everywhere
def token_at(t: Tokens, place: int = 1) -> Any:
    return t[place] if place < len(t) else None


@whole
def rotate(t: Tokens, offset: int = 1) -> Tokens:
    return [t[(place - offset) % len(t)] for place in range(len(t))]


@whole
def swap_pairs(t: Tokens) -> Tokens:
    return [token for start in range(0, len(t), 2) for token in t[start : start + 2][::-1]]


@whole
def interleave(t: Tokens) -> Tokens:
    half = (len(t) + 1) // 2
    mixed = [token for pair in zip(t[:half], t[half:], strict=False) for token in pair]
    return mixed + t[half - 1 : half] * (len(t) % 2)


@per_position
def first_occurrence(t: Tokens, i: int) -> int:
    return t.index(t[i])


@per_position
def last_occurrence(t: Tokens, i: int) -> int:
    return len(t) - 1 - t[::-1].index(t[i])


@per_position
def previous_distance(t: Tokens, i: int) -> int:
    return t[:i][::-1].index(t[i]) + 1 if t[i] in t[:i] else 0


@per_position
def induction(t: Tokens, i: int, offset: int = 1) -> Any:
    if t[i] not in t[:i]:
        return None
    found = i - previous_distance(t, i) + offset
    return t[found] if found < len(t) else None


# order


@everywhere
def minimum(t: Tokens) -> Any:
    return min(t)


@everywhere
def maximum(t: Tokens) -> Any:
    return max(t)


@everywhere
def argmax(t: Tokens) -> int:
    return t.index(max(t))


@everywhere
def median(t: Tokens) -> Any:
    return statistics.median_low(t)


@per_position
def count_smaller(t: Tokens, i: int) -> int:
    return sum(token < t[i] for token in t)


@per_position
def rank(t: Tokens, i: int) -> int:
    return sorted(set(t)).index(t[i])


@per_position
def record(t: Tokens, i: int) -> bool:
    return t[i] == max(t[: i + 1])


@everywhere
def is_sorted(t: Tokens) -> bool:
    return t == sorted(t)


# arithmetic


@everywhere
def mean(t: Tokens) -> Fraction:
    return statistics.mean(map(Fraction, t))


@everywhere
def total(t: Tokens) -> Any:
    return sum(t)


@everywhere
def modular_sum(t: Tokens, modulus: int = 5) -> int:
    return sum(t) % modulus


@per_position
def difference(t: Tokens, i: int) -> Any:
    return t[i] - t[i - 1] if i else None


@per_position
def caesar(t: Tokens, i: int, vocab: Sequence[Any], shift: int = 1) -> Any:
    return vocab[(vocab.index(t[i]) + shift) % len(vocab)]


@per_position
def position_parity(t: Tokens, i: int) -> int:
    return i & 1


@per_position
def xor_previous(t: Tokens, i: int) -> int:
    number = int("".join(map(str, t[: i + 1])), 2)
    return (number ^ number >> 1) & 1


@per_position
def running_xor(t: Tokens, i: int) -> int:
    return sum(t[: i + 1]) & 1


@whole
def increment(t: Tokens) -> list[int]:
    number = int("".join(map(str, t)), 2) + 1
    return [number >> place & 1 for place in reversed(range(len(t)))]


# structure


@per_position
def same_as_previous(t: Tokens, i: int) -> bool:
    return i > 0 and t[i] == t[i - 1]


@whole
def run_length(t: Tokens) -> list[int]:
    return [place for _, run in groupby(t) for place, _ in enumerate(run, start=1)]


@everywhere
def count_runs(t: Tokens) -> int:
    return len(list(groupby(t)))


@everywhere
def alternating(t: Tokens) -> bool:
    return all(x != y for x, y in pairwise(t))


@per_position
def window_any(t: Tokens, i: int, token: Any = "a", width: int = 3) -> bool:
    return token in t[max(0, i + 1 - width) : i + 1]


@everywhere
def contains(t: Tokens, pattern: Sequence[Any] = "ab") -> bool:
    return any(t[start : start + len(pattern)] == list(pattern) for start in range(len(t)))


@per_position
def palindrome(t: Tokens, i: int) -> bool:
    return t[i] == t[-1 - i]


@everywhere
def is_palindrome(t: Tokens) -> bool:
    return t == t[::-1]


@per_position
def depth(t: Tokens, i: int, open: Any = "(", close: Any = ")") -> int:
    return t[: i + 1].count(open) - t[: i + 1].count(close)


@everywhere
def max_depth(t: Tokens, open: Any = "(", close: Any = ")") -> int:
    return max(0, *(depth(t, i, open, close) for i in range(len(t))))


@everywhere
def dyck(t: Tokens, pairs: Sequence[Any] = ("()", "[]")) -> bool:
    closing = {pair[0]: pair[1] for pair in pairs}
    expected: Tokens = []
    for token in t:
        if token in closing:
            expected.append(closing[token])
        elif token in closing.values() and (not expected or expected.pop() != token):
            return False
    return not expected
