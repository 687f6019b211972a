"""Other conditions that may say the same as a flowchart's own, everywhere or in one of its branches.

    pos 1 equals pos 4          where pos 1 is a, the same as: pos 4 is a
    first in {a, b}             where pos 1 is not a: pos 1 is b; everywhere: not first in {the other tokens}
    first a before first b      where b does not occur: has a; where one of them does: not first b before first a

The canonical form picks among all of them, so that one function has one text in spite of such equalities. The rules
treat all tokens alike, and all positions where no condition depends on order: renaming commutes with them.

They are not complete. Where no condition depends on order, `pos 1 is a` and `pos 1 is b` are not gathered into a set,
and coincidences of counts are not looked for. Of 2,500 functions of at most two questions and two answers (six tokens,
six positions) 2 had two texts, of 2,276 over four tokens and four positions 8.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, combinations, permutations
from typing import TypeVar

from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn, depends_on_order, order_of

MAX_ATOMS = 6
"""Groups of tokens that conditions on one position tell apart, up to which every union of groups is considered."""
MAX_CONDITIONS = 80
"""Where there would be more, a flowchart's own conditions are considered alone."""
Tokens = frozenset[str]
N = TypeVar("N", bound=Hashable)


@lru_cache(maxsize=65_536)
def alternatives(conditions: tuple[Condition, ...], vocab: tuple[str, ...], max_seq_len: int) -> tuple[Condition, ...]:
    """Conditions enough to ask all that `conditions` ask, in the order of `order_of`.

    A set of one token is written as `pos N is T`, one of more than half the vocabulary as its complement (with the
    branches exchanged), and one of the whole vocabulary, which asks nothing, is left out.
    """
    own = {form for condition in conditions for form in _forms(condition, vocab, max_seq_len)}
    found, before = own, set[Condition]()
    while found != before and len(found) <= MAX_CONDITIONS:
        before = found
        found = found | set(_about_places(found, vocab, max_seq_len)) | set(_about_first_occurrences(found))
        found |= set(_in_tiny_spaces(found, vocab, max_seq_len))
    return tuple(sorted(own if len(found) > MAX_CONDITIONS else found, key=order_of))


def _forms(condition: Condition, vocab: Sequence[str], max_seq_len: int) -> Iterator[Condition]:
    """A condition; one that asks for a set of tokens as it is to be written, or its complement."""
    if not isinstance(condition, FirstIn | LastIn):
        yield condition
        return
    for position, tokens in _place_of(condition, max_seq_len):
        for asked in (tokens, frozenset(vocab) - tokens):
            yield from _membership(position, asked, vocab, max_seq_len, True)


def _about_places(conditions: Iterable[Condition], vocab: Sequence[str], max_seq_len: int) -> Iterator[Condition]:
    """Conditions on the token of one position, and on two positions being equal.

    What is asked of one position may be asked of another that equals it. Where order matters, sets are considered for
    the first and the last position, and a token may be in the set or not if its presence is asked for besides.
    """
    conditions = list(conditions)
    wide = any(depends_on_order(condition) for condition in conditions)
    present = {frozenset((t,)) for c in conditions if isinstance(c, Contains | Before) for t in c.tokens}
    asked: dict[int, set[Tokens]] = {}
    for condition in conditions:
        for position, tokens in _place_of(condition, max_seq_len):
            asked.setdefault(position, set()).add(tokens)
    pairs = [(c.position, c.other) for c in conditions if isinstance(c, Equals)]
    for group in _components(chain(pairs, ((position, position) for position in asked))):
        yield from (Equals(one, other) for one, other in combinations(group, 2))
        sets = set().union(*(asked.get(position, set()) for position in group))
        if wide and any(len(tokens) > 1 for tokens in sets):
            sets |= present
        for tokens in _unions(sets, vocab):
            for position in group:
                yield from _membership(position, tokens, vocab, max_seq_len, wide)


def _place_of(condition: Condition, max_seq_len: int) -> Iterator[tuple[int, Tokens]]:
    """The position and the tokens that a condition asks of it, if it is of that kind."""
    match condition:
        case At(position, token):
            yield position, frozenset((token,))
        case FirstIn(tokens):
            yield 1, frozenset(tokens)
        case LastIn(tokens):
            yield max_seq_len, frozenset(tokens)


def _membership(
    position: int, tokens: Tokens, vocab: Sequence[str], max_seq_len: int, wide: bool
) -> Iterator[Condition]:
    """How to ask whether a position has one of the tokens; `wide` allows for sets of several."""
    if len(tokens) == 1:
        yield from (At(position, token) for token in tokens)
    elif wide and 2 * len(tokens) <= len(vocab):
        if position == 1:
            yield FirstIn(tuple(tokens))
        elif position == max_seq_len:
            yield LastIn(tuple(tokens))


def _unions(sets: Iterable[Tokens], vocab: Sequence[str]) -> Iterator[Tokens]:
    """Sets of tokens that are all or nothing of each group that `sets` tell apart (the sets and their complements)."""
    sets = list(sets)
    groups: dict[tuple[bool, ...], set[str]] = {}
    for token in vocab:
        groups.setdefault(tuple(token in tokens for tokens in sets), set()).add(token)
    if len(groups) > MAX_ATOMS:
        yield from chain(sets, (frozenset(vocab) - tokens for tokens in sets))
        return
    for size in range(1, len(groups)):
        for chosen in combinations(groups.values(), size):
            yield frozenset().union(*chosen)


def _about_first_occurrences(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """Presence and order of all tokens that `before` compares, directly or through others."""
    conditions = list(conditions)
    second = {c.token for c in conditions if isinstance(c, At) and c.position == 2}
    for group in _components((c.token, c.other) for c in conditions if isinstance(c, Before)):
        yield from (Contains(token) for token in group)
        yield from (Before(token, other) for token, other in permutations(group, 2))
        if second & set(group):  # where pos 2 is b, the same as `first a before first b`: pos 1 is a
            yield from (At(1, token) for token in group)


def _in_tiny_spaces(conditions: Iterable[Condition], vocab: Sequence[str], max_seq_len: int) -> Iterator[Condition]:
    """What is the same where there are two tokens, one wherever the other is not, or where there is one position."""
    two = len(vocab) == 2
    for condition in conditions if two or max_seq_len == 1 else ():
        match condition:
            case Before() | Contains() if max_seq_len == 1:
                yield from (At(1, token) for token in (vocab if two else condition.tokens))
            case Before(token, other):
                yield from (At(1, token), At(1, other))
            case Contains(token):
                yield from (AtLeast(max_seq_len, other) for other in vocab if other != token)
            case AtLeast(count, token) if two:
                rest = max_seq_len - count + 1
                yield from (AtLeast(rest, t) if rest > 1 else Contains(t) for t in vocab if t != token)


def _components(pairs: Iterable[tuple[N, N]]) -> list[list[N]]:
    """What is joined by pairs, directly or through others; each group sorted."""
    groups: list[set[N]] = []
    for pair in pairs:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if not group & set(pair)] + [set(pair).union(*joined)]
    return [sorted(group) for group in groups]  # type: ignore[type-var]
