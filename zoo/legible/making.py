"""A chunk of a part that has a legible recipe: compiled, learned with or without a history, or random.

draw the programs -> begin the networks -> train them as one stack -> measure -> hide the basis
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tracr_tasks.errors import InputError
from zoo.chunks import ChunkPlan, Facts, member_of, seed_of, sorted_out, stem_of
from zoo.legible.autoencoders import require_sae_lens
from zoo.legible.hiding import hidden
from zoo.legible.labels import measured
from zoo.legible.networks import Network, Start, begun, compiled_networks, joined, learned, redrawn, untrained
from zoo.legible.programs import IMPOSSIBLE, LegibleProgram, anchor_concepts, draw_program
from zoo.legible.recipe import LegibleRecipe
from zoo.rows import Failure
from zoo.shard import Member
from zoo.spec import ZooSpec

TRIED = 3
"""Programs that a recipe is tried on before anything is built."""
WITHOUT_PROGRAM = ("untrained", "rerandomised")
"""Regimes whose targets compute no program; their labels say which one they are the twins of."""


@dataclass(frozen=True, eq=False)
class Pupil:
    """One target before it is made."""

    id: str
    seed: int
    drawn: LegibleProgram
    other: LegibleProgram
    """Whose variable a decoy is seeded with."""
    concept: tuple[str, str]
    """What is anchored if something is: name and value."""


def make_legible(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """A chunk's targets, and what could not be made."""
    recipe = legible_recipe(spec, plan.part)
    pupils: list[Pupil] = []
    starts: list[Start] = []
    failures = []
    for number, (target_id, seed) in enumerate(zip(plan.ids(), plan.seeds(spec), strict=True), plan.start):
        try:
            one = pupil(spec, plan.part, number, target_id, seed)
            starts.append(begun(recipe, plan.regime, one))
            pupils.append(one)
        except InputError as problem:
            failures.append(Failure(target_id, seed, str(problem)))
    if not pupils:
        return [], failures
    networks = make_networks(recipe, pupils, joined(starts))
    made = [_finished(recipe, plan, *pair) for pair in zip(pupils, networks, strict=True)]
    members, diverged = sorted_out(made)
    return members, failures + diverged


def legible_recipe(spec: ZooSpec, part: str) -> LegibleRecipe:
    """The recipe of a part that has one."""
    recipe = spec.recipe(part).legible
    assert recipe is not None, "a part with a history has a recipe: the spec has been checked"
    return recipe


def pupil(spec: ZooSpec, part: str, number: int, target_id: str, seed: int) -> Pupil:
    """Program, decoy and concept of a number, which are the same in every regime.

    Raises:
        InputError: there is no such program, or no concept that can be anchored.
    """
    recipe, splits = legible_recipe(spec, part), spec.recipe(part).splits

    def program(at: int) -> LegibleProgram:
        return draw_program(recipe, seed_of(spec.seed, stem_of(part, "program"), at), splits)

    drawn = program(number)
    concepts = anchor_concepts(drawn.task, recipe)
    if not concepts:
        raise InputError(
            f"legible: no concept of the program holds at {recipe.min_share:.0%} to {recipe.max_share:.0%} of positions"
        )
    concept = concepts[seed_of(spec.seed, stem_of(part, "concept"), number) % len(concepts)]
    other = next(found for step in range(1, 1_000) if _is_foreign(found := program(number + step), drawn))
    return Pupil(target_id, seed, drawn, other, concept)


def _is_foreign(other: LegibleProgram, own: LegibleProgram) -> bool:
    """Whether nothing in a program is the variable of the other."""
    strange = other.task.concept(other.variable)
    return not any(
        concept.values == strange.values and (concept.codes == strange.codes).all() for concept in own.task.concepts
    )


def check_legible(spec: ZooSpec, part: str) -> None:
    """Refuse a recipe that cannot give targets, before anything is built.

    Raises:
        InputError: programs or concepts that there are not, or embeddings that cannot be; every reason.
    """
    if legible_recipe(spec, part).autoencoders:
        require_sae_lens()
    reasons: dict[str, None] = {}
    for number in range(TRIED):
        try:
            tried = pupil(spec, part, number, "", number)
            for regime in _regimes(spec, part):
                begun(legible_recipe(spec, part), regime, tried)
        except InputError as problem:
            reasons[str(problem)] = None
            if str(problem).startswith(IMPOSSIBLE):
                break
    if reasons:
        raise InputError("; ".join(reasons))


def _regimes(spec: ZooSpec, part: str) -> list[str]:
    return [regime for name, regime, _ in spec.counts() if name == part]


def make_networks(recipe: LegibleRecipe, pupils: Sequence[Pupil], start: Start) -> list[Network]:
    """The networks of a regime, as they were made: their basis is not hidden yet."""
    if start.regime == "compiled":
        return compiled_networks(pupils, start.config)
    if start.regime == "untrained":
        return untrained(pupils, start)
    networks = learned(recipe, pupils, start)
    return redrawn(recipe, pupils, networks) if start.regime == "rerandomised" else networks


def _finished(recipe: LegibleRecipe, plan: ChunkPlan, one: Pupil, network: Network) -> Member | Failure:
    labels = measured(recipe, one, network)
    weights: dict[str, Tensor] = network.weights
    if recipe.hidden:
        weights, turn = hidden(network.config, weights, one.seed)
        if "anchor" in labels:
            axis = network.anchor_axis() @ turn
            labels["anchor"]["axis"] = [round(value, 4) for value in axis.tolist()]
    facts = _facts(one.drawn, plan.regime, labels)
    return member_of(plan, one.id, one.seed, network.config, weights, facts)


def _facts(drawn: LegibleProgram, regime: str, labels: dict[str, Any]) -> Facts:
    program, has_program = drawn.program, regime not in WITHOUT_PROGRAM
    return Facts(
        kind="rasp" if has_program else "none",
        text=program.text() if has_program else "",
        program_vocab=json.dumps(list(program.vocab)),
        vocab=drawn.task.vocab,
        max_seq_len=program.max_seq_len,
        causal=program.causal,
        function_hash=program.function_hash() if has_program else "",
        structure_hash="",
        labels=labels,
    )
