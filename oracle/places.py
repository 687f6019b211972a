"""Which component is which token of the weight encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oracle.batch import WeightBatch


@dataclass(frozen=True, order=True)
class Place:
    """A label, head or neuron of a target, or (kind "target") all of it."""

    kind: Literal["token", "position", "target", "output", "head", "neuron"]
    layer: int | None
    """Of heads and neurons."""
    index: int
    """Row of W_E or W_pos, column of W_U, head or neuron of the layer."""

    def __str__(self) -> str:
        """As TransformerLens users write it: L0H3 is head 3 of layer 0, L0N17 neuron 17."""
        if self.layer is not None:
            return f"L{self.layer}{self.kind[0].upper()}{self.index}"
        return self.kind if self.kind == "target" else f"{self.kind} {self.index}"


def places_of(batch: WeightBatch) -> list[Place]:
    """What each token of `WeightEncoder.components` stands for, in their order; its mask says which a target has."""
    n_tokens, n_positions, n_outputs = batch.W_E.shape[1], batch.W_pos.shape[1], batch.W_U.shape[2]
    places = [Place("token", None, i) for i in range(n_tokens)]
    places += [Place("position", None, i) for i in range(n_positions)]
    places += [Place("target", None, 0), *(Place("output", None, i) for i in range(n_outputs))]
    for i, layer in enumerate(batch.layers):
        places += [Place("head", i, h) for h in range(layer.heads.shape[1])]
        places += [Place("neuron", i, m) for m in range(layer.neurons.shape[1])]
    return places
