"""The components of a compiled program: which lines each implements, and what it reads and writes.

The lines come from `CompiledProgram.provenance`. What is read and written is taken from the weights themselves, by the
label in `residual_labels` of each row or column that is not zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Bool, Float64
from torch import Tensor

from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.trace import Node

MAX_SHOWN = 2
"""Directions of a variable that are named where not all of them are used, or not used where most are."""
NOISE = 1e-5
"""What float32 may leave of a sum that is zero, relative to its terms."""
EMBEDDINGS = {"embed": "embedding", "pos_embed": "positions"}
IN_A_LAYER = re.compile(r"blocks\.(\d+)\.(?:attn|mlp)\.(head|neurons)\.(\d+)(?::(\d+))?")


@dataclass(frozen=True, order=True)
class Component:
    """A part of the transformer that implements lines; ordered as the computation is."""

    layer: int
    """The block, from 0; -1 for the embeddings."""
    kind: str
    """head, neurons, embedding (of the tokens) or positions."""
    start: int = 0
    """The head, or the first neuron."""
    stop: int = 0
    """One past the last neuron."""

    @property
    def text(self) -> str:
        """Its name inside its layer: `head 1`, `neurons 3:7`."""
        return {"head": f"head {self.start}", "neurons": f"neurons {self.start}:{self.stop}"}.get(self.kind, self.kind)

    def __str__(self) -> str:
        return self.text if self.layer < 0 else f"layer {self.layer} {self.text}"


def components(compiled: CompiledProgram) -> dict[str, tuple[Component, ...]]:
    """The components of each line, by the line's name; of a selector those of the heads that use it."""
    return {line: tuple(sorted(map(_component, names))) for line, names in compiled.provenance.items()}


def _component(name: str) -> Component:
    if name in EMBEDDINGS:
        return Component(-1, EMBEDDINGS[name])
    match = IN_A_LAYER.fullmatch(name)
    assert match, name
    return Component(int(match[1]), match[2], int(match[3]), int(match[4] or 0))


def owners(compiled: CompiledProgram) -> dict[Component, tuple[Node, ...]]:
    """The lines of each component, components in order of the computation."""
    found: dict[Component, tuple[Node, ...]] = {}
    by_line = components(compiled)
    for node in compiled.program.nodes:
        for component in by_line[node.name]:
            found[component] = (*found.get(component, ()), node)
    return dict(sorted(found.items()))


class Wiring:
    """What components read and write, in words.

    The row of BOS is left out of what is read: it makes BOS the key of a head that selects nothing else, and cancels
    the constants that stand at BOS.
    """

    def __init__(self, compiled: CompiledProgram):
        self.config, self.weights = compiled.config, compiled.weights
        self.labels = [_printable(label) for label in compiled.residual_labels]
        self.variables = _variables(self.labels)

    def streams_at_bos(self) -> Iterator[Float64[Tensor, " d_model"]]:
        """What stands at BOS before each layer: BOS attends to itself alone, so it is the same for every input."""
        weights = {name: tensor.double() for name, tensor in self.weights.items()}
        x = weights["embed.W_E"][0] + weights["pos_embed.W_pos"][0]
        for layer in range(self.config.n_layers):
            yield x
            at = f"blocks.{layer}."
            values = (x @ weights[at + "attn.W_V"] + weights[at + "attn.b_V"])[:, None] @ weights[at + "attn.W_O"]
            x = x + values.sum((0, 1)) + weights[at + "attn.b_O"]
            active = (x @ weights[at + "mlp.W_in"] + weights[at + "mlp.b_in"]).relu()
            x = x + active @ weights[at + "mlp.W_out"] + weights[at + "mlp.b_out"]

    def head(self, head: Component, at_bos: Float64[Tensor, " d_model"]) -> str:
        """A head's queries, keys, values and writes, and what it writes for its share of attention to BOS."""
        q, k, v, o = (self.weights[f"blocks.{head.layer}.attn.W_{side}"][head.start] for side in "QKVO")
        queries, keys = (self.directions((matrix != 0).any(1)) for matrix in (q, k))
        given = at_bos @ v.double() @ o.double()
        terms = at_bos.abs() @ v.double().abs() @ o.double().abs()
        kept = (given.abs() > NOISE * terms.clamp(min=1)).nonzero().flatten().tolist()
        from_bos = [f"{self.amount(place, float(given[place]))} from BOS" for place in kept]
        values = ", ".join(self._parts((v != 0).any(1)) + from_bos) or "none"
        return f"queries {queries} | keys {keys} | values {values} | writes {self.directions((o != 0).any(0))}"

    def neurons(self, group: Component) -> str:
        """What a group of neurons reads and writes."""
        neurons = slice(group.start, group.stop)
        reads = self.weights[f"blocks.{group.layer}.mlp.W_in"][:, neurons]
        writes = self.weights[f"blocks.{group.layer}.mlp.W_out"][neurons]
        return f"read {self.directions((reads != 0).any(1))} | write {self.directions((writes != 0).any(0))}"

    def constants(self, layer: int) -> list[str]:
        """What the output biases of a layer add at every position, a line each; none where they are zero."""
        lines = []
        for name in ("attn.b_O", "mlp.b_out"):
            bias = self.weights[f"blocks.{layer}.{name}"]
            amounts = [self.amount(place, float(bias[place])) for place in bias.nonzero().flatten().tolist()]
            if amounts:
                lines.append(f"{name.rpartition('.')[2]} adds {', '.join(amounts)}")
        return lines

    def embeddings(self) -> str:
        """What the two embeddings write."""
        tokens, positions = ((self.weights[name] != 0).any(0) for name in ("embed.W_E", "pos_embed.W_pos"))
        return f"embedding writes {self.directions(tokens)} | positions write {self.directions(positions)}"

    def unembedding(self) -> str:
        """What the unembedding reads."""
        return f"unembedding reads {self.directions((self.weights['unembed.W_U'] != 0).any(1))}"

    def amount(self, place: int, value: float) -> str:
        """A value in one direction: `out=5` for 1 in a one-hot, else `0.5 in v3`."""
        label = self.labels[place]
        return label if abs(value - 1) < NOISE and "=" in label else f"{value:g} in {label}"

    def directions(self, active: Bool[Tensor, " d_model"]) -> str:
        """Directions in words: `tokens` for all of a variable; `tokens=a`, `tokens but tokens=a` or `tokens (9 of 12)`
        for a part of it."""
        return ", ".join(self._parts(active)) or "none"

    def _parts(self, active: Bool[Tensor, " d_model"]) -> list[str]:
        texts = []
        for name, places in self.variables.items():
            used = [self.labels[place] for place in places if active[place]]
            unused = [self.labels[place] for place in places if not active[place]]
            if not unused:
                texts.append(name)
            elif len(used) <= MAX_SHOWN:
                texts += used
            elif len(unused) <= MAX_SHOWN:
                texts.append(f"{name} but {' and '.join(unused)}")
            else:
                texts.append(f"{name} ({len(used)} of {len(places)})")
        return texts


def _variables(labels: list[str]) -> dict[str, list[int]]:
    """Places of the directions that hold one thing together, by its name. BOS, the first direction, is left out."""
    one_hots = {label.partition("=")[0] for label in labels if "=" in label}
    places: dict[str, list[int]] = {}
    for place, label in list(enumerate(labels))[1:]:
        # A line may be held in both forms, each with its own directions.
        name = f"{label} (number)" if label in one_hots else label.partition("=")[0]
        places.setdefault(name, []).append(place)
    return places


def _printable(label: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in label)
