"""Programs about how the tokens lie together: neighbours, runs, patterns, mirror images and brackets."""

from __future__ import annotations

from collections.abc import Sequence

from tracr_tasks.exact import Value
from tracr_tasks.library import parts
from tracr_tasks.library.entry import BRACKETS, entry
from tracr_tasks.library.kinds import Pairs, Positive, Token, Tokens
from tracr_tasks.library.parts import EARLIER, OPPOSITE, REPEATS, SAME, UP_TO_HERE, is_token, where
from tracr_tasks.rasp import INDICES, TOKENS, LinearSequenceMap, SelectorWidth, SOp, map_, select, sequence_map


@entry(example=("aabb", (0, 1, 0, 1)))
def same_as_previous() -> SOp:
    """Whether this token equals the one before it."""
    return REPEATS


@entry(example=("aaabb", (1, 2, 3, 1, 2)))
def run_length() -> SOp:
    """How many equal tokens in a row end here."""
    run = SelectorWidth(UP_TO_HERE & where(REPEATS, "k == 0"))
    return SelectorWidth(UP_TO_HERE & select(run, run, "=="))


@entry(example=("aabbb", (2, 2, 2, 2, 2)))
def count_runs() -> SOp:
    """How many runs of equal tokens there are."""
    return parts.counted(REPEATS, "k == 0")


@entry(example=("abca", (1, 1, 1, 1)))
def alternating() -> SOp:
    """Whether no token is followed by the same one."""
    return map_("x == 0", parts.counted(REPEATS, "k == 1"))


@entry(example=("abbba", (1, 1, 1, 0, 1)))
def window_any(*, token: Token = "a", width: Positive = 3) -> SOp:
    """Whether a token is among the last `width` tokens, this one included."""
    window = select(INDICES, INDICES, f"k <= q and q < k + {width}")
    return map_("x > 0", SelectorWidth(window & where(TOKENS, is_token(token, "k"))))


@entry(example=("cabc", (1, 1, 1, 1)))
def contains(*, pattern: Tokens = ("a", "b")) -> SOp:
    """Whether the pattern occurs anywhere."""
    return map_("x > 0", parts.counted(parts.detected(pattern, default=0), "k == 1"))


@entry(example=("abca", (1, 0, 0, 1)))
def palindrome() -> SOp:
    """Whether this token equals its mirror image."""
    return SelectorWidth(SAME & select(INDICES, OPPOSITE, "=="))


@entry(example=("abba", (1, 1, 1, 1)))
def is_palindrome() -> SOp:
    """Whether the tokens are the same read backwards."""
    mirrored = SelectorWidth(SAME & select(INDICES, OPPOSITE, "=="))
    return map_("x == 0", parts.counted(mirrored, "k == 0"))


# brackets


@entry(example=("(()a)", (1, 2, 1, 1, 0)), vocab=BRACKETS)
def depth(*, open: Token = "(", close: Token = ")") -> SOp:
    """How many brackets are open after this token; negative where more were closed than opened."""
    return parts.depth(open, close)


@entry(example=("(())a", (2, 2, 2, 2, 2)), vocab=BRACKETS)
def max_depth(*, open: Token = "(", close: Token = ")") -> SOp:
    """The most brackets that are open after some token; 0 where there never is one."""
    return parts.greatest(parts.depth(open, close))


@entry(example=("([a])", (1, 1, 1, 1, 1)), vocab=("(", ")", "[", "]", "a"))
def dyck(*, pairs: Pairs = ("()", "[]")) -> SOp:
    """Whether brackets of several kinds are balanced and properly nested, so that none crosses another."""
    openers, closers = ([pair[side] for pair in pairs] for side in (0, 1))
    opened = SelectorWidth(UP_TO_HERE & where(TOKENS, _is_one(openers, "k")))
    closed = SelectorWidth(EARLIER & where(TOKENS, _is_one(closers, "k")))
    # both brackets of a pair have one level, and follow each other among those of their level
    level = LinearSequenceMap(1, -1, opened, closed)
    same_level = select(level, level, "==")
    is_bracket = where(TOKENS, _is_one([*openers, *closers], "k"))
    turn = SelectorWidth(UP_TO_HERE & same_level & is_bracket)
    fits = " or ".join(f"{is_token(opener, 'k')} and {is_token(closer, 'q')}" for opener, closer in pairs)
    partners = SelectorWidth(same_level & select(turn, turn, "k + 1 == q") & select(TOKENS, TOKENS, fits))
    unmatched = sequence_map("x and y == 0", map_(_is_one(closers, "x"), TOKENS), partners)
    totals = (parts.counted(TOKENS, _is_one(tokens, "k")) for tokens in (openers, closers))
    return sequence_map("x == 0 and y", parts.counted(unmatched, "k == 1"), sequence_map("x == y", *totals))


def _is_one(tokens: Sequence[Value], name: str) -> str:
    """The text of the test whether something is one of the tokens."""
    return " or ".join(is_token(token, name) for token in tokens)
