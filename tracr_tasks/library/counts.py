"""Programs that count: how often a token occurs, how many differ, which is the most frequent."""

from __future__ import annotations

from tracr_tasks.exact import Value
from tracr_tasks.library import parts
from tracr_tasks.library.entry import entry
from tracr_tasks.library.kinds import Mark, Token
from tracr_tasks.library.parts import ALL, HIST, LENGTH, OCCURRENCE, SAME
from tracr_tasks.rasp import TOKENS, SelectorWidth, SOp, map_, select, sequence_map


@entry(example=("abaa", (1, 1, 2, 3)))
def occurrence() -> SOp:
    """How often this token has occurred up to here, itself included."""
    return OCCURRENCE


@entry(example=("aba", (0, 0, 1)))
def seen_before() -> SOp:
    """Whether this token occurred earlier."""
    return map_("x > 1", OCCURRENCE)


@entry(example=("abac", ("a", "b", None, "c")))
def deduplicate(vocab: tuple[Value, ...], *, mark: Mark = None) -> SOp:
    """This token where it occurs for the first time, a mark where it is a repetition."""
    return parts.kept(vocab, map_("x == 1", OCCURRENCE), mark)


@entry(example=("abac", (None, "b", None, "c")))
def only_once(vocab: tuple[Value, ...], *, mark: Mark = None) -> SOp:
    """This token where it occurs only once in the input, a mark elsewhere."""
    return parts.kept(vocab, map_("x == 1", HIST), mark)


@entry(example=("abac", (3, 3, 3, 3)))
def count_distinct() -> SOp:
    """How many different tokens there are."""
    return parts.counted(OCCURRENCE, "k == 1")


@entry(example=("aabbc", (2, 2, 2, 2, 1)))
def double_hist() -> SOp:
    """How many different tokens occur as often as this one, itself included."""
    return SelectorWidth(select(HIST, HIST, "==") & parts.where(OCCURRENCE, "k == 1"))


@entry(example=("abab", (1, 2, 1, 2)))
def bigram_count() -> SOp:
    """How often this token occurs with the same token before it; the start of the input counts as a token."""
    before = parts.shifted(TOKENS, 1, default="start of input")
    return SelectorWidth(SAME & select(before, before, "=="))


@entry(example=("abac", (2, 2, 2, 2)))
def highest_count() -> SOp:
    """How often the most frequent token occurs."""
    return parts.greatest(HIST)


@entry(example=("abcab", (1, 1, 0, 1, 1)))
def most_frequent() -> SOp:
    """Whether no token occurs more often than this one."""
    return map_("x == 0", SelectorWidth(select(HIST, HIST, ">")))


@entry(example=("aba", (1, 1, 1)))
def majority(*, token: Token = "a") -> SOp:
    """Whether more than half of the tokens are this token."""
    return map_("x > 0.5", parts.share(token, ALL))


@entry(example=("aba", (1, 0, 1)))
def in_majority() -> SOp:
    """Whether the token at this position makes up more than half of the input."""
    return sequence_map("2 * x > y", HIST, LENGTH)


@entry(example=("abaa", (1, 1, 1, 1)))
def parity(*, token: Token = "a") -> SOp:
    """Whether a token occurs an odd number of times."""
    return map_("x % 2", parts.counted(TOKENS, parts.is_token(token, "k")))
