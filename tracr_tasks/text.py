"""The text form of a program: one assignment a line, which parses back to the same program.

    vocab = {0, 1, 2, 3, 4}
    max_seq_len = 5
    attention = bidirectional
    v1 = select(tokens, indices, ==)
    v2 = selector_width(v1)
    v3 = map(x + 1, tokens)
    v4 = sequence_map(x * y, v2, v3)
    out = aggregate(v1, v4, default=0)

The other operations are linear(a, b, x, y), constant(v), numerical(x), categorical(x), selector_and(s, t),
selector_or(s, t) and selector_not(s). A predicate is one of == != < <= > >= (key OP query), true, false, or an
expression in k and q. Canonical text names lines v1, v2, ... in the order of a depth-first walk from the output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, Value, is_number, literal
from tracr_tasks.functions import Function, function, predicate
from tracr_tasks.trace import INPUTS, Node

MAX_LINES = 300
MAX_DEPTH = 20
"""Operations written inside each other on one line."""
NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)\s*=(?!=)\s*(.*)")
CALL = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)\s*\((.*)\)", re.DOTALL)
HEADER = ("vocab", "max_seq_len", "attention")


# writing


def format_program(program: rasp.Program, header: bool = True) -> str:
    """A program's canonical text, with or without its three header lines; no newline at the end."""
    lines = []
    if header:
        lines.append("vocab = {" + ", ".join(literal(token) for token in program.exact_vocab) + "}")
        lines.append(f"max_seq_len = {program.max_seq_len}")
        lines.append(f"attention = {'causal' if program.causal else 'bidirectional'}")
    lines += [f"{node.name} = {format_node(node, program.nodes)}" for node in program.nodes if node.line is not None]
    return "\n".join(lines)


def format_node(node: Node, nodes: Sequence[Node]) -> str:
    """The right-hand side of a node's line."""
    args = [nodes[place].name for place in node.args]
    params = [p.text if isinstance(p, Function) else literal(p) for p in node.params]
    if node.op in INPUTS:
        return node.op
    if node.op == "select":
        parts = [*args, *params]
    elif node.op == "aggregate":
        parts = [*args] + ([f"default={params[0]}"] if node.params[0] is not None else [])
    else:
        parts = [*params, *args]
    return f"{node.op}({', '.join(parts)})"


# reading


def parse_program(
    text: str, vocab: Sequence[Value] | None = None, max_seq_len: int | None = None, causal: bool | None = None
) -> rasp.Program:
    """Read a program; what the text's header does not give must come from the arguments (which win).

    Raises:
        ProgramError: with every reason and its line.
    """
    reader = _Reader()
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise ProgramError([Reason(None, f"a program of over {MAX_LINES} lines")])
    reader.collect_names(lines)
    for number, line in enumerate(lines, start=1):
        reader.read_line(number, line)
    return reader.finish(vocab, max_seq_len, causal)


class _Refused(Exception):
    """Why a line is refused; caught by the reader, which goes on with the next."""


class _Broken(rasp.SOp, rasp.Selector):
    """What a refused line defines, so that its users are not refused too."""


class _Reader:
    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.names: dict[str, rasp.Expression] = {"tokens": rasp.TOKENS, "indices": rasp.INDICES, "length": rasp.LENGTH}
        self.defined_at: dict[str, int] = {}
        self.header: dict[str, Any] = {}

    def collect_names(self, lines: Sequence[str]) -> None:
        for number, line in enumerate(lines, start=1):
            match = ASSIGNMENT.match(line.strip())
            if match:
                self.defined_at.setdefault(match[1], number)

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
                raise _Refused(f"{name!r} is a word of the language and cannot be assigned")
            if name in self.names:
                raise _Refused(f"{name!r} is assigned twice")
            self.names[name] = self.expression(right, number)
        except _Refused as error:
            self.reasons.append(Reason(number, str(error)))
            self.names.setdefault(name, _Broken())
        except ProgramError as error:
            self.reasons += [Reason(number, reason.text) for reason in error.reasons]
            self.names.setdefault(name, _Broken())

    def expression(self, text: str, number: int, depth: int = 0) -> rasp.Expression:
        """The expression that a right-hand side denotes."""
        if depth > MAX_DEPTH:
            raise _Refused(f"operations inside each other over {MAX_DEPTH} deep")
        if NAME.fullmatch(text):
            return self.lookup(text, number)
        match = CALL.fullmatch(text)
        if not match:
            raise _Refused(f"{text!r} is not an operation")
        if match[1] not in READERS:
            raise _Refused(f"unknown operation {match[1]!r}; the operations are {', '.join(READERS)}")
        return READERS[match[1]](_Arguments(self, match[1], split_arguments(match[2]), number, depth + 1))

    def lookup(self, name: str, number: int) -> rasp.Expression:
        if name in self.names:
            return self.names[name]
        line = self.defined_at.get(name)
        if line == number:
            raise _Refused(f"{name!r} is defined by itself")
        raise _Refused(f"unknown name {name!r}" if line is None else f"{name!r} is used before its line {line}")

    def finish(self, vocab: Sequence[Value] | None, max_seq_len: int | None, causal: bool | None) -> rasp.Program:
        """The program of all lines read, header and arguments together."""
        vocab = self.header.get("vocab") if vocab is None else vocab
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
        if vocab is not None:
            length = 1 if max_seq_len is None else max_seq_len
            self.reasons += [Reason(None, text) for text in rasp.vocabulary_reasons(vocab, length)]
        if self.reasons:
            raise ProgramError(self.reasons)
        assert isinstance(output, rasp.SOp) and vocab is not None and max_seq_len is not None
        program = rasp.Program(output, tuple(vocab), max_seq_len, bool(causal))
        assert program.nodes, "a program has nodes"
        return program


class _Arguments:
    """The arguments of one operation; every method reads one and refuses it with its place."""

    def __init__(self, reader: _Reader, op: str, texts: Sequence[str], number: int, depth: int):
        self.reader, self.op, self.texts, self.number, self.depth = reader, op, list(texts), number, depth

    def expect(self, count: int, form: str) -> None:
        if len(self.texts) != count:
            raise _Refused(f"{self.op} has {len(self.texts)} arguments where {form} was expected")

    def sop(self, place: int) -> Any:
        found = self.reader.expression(self.texts[place], self.number, self.depth)
        if not isinstance(found, rasp.SOp):
            raise _Refused(f"argument {place + 1} of {self.op} must be an S-op; {self.texts[place]!r} is a selector")
        return found

    def selector(self, place: int) -> Any:
        found = self.reader.expression(self.texts[place], self.number, self.depth)
        if not isinstance(found, rasp.Selector):
            raise _Refused(f"argument {place + 1} of {self.op} must be a selector; {self.texts[place]!r} is an S-op")
        return found

    def value(self, place: int) -> Any:
        return plain_literal(self.texts[place])


def read_header(name: str, right: str) -> Any:
    """The value of a header line."""
    if name == "attention":
        if right not in ("causal", "bidirectional"):
            raise _Refused(f"attention is causal or bidirectional, not {right!r}")
        return right == "causal"
    if name == "max_seq_len":
        if not right.isdigit():
            raise _Refused(f"max_seq_len is a whole number, not {right!r}")
        return int(right)
    if not (right.startswith("{") and right.endswith("}")):
        raise _Refused("a vocabulary is written {token, token, ...}")
    return tuple(plain_literal(part) for part in split_arguments(right[1:-1]))


def plain_literal(text: str) -> Any:
    """A number, a string or none as written."""
    return function(text, ())()


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


def split_arguments(text: str) -> list[str]:
    """The parts of an argument list between commas that are in no bracket and no string."""
    parts, depth, quote, start = [], 0, "", 0
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[place - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    parts.append(text[start:].strip())
    return [] if parts == [""] else parts


def _read_map(a: _Arguments) -> rasp.Expression:
    a.expect(2, "map(function, s-op)")
    return rasp.Map(function(a.texts[0]), a.sop(1))


def _read_sequence_map(a: _Arguments) -> rasp.Expression:
    a.expect(3, "sequence_map(function, s-op, s-op)")
    return rasp.SequenceMap(function(a.texts[0], ("x", "y")), a.sop(1), a.sop(2))


def _read_linear(a: _Arguments) -> rasp.Expression:
    a.expect(4, "linear(number, number, s-op, s-op)")
    weights = [a.value(place) for place in (0, 1)]
    if not all(is_number(weight) for weight in weights):
        raise _Refused("the weights of linear must be numbers")
    return rasp.LinearSequenceMap(weights[0], weights[1], a.sop(2), a.sop(3))


def _read_select(a: _Arguments) -> rasp.Expression:
    a.expect(3, "select(keys, queries, predicate)")
    return rasp.Select(a.sop(0), a.sop(1), predicate(a.texts[2]))


def _read_aggregate(a: _Arguments) -> rasp.Expression:
    default: Exact = None
    if len(a.texts) == 3 and (match := re.fullmatch(r"default\s*=\s*(.+)", a.texts[2], re.DOTALL)):
        default = plain_literal(match[1])
        a.texts.pop()
    a.expect(2, "aggregate(selector, s-op) or aggregate(selector, s-op, default=value)")
    return rasp.Aggregate(a.selector(0), a.sop(1), default)


def _read_constant(a: _Arguments) -> rasp.Expression:
    a.expect(1, "constant(value)")
    return rasp.Constant(a.value(0))


def _read_selector_width(a: _Arguments) -> rasp.Expression:
    a.expect(1, "selector_width(selector)")
    return rasp.SelectorWidth(a.selector(0))


def _read_selector_not(a: _Arguments) -> rasp.Expression:
    a.expect(1, "selector_not(selector)")
    return rasp.SelectorNot(a.selector(0))


def _read_two_selectors(a: _Arguments) -> rasp.Expression:
    a.expect(2, f"{a.op}(selector, selector)")
    kind = rasp.SelectorAnd if a.op == "selector_and" else rasp.SelectorOr
    return kind(a.selector(0), a.selector(1))


def _read_encoded(a: _Arguments) -> rasp.Expression:
    a.expect(1, f"{a.op}(s-op)")
    return rasp.Encoded("numerical" if a.op == "numerical" else "categorical", a.sop(0))


READERS: dict[str, Callable[[_Arguments], rasp.Expression]] = {
    "map": _read_map,
    "sequence_map": _read_sequence_map,
    "linear": _read_linear,
    "select": _read_select,
    "selector_width": _read_selector_width,
    "aggregate": _read_aggregate,
    "constant": _read_constant,
    "numerical": _read_encoded,
    "categorical": _read_encoded,
    "selector_and": _read_two_selectors,
    "selector_or": _read_two_selectors,
    "selector_not": _read_selector_not,
}
