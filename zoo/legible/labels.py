"""What is measured of a legible zoo's target when it is made: nothing here is taken from the regime's name.

accuracy, steps, loss       as of other trained targets; of compiled ones the accuracy alone
history                     what was done: seed (a program's text), options, anchor, and of a target without a
                            program that of its twin
probe                       {"L2": {"v2": {"accuracy", "majority", "untrained"}}}: by residual state and concept;
                            "untrained" is the same probe's accuracy on the network's initial weights
anchor                      concept, value, margin, alignment, cosine (see `anchor_measures`, at the last state),
                            axis (in the basis that is stored), tokens: those whose embeddings point most along it
seed                        information, place, use, selectivity, drift: what is left of it at its site (see
                            `seed_curves`); under `seed_curves` of the recipe also curve, half_life, asymptote
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tracr_tasks.transformer import Weights
from zoo.fields import to_fields
from zoo.legible.anchor_measures import measure_anchor
from zoo.legible.anchoring import Anchor
from zoo.legible.networks import Network, own_accuracy
from zoo.legible.probes import probe_labels
from zoo.legible.recipe import LegibleRecipe
from zoo.legible.seed_curves import curve_labels, rounded, seed_meter
from zoo.legible.tasks import Task
from zoo.stack import Params

if TYPE_CHECKING:
    from zoo.legible.making import Pupil

PROBED = 160
"""Inputs that probes are fitted and tested on, half and half."""
ANCHORED = ("margin", "alignment", "cosine", "grading", "probe")
"""Fields of `AnchorMeasures` that become labels."""
TOKENS = 2
"""Tokens that are named for an axis."""


def measured(recipe: LegibleRecipe, one: Pupil, network: Network) -> dict[str, Any]:
    """The labels of a target."""
    labels: dict[str, Any] = {}
    if network.record is not None and network.regime != "rerandomised":
        labels |= {"steps": network.record.steps, "loss": round(network.record.loss, 6)}
    if network.regime not in ("untrained", "rerandomised"):
        labels["accuracy"] = round(own_accuracy(network.config, network.weights, one.drawn.task), 6)
    labels["history"] = history(recipe, one, network)
    labels["probe"] = probed(one, network)
    if network.anchor is not None:
        labels["anchor"] = anchored(one.drawn.task, network, network.anchor)
    if network.seeding is not None:
        labels["seed"] = seeded(one, network)
    if recipe.autoencoders:
        from zoo.legible.sae_labels import sae_labels

        labels["sae"] = sae_labels(network.config, _stack(network.weights), one.drawn.task, one.seed)
    return labels


def anchored(task: Task, network: Network, anchor: Anchor) -> dict[str, Any]:
    """Where a concept stands towards its axis at the last state, as units z and axis v."""
    found = measure_anchor(network.config, _stack(network.weights), task, anchor, network.config.n_layers)
    axis = anchor.axis.double().numpy()
    named = network.weights["embed.W_E"][2:]  # less their mean, as what all tokens share may stand in W_pos as well
    embedding = torch.nn.functional.normalize(named - named.mean(0), dim=-1).double().numpy() @ axis
    return {
        "concept": anchor.concept,
        "value": anchor.value,
        **{name: rounded(getattr(found, name)) for name in ANCHORED},
        "removed": {name: [rounded(lost.on), rounded(lost.elsewhere)] for name, lost in found.lost.items()},
        "tokens": [task.vocab.input[2 + i] for i in np.argsort(-embedding, kind="stable")[:TOKENS].tolist()],
        "axis": [rounded(value) for value in axis.tolist()],
    }


def seeded(one: Pupil, network: Network) -> dict[str, Any]:
    """What is left of the seed: whether it can be read, stands where it was put, is used, how far it moved; and the
    curves that led there, if the network was watched."""
    assert network.seeding is not None
    end = seed_meter(network.config, one, network.seeding, network.regime)(_stack(network.weights))
    labels: dict[str, Any] = {name: rounded(value) for name, value in asdict(end).items()}
    if network.seed_curve and network.record is not None:
        labels |= curve_labels({**network.seed_curve, network.record.steps: end})
    return labels


def history(recipe: LegibleRecipe, one: Pupil, network: Network) -> dict[str, Any]:
    """What was done to a target, as its recipe and its seed say."""
    options: dict[str, Any] = {}
    out: dict[str, Any] = {"seed": network.seed_text, "options": options}
    if network.seeding is not None:
        options |= to_fields(recipe.seeds(network.regime))
    if network.anchor is not None:
        options |= to_fields(recipe.anchoring)
        out["anchor"] = {"concept": network.anchor.concept, "value": network.anchor.value}
    if network.regime == "rerandomised":
        options["keep_embeddings"] = recipe.keep_embeddings
    if network.regime in ("untrained", "rerandomised"):
        out["program"] = one.drawn.program.text()
    return out


def probed(one: Pupil, network: Network) -> dict[str, dict[str, dict[str, float]]]:
    """Held-out accuracy of a linear probe for each state and concept, beside the same on the initial weights."""
    found, before = (
        probe_labels(network.config, _stack(weights), [one.drawn.task], 0, PROBED)[0]
        for weights in (network.weights, network.initial)
    )
    return {
        state: {name: label | {"untrained": before[state][name]["accuracy"]} for name, label in concepts.items()}
        for state, concepts in found.items()
    }


def _stack(weights: Weights) -> Params:
    """A stack of one."""
    return {name: tensor[None] for name, tensor in weights.items()}
