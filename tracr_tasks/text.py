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

from collections.abc import Sequence

from tracr_tasks import rasp
from tracr_tasks.exact import Value, literal
from tracr_tasks.functions import Function
from tracr_tasks.reading import read_program
from tracr_tasks.trace import INPUTS, Node


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


def parse_program(
    text: str, vocab: Sequence[Value] | None = None, max_seq_len: int | None = None, causal: bool | None = None
) -> rasp.Program:
    """Read a program; what the text's header does not give must come from the arguments (which win).

    Raises:
        ProgramError: with every reason and its line.
    """
    return read_program(text, vocab, max_seq_len, causal).program()
