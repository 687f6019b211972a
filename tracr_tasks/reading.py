"""Reading a program's text: line by line, going on after a line that is refused, so that every reason is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.arguments import READERS, Arguments, Refused, plain_literal, split_arguments
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Value, exact, plain
from tracr_tasks.trace import INPUTS

MAX_LINES = 300
MAX_TOKENS = 10_000
"""Of a vocabulary; the compiler takes fewer yet."""
MAX_DEPTH = 20
"""Operations written inside each other on one line."""
NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)\s*=(?!=)\s*(.*)")
CALL = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)\s*\((.*)\)", re.DOTALL)
HEADER = ("vocab", "max_seq_len", "attention")


@dataclass(frozen=True)
class ReadText:
    """What was read of a program's text: every line that is well formed, and why the others are not."""

    names: dict[str, rasp.Expression]
    """Well-formed lines that use well-formed ones only, by their names."""
    vocab: tuple[Value, ...] | None
    max_seq_len: int | None
    causal: bool
    reasons: tuple[Reason, ...]

    def program(self) -> rasp.Program:
        """The program.

        Raises:
            ProgramError: with every reason and its line.
        """
        if self.reasons:
            raise ProgramError(self.reasons)
        output = self.names["out"]
        assert isinstance(output, rasp.SOp) and self.vocab is not None and self.max_seq_len is not None
        return rasp.Program(output, self.vocab, self.max_seq_len, self.causal)


def read_program(
    text: str, vocab: Sequence[Value] | None = None, max_seq_len: int | None = None, causal: bool | None = None
) -> ReadText:
    """Read as much of a program as can be read (see `parse_program`)."""
    reader = _Reader()
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        return ReadText({}, None, None, False, (Reason(None, f"a program of over {MAX_LINES} lines"),))
    reader.collect_names(lines)
    for number, line in enumerate(lines, start=1):
        reader.read_line(number, line)
    return reader.finish(vocab, max_seq_len, causal)


class _Broken(rasp.SOp, rasp.Selector):  # type: ignore[misc]
    """What a refused line defines, so that its users are not refused too."""


class _Reader:
    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.names: dict[str, rasp.Expression] = {"tokens": rasp.TOKENS, "indices": rasp.INDICES, "length": rasp.LENGTH}
        self.sound = set(self.names)  # names that depend on no refused line
        self.is_sound = True  # whether the line being read does not either
        self.defined_at: dict[str, int] = {}
        self.mentions: dict[str, set[str]] = {}  # words of the line that defines a name
        self.header: dict[str, Any] = {}

    def collect_names(self, lines: Sequence[str]) -> None:
        for number, line in enumerate(lines, start=1):
            match = ASSIGNMENT.match(line.strip())
            if match and match[1] not in self.defined_at:
                self.defined_at[match[1]] = number
                self.mentions[match[1]] = set(NAME.findall(strip_comment(match[2])))

    def read_line(self, number: int, line: str) -> None:
        """Take in one line: a header field or an assignment."""
        line = strip_comment(line).strip()
        if not line:
            return
        match = ASSIGNMENT.fullmatch(line)
        if not match:
            self.reasons.append(Reason(number, f"{line!r} is not an assignment `name = operation(...)`"))
            return
        name, right = match[1], match[2].strip()
        try:
            if name in HEADER:
                self.header[name] = read_header(name, right)
                return
            if name in INPUTS or name in READERS or name in ("none", "true", "false"):
                raise Refused(f"{name!r} is a word of the language and cannot be assigned")
            if name in self.names:
                raise Refused(f"{name!r} is assigned twice")
            self.is_sound = True
            self.names[name] = self.expression(right, number)
            if self.is_sound:
                self.sound.add(name)
        except Refused as error:
            self.reasons.append(Reason(number, str(error)))
            self.names.setdefault(name, _Broken())
        except ProgramError as error:
            self.reasons += [Reason(number, reason.text) for reason in error.reasons]
            self.names.setdefault(name, _Broken())

    def expression(self, text: str, number: int, depth: int = 0) -> rasp.Expression:
        """The expression that a right-hand side denotes."""
        if depth > MAX_DEPTH:
            raise Refused(f"operations inside each other over {MAX_DEPTH} deep")
        if NAME.fullmatch(text):
            return self.lookup(text, number)
        match = CALL.fullmatch(text)
        if not match:
            raise Refused(f"{text!r} is not an operation")
        if match[1] not in READERS:
            known = _nearest(match[1], READERS) or f"; the operations are {', '.join(READERS)}"
            raise Refused(f"unknown operation {match[1]!r}{known}")
        inner = partial(self.expression, number=number, depth=depth + 1)
        found = READERS[match[1]](Arguments(inner, match[1], split_arguments(match[2])))
        object.__setattr__(found, "source_line", number)  # expressions are frozen, but this one is new
        return found

    def lookup(self, name: str, number: int) -> rasp.Expression:
        """What a name stands for; refused if nothing above this line defines it."""
        if name in self.names:
            self.is_sound &= name in self.sound
            return self.names[name]
        line = self.defined_at.get(name)
        if line is None:
            raise Refused(f"unknown name {name!r}{_nearest(name, self.names)}")
        if line == number or number in {self.defined_at.get(word) for word in self.needs(name)}:
            raise Refused(f"{name!r} is defined by itself" + ("" if line == number else f" (a cycle with line {line})"))
        raise Refused(f"{name!r} is used before its line {line}")

    def needs(self, name: str) -> set[str]:
        """The names that a name's line mentions, and those that these mention, and so on."""
        found: set[str] = set()
        pending = [name]
        while pending:
            for word in self.mentions.get(pending.pop(), set()) - found:
                found.add(word)
                pending.append(word)
        return found

    def finish(self, vocab: Sequence[Value] | None, max_seq_len: int | None, causal: bool | None) -> ReadText:
        """All lines read, header and arguments together."""
        vocab = self.header.get("vocab") if vocab is None else vocab
        tokens = None if vocab is None else tuple(plain(exact(token)) for token in vocab)
        max_seq_len = self.header.get("max_seq_len") if max_seq_len is None else max_seq_len
        causal = self.header.get("attention", False) if causal is None else causal
        output = self.names.get("out")
        if output is None:
            self.reasons.append(Reason(None, "no line `out = ...` gives the output"))
        elif not isinstance(output, rasp.SOp):
            self.reasons.append(Reason(self.defined_at["out"], "the output must be an S-op, not a selector"))
        if vocab is None:
            self.reasons.append(Reason(None, "no vocabulary: a line `vocab = {...}` or the argument was expected"))
        if max_seq_len is None:
            self.reasons.append(Reason(None, "no length: a line `max_seq_len = n` or the argument was expected"))
        if tokens is not None:
            length = 1 if max_seq_len is None else max_seq_len
            self.reasons += [Reason(None, text) for text in rasp.vocabulary_reasons(tokens, length)]
        names = {name: self.names[name] for name in self.defined_at if name in self.sound}
        return ReadText(names, tokens, max_seq_len, bool(causal), tuple(self.reasons))


def _nearest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def read_header(name: str, right: str) -> Any:
    """The value of a header line."""
    if name == "attention":
        if right not in ("causal", "bidirectional"):
            raise Refused(f"attention is causal or bidirectional, not {right!r}")
        return right == "causal"
    if name == "max_seq_len":
        if not re.fullmatch(r"[0-9]{1,18}", right):
            raise Refused(f"max_seq_len is a whole number, not {right!r}")
        return int(right)
    if not (right.startswith("{") and right.endswith("}")):
        raise Refused("a vocabulary is written {token, token, ...}")
    parts = split_arguments(right[1:-1])
    if len(parts) > MAX_TOKENS:
        raise Refused(f"a vocabulary of {len(parts):,} tokens, expected at most {MAX_TOKENS:,}")
    return tuple(plain_literal(part) for part in parts)


def strip_comment(line: str) -> str:
    """The line up to a `#` that is not inside a string."""
    quote = ""
    for place, char in enumerate(line):
        if quote:
            quote = "" if char == quote and line[place - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char == "#":
            return line[:place]
    return line
