"""Which component is which token of the weight encoder, and a target read as if some of them were not there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from oracle.batch import LayerBatch, WeightBatch
from tracr_tasks.errors import InputError


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


def without(batch: WeightBatch, hidden: Sequence[Collection[Place]]) -> WeightBatch:
    """A batch in which each target lacks some of its heads and neurons: the encoder sees nothing that they do.

    What an encoder makes of it, beside what it makes of the whole, says what it read there. The batch is in memory.

    Raises:
        InputError: not one collection a target, or a place that is neither a head nor a neuron of the batch.
    """
    if len(hidden) != len(batch):
        raise InputError(f"{len(hidden)} collections of components, expected {len(batch)}, one a target")
    known = {place for place in places_of(batch) if place.layer is not None}
    if strange := sorted(str(place) for places in hidden for place in places if place not in known):
        raise InputError(f"{strange[0]}: no head or neuron of these targets, expected one such as L0H0 or L0N0")
    return replace(batch, layers=tuple(_thinned(layer, i, hidden) for i, layer in enumerate(batch.layers)))


def _thinned(layer: LayerBatch, index: int, hidden: Sequence[Collection[Place]]) -> LayerBatch:
    masks = {"head": layer.heads.clone(), "neuron": layer.neurons.clone()}
    for row, places in enumerate(hidden):
        for place in places:
            if place.layer == index:
                masks[place.kind][row, place.index] = False
    heads, neurons = masks["head"], masks["neuron"]
    W_O = torch.where(heads[..., None, None], layer.W_O, torch.zeros_like(layer.W_O))
    W_out = torch.where(neurons[..., None], layer.W_out, torch.zeros_like(layer.W_out))
    return replace(layer, W_O=W_O, W_out=W_out, heads=heads, neurons=neurons)
