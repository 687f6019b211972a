"""Networks of a legible zoo, by regime: how they begin, what training does to them, and each with its own outputs.

A stack is trained with as many outputs as any program may have; those that a program does not have are masked by a
bias so low that softmax gives them nothing, and are cut off at the end. So each network is the one that a lone run
with its own outputs gives, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights, shapes
from zoo.legible.anchoring import Anchor, anchor_penalty, draw_anchor
from zoo.legible.embedding import Seeding, embed, preservation, rates_of
from zoo.legible.initial import initial_params
from zoo.legible.network import member
from zoo.legible.programs import LegibleProgram, network_config
from zoo.legible.recipe import ANCHORED, SEEDED, LegibleRecipe
from zoo.legible.rerandomise import rerandomised
from zoo.legible.seed_curves import SeedMeasures, SeedMeter, SeedWatch, moments, seed_meter
from zoo.legible.tasks import Task
from zoo.legible.trainer import NetworkRecord, accuracy, train_networks
from zoo.padding import pad_layers
from zoo.stack import Params

if TYPE_CHECKING:
    from zoo.legible.making import Pupil

MASKED = -1e4
"""Bias of outputs that a program does not have; exp of it is zero in float32."""
STACK = 4
"""Networks that are trained together: a larger stack is quicker a step and waits longer for its last network."""


@dataclass(frozen=True, eq=False)
class Network:
    """One network, done, with what was done to it."""

    config: TargetConfig
    weights: dict[str, Tensor]
    initial: dict[str, Tensor]
    """Its weights before training; of a compiled one, random weights of its shape."""
    regime: str
    record: NetworkRecord | None = None
    """Of its training; None where there was none."""
    seeding: Seeding | None = None
    seed_text: str = ""
    """Text of the program that it was seeded with."""
    seed_curve: Mapping[int, SeedMeasures] = field(default_factory=dict)
    """What was left of the seed by number of updates; its end is not among them."""
    anchor: Anchor | None = None

    def anchor_axis(self) -> Float[Tensor, " d_model"]:
        """The axis that its concept was pulled towards."""
        assert self.anchor is not None
        return self.anchor.axis


@dataclass(frozen=True, eq=False)
class Start:
    """A stack before its training."""

    regime: str
    config: TargetConfig
    params: Params
    seedings: tuple[Seeding, ...] = ()
    """One a network, or none."""
    texts: tuple[str, ...] = ()
    """Of the programs seeded."""
    anchors: tuple[Anchor, ...] = ()
    """One a network, or none."""

    def of(self, cut: slice) -> Start:
        """Some of the networks."""
        params = {name: tensor[cut] for name, tensor in self.params.items()}
        return Start(self.regime, self.config, params, self.seedings[cut], self.texts[cut], self.anchors[cut])


def begun(recipe: LegibleRecipe, regime: str, one: Pupil) -> Start:
    """A network of a regime before its training, as a stack of one.

    Raises:
        InputError: a program cannot be embedded, or a concept cannot be anchored; every reason.
    """
    config, task = network_config(recipe, regime), one.drawn.task
    seedings, texts, anchors = [], [], []
    if regime in SEEDED:
        source = (one.other if regime == "decoy" else one.drawn).seed
        seedings.append(embed(source, config, one.seed, recipe.seeds(regime)))
        texts.append(source.program.text())
        params = {name: seedings[0].params[name][None].clone() for name in shapes(config)}
    else:
        params = initial_params(config, [one.seed], recipe.initial_scale, recipe.initial_family)
    if regime in ANCHORED:
        anchors.append(draw_anchor(task, *one.concept, config.d_model, one.seed, recipe.anchoring))
    params["unembed.b_U"][:, len(task.vocab.output) :] = MASKED
    return Start(regime, config, params, tuple(seedings), tuple(texts), tuple(anchors))


def joined(starts: Sequence[Start]) -> Start:
    """Stacks of one regime as one."""
    params = {name: torch.cat([each.params[name] for each in starts]) for name in starts[0].params}
    seedings, texts, anchors = (
        tuple(found for each in starts for found in getattr(each, name)) for name in ("seedings", "texts", "anchors")
    )
    return Start(starts[0].regime, starts[0].config, params, seedings, texts, anchors)


def learned(recipe: LegibleRecipe, pupils: Sequence[Pupil], start: Start) -> list[Network]:
    """The networks after their training, in stacks of `STACK`: each runs until the last of its networks is done."""
    cuts = [slice(first, first + STACK) for first in range(0, len(pupils), STACK)]
    return [network for cut in cuts for network in _learned(recipe, pupils[cut], start.of(cut))]


def _learned(recipe: LegibleRecipe, pupils: Sequence[Pupil], start: Start) -> list[Network]:
    tasks = [one.drawn.task for one in pupils]
    options = recipe.seeds(start.regime)
    rates = rates_of(start.seedings, options) if start.seedings else None
    restraints = [preservation(start.seedings, options)] if start.seedings and options.preserve else []
    penalties = [anchor_penalty(start.anchors, tasks, recipe.training, recipe.anchoring)] if start.anchors else []
    seeds = [one.seed for one in pupils]
    watch = SeedWatch(_meters(recipe, pupils, start))
    done = train_networks(
        *(start.config, start.params, tasks, seeds, recipe.training),
        rates=rates,
        penalties=penalties,
        restraints=restraints,
        watch=watch,
        watch_at=moments(recipe.training.steps) if watch.meters else (),
    )
    return [
        replace(network, record=record, seed_curve=watch.curve(i, record.steps) if watch.meters else {})
        for i, (network, record) in enumerate(zip(_cut_all(pupils, start, done.params), done.records, strict=True))
    ]


def _meters(recipe: LegibleRecipe, pupils: Sequence[Pupil], start: Start) -> list[SeedMeter]:
    """What measures the seeds of a stack while it learns; empty if nothing does."""
    if not (start.seedings and recipe.seed_curves):
        return []
    pairs = zip(pupils, start.seedings, strict=True)
    return [seed_meter(start.config, one, seeding, start.regime) for one, seeding in pairs]


def untrained(pupils: Sequence[Pupil], start: Start) -> list[Network]:
    """The networks as they begin."""
    return _cut_all(pupils, start, start.params)


def redrawn(recipe: LegibleRecipe, pupils: Sequence[Pupil], networks: Sequence[Network]) -> list[Network]:
    """Trained networks with every tensor drawn anew, its mean and variance kept."""
    out = []
    for one, network in zip(pupils, networks, strict=True):
        stack = {name: tensor[None] for name, tensor in network.weights.items()}
        drawn = rerandomised(network.config, stack, [one.seed], not recipe.keep_embeddings)
        out.append(replace(network, weights=member(drawn, 0)))
    return out


def compiled_networks(pupils: Sequence[Pupil], shape: TargetConfig) -> list[Network]:
    """The programs compiled, in the shape of the networks: what a program does not use is zero."""
    out = []
    for one in pupils:
        config, weights = in_shape(one.drawn, shape)
        initial = member(initial_params(config, [one.seed]), 0)
        out.append(Network(config, weights, initial, "compiled"))
    return out


def in_shape(drawn: LegibleProgram, shape: TargetConfig) -> tuple[TargetConfig, dict[str, Tensor]]:
    """A compiled program with the width, heads, neurons and layers of `shape`, which are no fewer than its own."""
    compiled = drawn.compiled
    sizes = {name: getattr(shape, name) for name in ("d_model", "n_heads", "d_head", "d_mlp")}
    config, weights = pad_layers(compiled.config, compiled.weights, **sizes)
    deep = replace(config, n_layers=shape.n_layers)
    order = [compiled.output_names.index(name) for name in drawn.task.vocab.output]
    weights |= {name: weights[name][..., order] for name in ("unembed.W_U", "unembed.b_U")}
    return deep, {name: weights.get(name, torch.zeros(size)) for name, size in shapes(deep).items()}


def own_accuracy(config: TargetConfig, weights: Weights, task: Task) -> float:
    """Share of the answers to all inputs of a task that one network gets right."""
    return float(accuracy(config, {name: tensor[None] for name, tensor in weights.items()}, [task])[0])


def _cut_all(pupils: Sequence[Pupil], start: Start, params: Params) -> list[Network]:
    """Each network of a stack with its own outputs."""
    out = []
    for i, one in enumerate(pupils):
        n = len(one.drawn.task.vocab.output)
        out.append(
            Network(
                config=replace(start.config, d_vocab_out=n),
                weights=_cut(member(params, i), n),
                initial=_cut(member(start.params, i), n),
                regime=start.regime,
                seeding=_cut_seeding(start.seedings[i], n) if start.seedings else None,
                seed_text=start.texts[i] if start.texts else "",
                anchor=start.anchors[i] if start.anchors else None,
            )
        )
    return out


def _cut(weights: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    outputs = {name: weights[name][..., :n].clone() for name in ("unembed.W_U", "unembed.b_U")}
    return weights | outputs


def _cut_seeding(seeding: Seeding, n: int) -> Seeding:
    params, seeded, guarded = (_cut(tensors, n) for tensors in (seeding.params, seeding.seeded, seeding.guarded))
    return replace(seeding, params=params, seeded=seeded, guarded=guarded)
