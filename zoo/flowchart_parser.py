"""Text of a flowchart -> Flowchart (tree.py has the grammar)."""

from __future__ import annotations

from collections.abc import Sequence

from tracr_tasks.errors import ProgramError, Reason
from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn
from zoo.flowchart import Flowchart
from zoo.tree import KEYWORDS, MAX_DEPTH, Question, Tree

MAX_TEXT = 100_000
"""Characters that are looked at before a text is refused."""


class _Words:
    """The words of a text, taken one after the other."""

    def __init__(self, text: str):
        self.words = text.split()
        self.next = 0

    def take(self, expected: str) -> str:
        """The next word; `expected` says what it should be, for the message."""
        if self.next == len(self.words):
            raise _refusal(f"the text ends where {expected} was expected")
        self.next += 1
        return self.words[self.next - 1]

    def keyword(self, word: str) -> None:
        """Take `word` or refuse."""
        if (got := self.take(repr(word))) != word:
            raise _refusal(f"word {self.next}: got {got[:40]!r}, expected {word!r}")


def parse_flowchart(text: str, vocab: Sequence[str], answers: Sequence[str], max_seq_len: int) -> Flowchart:
    """Read the text of a flowchart; line breaks and repeated spaces do not matter.

    Raises:
        ProgramError: text outside the grammar (the first such word), or names that do not fit (all of them).
    """
    return Flowchart(parse_tree(text), tuple(vocab), tuple(answers), max_seq_len)


def parse_tree(text: str) -> Tree:
    """Read a tree; whether its names fit a vocabulary is not looked at.

    Raises:
        ProgramError: text outside the grammar, with the first such word.
    """
    if len(text) > MAX_TEXT:
        raise _refusal(f"the text has {len(text)} characters, expected at most {MAX_TEXT}")
    words = _Words(text)
    root = _tree(words, 0)
    if words.next < len(words.words):
        raise _refusal(f"word {words.next + 1}: got {words.words[words.next][:40]!r}, expected the end of the text")
    return root


def _tree(words: _Words, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise _refusal(f"more than {MAX_DEPTH} questions in a row")
    word = words.take("an answer or 'if'")
    if word != "if":
        return _name(word, words, "an answer or 'if'")
    condition = _condition(words)
    words.keyword("then")
    yes = _tree(words, depth + 1)
    words.keyword("else")
    return Question(condition, yes, _tree(words, depth + 1))


def _condition(words: _Words) -> Condition:
    word = words.take("a condition")
    match word:
        case "pos":
            return _about_position(words)
        case "has":
            return Contains(_name(words.take("a token"), words, "a token"))
        case "first":
            return _about_first(words)
        case "last":
            words.keyword("in")
            return LastIn(_set(words))
    count = _number(word, words, "'pos', 'has', 'first', 'last' or a count")
    words.keyword("of")
    return AtLeast(count, _name(words.take("a token"), words, "a token"))


def _about_position(words: _Words) -> Condition:
    """What follows `pos`."""
    position = _number(words.take("a position"), words, "a position")
    match words.take("'is' or 'equals'"):
        case "is":
            return At(position, _name(words.take("a token"), words, "a token"))
        case "equals":
            words.keyword("pos")
            return Equals(position, _number(words.take("a position"), words, "a position"))
        case word:
            raise _refusal(f"word {words.next}: got {word[:40]!r}, expected 'is' or 'equals'")


def _about_first(words: _Words) -> Condition:
    """What follows `first`."""
    word = words.take("a token or 'in'")
    if word == "in":
        return FirstIn(_set(words))
    token = _name(word, words, "a token or 'in'")
    words.keyword("before")
    words.keyword("first")
    return Before(token, _name(words.take("a token"), words, "a token"))


def _set(words: _Words) -> tuple[str, ...]:
    """Tokens between braces, with commas between them."""
    taken = [words.take("a set such as {a, b}")]
    if not taken[0].startswith("{"):
        raise _refusal(f"word {words.next}: got {taken[0][:40]!r}, expected a set such as {{a, b}}")
    while not taken[-1].endswith("}"):
        taken.append(words.take("'}'"))
    names = [name.strip() for name in " ".join(taken)[1:-1].split(",")]
    for name in names:
        if name.split() != [name]:
            raise _refusal(f"word {words.next}: got {' '.join(taken)[:40]!r}, expected a set such as {{a, b}}")
        _name(name, words, "a token")
    return tuple(names)


def _name(word: str, words: _Words, expected: str) -> str:
    if word in KEYWORDS:
        raise _refusal(f"word {words.next}: got {word!r}, expected {expected}")
    return word


def _number(word: str, words: _Words, expected: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 6):
        raise _refusal(f"word {words.next}: got {word[:40]!r}, expected {expected}")
    return int(word)


def _refusal(text: str) -> ProgramError:
    return ProgramError([Reason(1, text)])
