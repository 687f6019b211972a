"""One cell of the study of sparse autoencoders: a program, a norm and a seed, every variant measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tracr_tasks import TargetConfig
from zoo.legible.autoencoders import Autoencoder, AutoencoderConfig, Kind, train_autoencoder
from zoo.legible.initial import Family, initial_params
from zoo.legible.sae_findings import by_group, findings, points_of
from zoo.legible.studies.sae_networks import (
    INITIAL,
    VARIANTS,
    Learned,
    Variant,
    config_of,
    learned,
    states,
    variants,
)

SCALES = (0.25, 1.0, 4.0)
FAMILIES: tuple[Family, ...] = ("normal", "uniform", "orthogonal", "heavy-tailed")
STREAM = 7
"""Of a cell's seed: which inputs are trained on, and which measured on."""


@dataclass(frozen=True)
class Cell:
    """What a process does in one go."""

    program: str
    norm: bool
    seed: int
    """Of networks, data and autoencoders."""
    number: int
    """Of the repetition, for the tables."""
    training_steps: int
    """Of the networks; 0: only untrained ones, of every scale and family but the usual."""
    autoencoder: AutoencoderConfig
    sites: tuple[tuple[Kind, int], ...]
    """Kinds of autoencoder, each with the number of the state it reads."""
    measured: int = 512
    """Inputs of each half that latents are chosen and measured on."""


def measure(cell: Cell) -> list[dict[str, Any]]:
    """Rows of a cell: one an autoencoder."""
    what = learned(cell.program)
    config = config_of(what.task, cell.norm)
    facts = {"program": cell.program, "norm": "LN" if cell.norm else "none", "repetition": cell.number}
    halves = _halves(len(what.task.ids), cell.seed)
    rows = []
    for labels, variant in _variants(cell, what, config):
        for kind, number in cell.sites:
            options = AutoencoderConfig(**(vars(cell.autoencoder) | {"kind": kind}))
            autoencoder = train_autoencoder(points_of(variant.states[number], halves[0]), options, cell.seed)
            found = _metrics(config, what, variant, number, autoencoder, [half[: cell.measured] for half in halves])
            rows.append(facts | labels | {"kind": kind, "state": number, "accuracy": variant.accuracy} | found)
    return rows


def _variants(cell: Cell, what: Learned, config: TargetConfig) -> list[tuple[dict[str, Any], Variant]]:
    """Variants with the columns that name them."""
    usual = {"scale": 1.0, "family": "normal"}
    if cell.training_steps:
        made = variants(cell.program, cell.norm, cell.seed, cell.training_steps)
        return [({"variant": name} | usual, made[name]) for name in VARIANTS]
    out: list[tuple[dict[str, Any], Variant]] = []
    ids = torch.from_numpy(what.task.ids)
    for scale in SCALES:
        for family in FAMILIES:
            labels: dict[str, Any] = {"scale": scale, "family": family}
            if labels != usual:
                params = initial_params(config, [cell.seed], scale, family)
                out.append(({"variant": INITIAL} | labels, Variant(states(config, params, ids), params, None)))
    return out


def _halves(n_inputs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.Generator(np.random.PCG64([seed, STREAM])).permutation(n_inputs)
    return order[: n_inputs // 2], order[n_inputs // 2 :]


def _metrics(
    config: TargetConfig,
    what: Learned,
    variant: Variant,
    number: int,
    autoencoder: Autoencoder,
    inputs: Sequence[np.ndarray],
) -> dict[str, float | None]:
    """Of an autoencoder at one site: latents are chosen on the first inputs, all else is of the second."""
    state = variant.states[number]
    found, covered = findings(config, variant.params, what.task, number, state, autoencoder, *inputs)
    names = {"tokens": "tokens", "indices": "indices", "inner": what.inner, "out": "out"}
    found |= {f"coverage_{column}": covered[name] for column, name in names.items()} | by_group(what.task, covered)
    return {name: None if np.isnan(value) else value for name, value in found.items()}
