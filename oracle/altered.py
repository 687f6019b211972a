"""A folded target with some of its heads and neurons silenced, or with one more that means nothing.

What an oracle makes of it, beside what it makes of the whole, says what it read there. It is done to the target, for
all who read it, and alike in every gauge.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from oracle.neutral import Neutral
from oracle.neutral_layer import OF_HEADS, OF_NEURONS, NeutralLayer
from oracle.places import Place

Kind = Literal["head", "neuron"]
KINDS: tuple[Kind, ...] = ("head", "neuron")


def lacking(neutral: Neutral, places: Collection[Place]) -> Neutral:
    """A target some of whose heads and neurons write nothing: those who read it see no more of them.

    Where nothing takes the length of the residual stream, a head goes on writing what it makes of the constant stream:
    a gauge (R3) moves any amount between this and the biases, so that it belongs to no head alone.
    """
    layers, constant, passes = list[NeutralLayer](), neutral.constant, neutral.norm == 0 and not neutral.normalised
    for i, layer in enumerate(neutral.layers):
        through = torch.einsum("d,hdk,hke->he", constant, layer.W_V, layer.W_O) * passes
        layers.append(_silenced(layer, through, [place for place in places if place.layer == i]))
        constant = constant + layer.b_O + through.sum(0) + layer.b_out
    return replace(neutral, layers=tuple(layers))


def _silenced(layer: NeutralLayer, through: Float[Tensor, "n_heads d_model"], places: Sequence[Place]) -> NeutralLayer:
    """A layer without what some of its components write, but for what of the constant stream goes `through` heads."""
    if not places:
        return layer
    heads, neurons = ([p.index for p in places if p.kind == kind] for kind in KINDS)
    W_O, W_out = layer.W_O.clone(), layer.W_out.clone()
    W_O[heads], W_out[neurons] = 0, 0
    return replace(layer, W_O=W_O, W_out=W_out, b_O=layer.b_O + through[heads].sum(0))


def with_stranger(neutral: Neutral, kind: Kind, rng: random.Random) -> tuple[Neutral, int] | None:
    """A target with one more head, or neuron, which has the entries of one of its own, each tensor's in random order;
    and the layer where it stands. None where no component of this kind writes anything."""
    name = "W_O" if kind == "head" else "W_out"
    writing = [(i, n) for i, layer in enumerate(neutral.layers) for n in _writing(getattr(layer, name))]
    if not writing:
        return None
    at, index = rng.choice(writing)
    axes = OF_HEADS if kind == "head" else OF_NEURONS
    layer = neutral.layers[at]
    grown = {name: _grown(getattr(layer, name), axis, index, rng) for name, axis in axes.items()}
    layers = [replace(each, **grown) if i == at else each for i, each in enumerate(neutral.layers)]
    return replace(neutral, layers=tuple(layers)), at


def _writing(written: Shaped[Tensor, "n ..."]) -> list[int]:
    """Which components write anything."""
    return [n for n, each in enumerate(written) if bool(each.any())]


def _grown(x: Shaped[Tensor, "..."], axis: int, index: int, rng: random.Random) -> Shaped[Tensor, "..."]:
    """x with one component more on an axis: that at `index`, its entries in random order. An axis of none stays so."""
    if not x.shape[axis]:
        return x
    one = x.select(axis, index)
    order = torch.randperm(one.numel(), generator=torch.Generator().manual_seed(rng.getrandbits(32)))
    return torch.cat([x, one.flatten()[order.to(x.device)].view_as(one).unsqueeze(axis)], axis)
