"""A second lesson for decoders of compiled programs: what each head and neuron computes, and of what.

The text of a program says it all once, at its end; the loss on it is slow to teach which neuron is the one that reads
`3`. The compiler knows, so an encoder is also asked for each head and neuron: which lines it implements, and which
lines these are computed from. The net that answers is thrown away after training.

    v1 = map(x == 3, tokens)
    v2 = aggregate(select(tokens, indices, ==), v1, default=0)

    neuron   map(x == 3, _)                                      tokens
    head     select(_, _, ==) | aggregate(_, _, default=0)       tokens, indices, map(x == 3, _)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from oracle.batch import pad_stack
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.rasp import Program
from tracr_tasks.text import format_node
from tracr_tasks.trace import Node
from tracr_tasks.wiring import Component, owners

N_SOURCES = 3
"""What a component computes from is told up to so many lines."""
NOTHING = "-"
"""In place of a further line."""
UNKNOWN = 0
"""The place of texts that are not in the vocabulary, and of nodes that are no component."""

Texts = tuple[str, ...]
"""What a component computes, then what from."""


def component_texts(program: Program) -> list[Texts]:
    """The texts of each head and neuron of a program's transformer that writes, in the order of their nodes: layer by
    layer, heads before neurons."""
    compiled = compile_program(program)
    known: dict[tuple[int, str, int], Texts] = {}
    for component, nodes in owners(compiled).items():
        for place in _places(component):
            known[place] = _texts(nodes, compiled)
    return [known.get(place, (NOTHING,) * (1 + N_SOURCES)) for place in _writing(compiled)]


def _places(component: Component) -> list[tuple[int, str, int]]:
    """Layer, kind and number of each head or neuron."""
    if component.kind == "head":
        return [(component.layer, "head", component.start)]
    return [(component.layer, component.kind, i) for i in range(component.start, component.stop)]


def _writing(compiled: CompiledProgram) -> Iterable[tuple[int, str, int]]:
    """Those that write anything."""
    for layer in range(compiled.config.n_layers):
        for kind, name in (("head", "attn.W_O"), ("neurons", "mlp.W_out")):
            for i, written in enumerate(compiled.weights[f"blocks.{layer}.{name}"]):
                if bool(written.any()):
                    yield layer, kind, i


def _texts(lines: Sequence[Node], compiled: CompiledProgram) -> Texts:
    """What some lines compute together, and what from."""
    nodes, own = compiled.program.nodes, {node.name for node in lines}
    sources = [nodes[place] for node in lines for place in node.args if nodes[place].name not in own]
    told = [_bare(node, nodes) for node in sources[:N_SOURCES]]
    return " | ".join(_bare(node, nodes) for node in lines), *told, *[NOTHING] * (N_SOURCES - len(told))


def _bare(node: Node, nodes: Sequence[Node]) -> str:
    """A line without the names of what it is computed from."""
    text = format_node(node, nodes)
    for place in node.args:
        text = re.sub(rf"\b{re.escape(nodes[place].name)}\b", "_", text, count=1)
    return text


class Lesson(nn.Module):
    """Reads what each component computes off its token."""

    def __init__(self, known: Iterable[Sequence[Texts]], width: int, size: int = 600):
        """Args: texts of the components of the targets that are learned from; the width of tokens; how many texts are
        told apart, the most frequent ones."""
        super().__init__()
        counts = Counter(text for target in known for texts in target for text in texts)
        self.vocabulary = {text: 1 + i for i, (text, _) in enumerate(counts.most_common(size))}
        self.norm, self.read = nn.LayerNorm(width), nn.Linear(width, (1 + N_SOURCES) * (1 + len(self.vocabulary)))

    def truth(self, n_labels: int, texts: Sequence[Texts]) -> Int[Tensor, "node 4"]:
        """Places in the vocabulary, for the nodes of a target with so many labels."""
        rows = [[self.vocabulary.get(text, UNKNOWN) for text in each] for each in texts]
        found = torch.tensor(rows, dtype=torch.long).reshape(-1, 1 + N_SOURCES)
        return functional.pad(found, (0, 0, n_labels, 0), value=UNKNOWN)

    def forward(
        self, tokens: Float[Tensor, "batch node width"], truths: Sequence[Int[Tensor, "_ 4"] | None]
    ) -> Float[Tensor, ""]:
        """Mean over components of the nats that their texts cost, all four together; 0 where nothing is known.

        Args: tokens of a batch, a row of them for each node; truths of its targets (`truth`), None where there is none.
        """
        rows = [i for i, truth in enumerate(truths) if truth is not None]
        if not rows:
            return tokens.sum() * 0
        wanted = pad_stack([truth for truth in truths if truth is not None]).to(tokens.device)
        there = (wanted != UNKNOWN).any(-1)
        logits = self.read(self.norm(tokens[rows, : wanted.shape[1]][there])).unflatten(-1, (1 + N_SOURCES, -1))
        each = functional.cross_entropy(
            logits.flatten(0, 1), wanted[there].flatten(), ignore_index=UNKNOWN, reduction="none"
        )
        return each.sum() / max(1, int(there.sum()))
