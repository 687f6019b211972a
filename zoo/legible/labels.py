"""What is measured of a legible zoo's target when it is made: nothing here is taken from the regime's name.

accuracy, steps, loss       as of other trained targets; of compiled ones the accuracy alone
history                     what was done: seed (a program's text), options, anchor, and of a target without a
                            program that of its twin
probe                       {"L2": {"v2": {"accuracy", "majority", "untrained"}}}: by residual state and concept;
                            "untrained" is the same probe's accuracy on the network's initial weights
anchor                      concept, value, margin, alignment, cosine (see `anchor_measures`, at the last state),
                            axis (in the basis that is stored), tokens: those whose embeddings point most along it
seed                        information, place, use, drift: what is left of it at its site (see `persistence`); a
                            decoy's has no use, as its network's program does not have the variable
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from tracr_tasks.transformer import Weights
from zoo.fields import to_fields
from zoo.legible.anchor_measures import measure_anchor
from zoo.legible.anchoring import Anchor
from zoo.legible.network import run
from zoo.legible.networks import Network, own_accuracy
from zoo.legible.persistence import Meter, drift, probe_r2
from zoo.legible.probes import probe_labels
from zoo.legible.recipe import LegibleRecipe
from zoo.legible.tasks import UNASKED, Task
from zoo.stack import Params

if TYPE_CHECKING:
    from zoo.legible.making import Pupil

PROBED = 160
"""Inputs that probes are fitted and tested on, half and half."""
MEASURED = 256
"""Inputs that seeds and anchors are measured on."""
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
        **{name: _rounded(getattr(found, name)) for name in ANCHORED},
        "removed": {name: [_rounded(lost.on), _rounded(lost.elsewhere)] for name, lost in found.lost.items()},
        "tokens": [task.vocab.input[2 + i] for i in np.argsort(-embedding, kind="stable")[:TOKENS].tolist()],
        "axis": [_rounded(value) for value in axis.tolist()],
    }


def seeded(one: Pupil, network: Network) -> dict[str, float | None]:
    """What is left of the seed: whether it can be read, stands where it was put, is used, and how far it moved."""
    seeding, task, stack = network.seeding, one.drawn.task, _stack(network.weights)
    assert seeding is not None
    if network.regime != "decoy":
        found = Meter(network.config, [task], [seeding], one.drawn.variable, 0, MEASURED)(stack)[0]
        values = (found.probe, found.read_out, found.interchange, found.selectivity, found.drift)
    else:
        variable = one.other.task.concept(one.other.variable)
        rows = np.random.Generator(np.random.PCG64(0)).permutation(len(task.ids))[:MEASURED]
        state, codes = _state(network, task, rows, seeding.site), variable.codes[rows]
        said = (state @ seeding.read_out + seeding.read_out_bias).argmax(-1).numpy()
        index = {name: i for i, name in enumerate(variable.values)}
        places = np.array([index.get(name, UNASKED) for name in seeding.values])
        place = float((places[said] == codes)[codes != UNASKED].mean())
        values = (probe_r2(state, codes), place, math.nan, math.nan, drift(stack, seeding))
    return dict(zip(("information", "place", "use", "selectivity", "drift"), map(_rounded, values), strict=True))


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


@torch.no_grad()
def _state(network: Network, task: Task, rows: np.ndarray, number: int) -> Float[torch.Tensor, "input pos d_model"]:
    """A residual state of a network on some inputs of a task."""
    return run(network.config, _stack(network.weights), torch.from_numpy(task.ids[rows])[None]).states[number][0]


def _rounded(value: float) -> float | None:
    """To 4 digits; None where it is not a number, which JSON does not have."""
    return round(value, 4) if math.isfinite(value) else None
