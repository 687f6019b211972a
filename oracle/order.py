"""Routes that are the same in every gauge to the last bit: rounded, heads and neurons in an order of their own.

Two gauges of a target have the same routes (routes.py), but for the rounding of their weights and for the order of
heads and neurons. A network that reads them hardly notices, until two texts are as good as equally likely: a search
that follows the better one then ends elsewhere. So before anything is searched for, entries are rounded and components
are sorted. What is read is then the same bits, and so is all that follows.

Components are sorted by their *colours*: numbers made of what a component does to labels, and to others of some
colour, in a few rounds (the colour refinement of Weisfeiler and Leman). Sums are of integers modulo 2^64, which know of
no order either. Components of one colour do the same to all the others; they stay as they stood.

An entry on the border of two roundings gives a target two sets of colours, which does no harm beyond the old one. The
entries of compiled programs are few numbers, and few of these are on a border (`PARTS`); those of trained ones are any.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64
from torch import Tensor

from oracle.neutral import Neutral
from oracle.neutral_layer import NeutralLayer, arranged
from oracle.routes import KINDS, Routes, Ways, writing

PARTS = 1024
"""An entry is rounded to so many parts of the next power of two. More parts are more borders to lie on."""
ROUNDS = 3
"""Of refinement."""
ODD = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64)
"""Odd numbers without a pattern; the first two are those of SplitMix64 (Steele, Lea and Flood, 2014)."""
GOLDEN, SHIFTS = np.uint64(0x9E3779B97F4A7C15), (np.uint64(30), np.uint64(27), np.uint64(31))
"""The others of SplitMix64."""


def in_order(target: Neutral) -> Neutral:
    """A target with the heads and the neurons of each layer in an order that no gauge changes, those that write nothing
    last. One that has no routes stays as it is."""
    if (routes := target.routes) is None:
        return target
    colours, layers = colours_of(rounded(routes)), list[NeutralLayer]()
    for index, layer in enumerate(target.layers):
        heads, neurons = (
            _sorted(on, colours[((routes.kind == KINDS.index(kind)) & (routes.layer == index)).cpu().numpy()])
            for kind, on in zip(("head", "neuron"), writing(layer), strict=True)
        )
        layers.append(arranged(layer, heads, neurons))
    return replace(target, layers=tuple(layers))


def _sorted(writes: Bool[Tensor, " n"], colours: UInt64[np.ndarray, " writing"]) -> Int[Tensor, " n"]:
    """Those that write, by their colours, and the others."""
    order = torch.from_numpy(np.argsort(colours, kind="stable")).to(writes.device)
    return torch.cat([writes.nonzero()[:, 0][order], (~writes).nonzero()[:, 0]])


def rounded(routes: Routes) -> Routes:
    """Routes whose entries are rounded, by 0.1% at most."""

    def table(ways: Ways) -> Ways:
        return replace(ways, table=_rounded(ways.table))

    numbers = {name: _rounded(getattr(routes, name)) for name in ("read", "gram", "bias")}
    return replace(routes, **numbers, compared=table(routes.compared), moved=table(routes.moved))


def _rounded(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    share, power = torch.frexp(x.double())
    return torch.ldexp((share * PARTS).round() / PARTS, power).to(x.dtype)


def colours_of(routes: Routes) -> UInt64[np.ndarray, " node"]:
    """Colours of the nodes of one target, whose routes are rounded. Each label has its own.

    A round tells every node by which table, with what entry, and of what colour it meets another one; and every head
    what its tables have in them. Tables are told apart by what they are, and by the colours of their heads.
    """
    kind, layer = (x.cpu().numpy().astype(np.uint64) for x in (routes.kind, routes.layer))
    head_node = routes.head_node.cpu().numpy()
    tables = [(table, number, [0, 0, 0]) for number, table in enumerate((routes.read, routes.gram))]
    for number, ways in enumerate((routes.compared, routes.moved), 2):
        which = torch.stack([ways.head, ways.row, ways.column], 1).tolist()
        tables += [(table, number, heads) for table, heads in zip(ways.table, which, strict=True)]
    entries = [(*_entries(table), number, heads) for table, number, heads in tables]
    is_label = kind < KINDS.index("head")
    own = np.where(is_label, np.arange(len(kind), dtype=np.uint64), _mixed(_bits(routes.bias)))
    colours = first = _mixed(own + kind * ODD[0] + layer * ODD[1])
    for _ in range(ROUNDS):
        of_ways = np.concatenate([colours[head_node], ODD[3:]])  # the last: some head or other
        of_ways[0] = 0  # directly
        met = _mixed(colours)
        for rows, columns, bits, number, heads in entries:
            name = _mixed(ODD[:3] @ of_ways[heads] + np.array([number], dtype=np.uint64))
            told = _mixed(bits + name)
            np.add.at(met, rows, _mixed(told + colours[columns]))
            np.add.at(met, columns, _mixed(told * ODD[0] + colours[rows]))
            inside = _mixed(told + colours[rows] * ODD[0] + colours[columns] * ODD[1]).sum(keepdims=True)
            roles = [role for role, way in enumerate(heads) if way > 0]
            np.add.at(met, head_node[[heads[role] for role in roles]], inside * ODD[roles])
        colours = np.where(is_label, first, _mixed(met))
    return colours


def _entries(
    table: Float[Tensor, "node node"],
) -> tuple[Int[np.ndarray, " entry"], Int[np.ndarray, " entry"], UInt64[np.ndarray, " entry"]]:
    """Rows, columns and bits of what is not zero."""
    rows, columns = np.nonzero(bits := _bits(table))
    return rows, columns, bits[rows, columns]


def _bits(x: Float[Tensor, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Numbers as the bits of float64, 0 for both zeros."""
    return (x.double().cpu().numpy() + 0.0).view(np.uint64)


def _mixed(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Numbers that look like random ones, the same for the same: the last step of SplitMix64."""
    x = x + GOLDEN
    for shift, odd in zip(SHIFTS, ODD, strict=False):
        x = (x ^ (x >> shift)) * odd
    return x ^ (x >> SHIFTS[2])
