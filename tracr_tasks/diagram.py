"""A compiled program as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.entities import codepoint2name

from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.text import format_node
from tracr_tasks.trace import INPUTS, Node
from tracr_tasks.wiring import Component, components

MAX_LABEL = 80
"""Characters of a line in the diagram; a longer one is cut."""
ROLES = {"select": ("keys", "queries"), "aggregate": ("", "values"), "sequence_map": ("x", "y"), "linear": ("x", "y")}
"""What the arguments of an operation are to it; those of the other operations need no name."""
SPECIAL = re.compile(r"[^\w ,.=+/()!'-]|(?<![^\W_])_|_(?![^\W_])|(?<!\d)\.|\.(?!\d)")
"""Characters that Mermaid, or the HTML and Markdown inside it, may take for more than themselves."""


def mermaid(compiled: CompiledProgram) -> str:
    """A flowchart with a node for each line, a box around those of each layer, and an arrow for each argument.

    Inputs are rounded, S-ops square and selectors hexagonal. A line is in the layer that finishes it, a selector in the
    first layer that uses it, and a line without components where its last argument is.
    """
    nodes, parts = compiled.program.nodes, components(compiled)
    layers = _layers(nodes, parts)
    lines = ["flowchart TD"]
    for layer in sorted(set(layers)):
        box = "embeddings" if layer < 0 else f"layer {layer}"
        lines.append(f'    subgraph {box.replace(" ", "")}["{box}"]')
        inside = [node for node, at in zip(nodes, layers, strict=True) if at == layer]
        lines += [f"        {_declaration(node, nodes, _where(parts[node.name], layer))}" for node in inside]
        lines.append("    end")
    return "\n".join(lines + [f"    {arrow}" for node in nodes for arrow in _arrows(node, nodes)])


def _layers(nodes: Sequence[Node], parts: Mapping[str, Sequence[Component]]) -> list[int]:
    """The layer of each node, -1 for the embeddings."""
    layers: list[int] = []
    for node in nodes:
        own = [component.layer for component in parts[node.name]] or [layers[arg] for arg in node.args]
        layers.append(min(own, default=-1) if node.is_selector else max(own, default=-1))
    return layers


def _where(parts: Sequence[Component], layer: int) -> str:
    """Components by name: first those of this layer, then others, each with its layer."""
    others = [str(part) for part in parts if part.layer != layer]
    return ", ".join([part.text for part in parts if part.layer == layer] + others)


def _declaration(node: Node, nodes: Sequence[Node], where: str) -> str:
    """The node's name, shape and label: its line, and under it where it is computed."""
    line = node.op if node.line is None else f"{node.name} = {format_node(node, nodes)}"
    if len(line) > MAX_LABEL:
        line = line[: MAX_LABEL - 4] + " ..."
    label = f"{escape(line)}<br/>{where}" if where else escape(line)
    if node.is_selector:
        return f'{node.name}{{{{"{label}"}}}}'
    return f'{node.name}(["{label}"])' if node.op in INPUTS else f'{node.name}["{label}"]'


def _arrows(node: Node, nodes: Sequence[Node]) -> list[str]:
    roles = ROLES.get(node.op, ("",) * len(node.args))
    return [
        f"{nodes[arg].name} -->{f'|{role}|' if role else ''} {node.name}"
        for arg, role in zip(node.args, roles, strict=True)
    ]


def escape(text: str) -> str:
    """The text for a quoted Mermaid label: special characters as `#lt;` or, where they have no name, `#91;`."""
    return SPECIAL.sub(lambda found: f"#{codepoint2name.get(ord(found[0]), ord(found[0]))};", text)
