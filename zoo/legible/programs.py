"""The programs of legible zoos: small, each with a variable that it computes on the way and uses.

Target number i of a part has the same program in every regime: it is drawn from the spec's seed, the part and i alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tracr_tasks import Program
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.sampler import SamplerConfig, draw, fits, rejection
from tracr_tasks.text import parse_program
from tracr_tasks.transformer import TargetConfig
from zoo.legible.embedding import embedding_reasons
from zoo.legible.recipe import LegiblePrograms, LegibleRecipe
from zoo.legible.tasks import UNASKED, Concept, Task, counterfactual, task_of
from zoo.split import draw_of_splits, split_of
from zoo.stack import target_config

ATTENTIVE = ("selector_width", "aggregate")
"""Operations that look at other positions."""
IMPOSSIBLE = "legible: no program"
"""Begins the error of a recipe that has no programs."""
MAX_DRAWS = 800
"""Draws for one program before a recipe is called impossible; one in 32 is of use under the default recipe."""


@dataclass(frozen=True, eq=False)
class LegibleProgram:
    """A program with its variable, both compiled."""

    compiled: CompiledProgram
    variable: str
    """Name of the variable's line in the program's text."""
    seed: CompiledProgram
    """The program of the variable alone."""
    task: Task

    @property
    def program(self) -> Program:
        """The program itself."""
        return self.compiled.program


def network_config(recipe: LegibleRecipe, regime: str = "trained") -> TargetConfig:
    """Configuration of the networks of a regime, with as many outputs as any program may have."""
    size, programs = recipe.architecture, recipe.programs
    plain = target_config(size, programs.vocab_size, programs.max_outputs, programs.max_seq_len)
    return TargetConfig(**(vars(plain) | {"read_out": "all", "normalize_states": recipe.normalizes(regime)}))


def draw_program(recipe: LegibleRecipe, seed: int, splits: tuple[str, ...]) -> LegibleProgram:
    """The first program from a seed on that is of the splits wanted and fits the recipe's networks by its size.

    Raises:
        InputError: there is none.
    """
    plain = replace(network_config(recipe), normalization_type=None, act_fn="relu", normalize_states=False)
    return _drawn(recipe.programs, plain, seed, splits)


def anchor_concepts(task: Task, recipe: LegibleRecipe) -> list[tuple[str, str]]:
    """Concepts of a task that can be anchored, as (name, value): the one that the recipe names, or every value of a
    token or computed variable, the output aside, that holds at a share of positions within its bounds.

    Raises:
        InputError: the concept that is named is none of the task's, never holds or always does.
    """
    from zoo.legible.anchoring import occurrences

    if recipe.concept:
        name, _, value = recipe.concept.partition("=")
        occurrences(task.concept(name), value)
        return [(name, value)]
    found = []
    for concept in task.concepts[:-1]:
        if concept.name == "indices":
            continue
        shares = value_shares(concept)
        found += [
            (concept.name, value)
            for value, share in zip(concept.values, shares, strict=True)
            if recipe.min_share <= share <= recipe.max_share
        ]
    return found


def value_shares(concept: Concept) -> list[float]:
    """Share of each of a concept's values where it has any."""
    codes = concept.codes[concept.codes != UNASKED]
    return (np.bincount(codes, minlength=len(concept.values)) / len(codes)).tolist()


@lru_cache(maxsize=1_024)
def _drawn(programs: LegiblePrograms, config: TargetConfig, seed: int, splits: tuple[str, ...]) -> LegibleProgram:
    return draw_of_splits(
        lambda at: _sample(programs, config, at),
        lambda found: split_of(found.program.function_hash()),
        seed,
        splits,
    )


def _sample(programs: LegiblePrograms, config: TargetConfig, seed: int) -> LegibleProgram:
    """The first program of a seed's draws that fits, is not trivial and has a variable."""
    rng = random.Random(seed)
    for compiled in _compiled(rng, _sampler(programs, config)):
        if compiled.config.n_heads > config.n_heads or compiled.config.d_head > config.d_head:
            continue
        task = task_of(compiled.program)
        if set(compiled.output_names) != set(task.vocab.output) or not _is_fit(task, programs):
            continue  # a value that no full input gives would be an output of compiled targets only
        seeds = [(name, made) for name in _variables(task, programs) if (made := _alone(task, name, config))]
        if seeds:
            name, made = rng.choice(seeds)
            return LegibleProgram(compiled, name, made, task)
    raise InputError(
        f"{IMPOSSIBLE} with a variable, both of which fit a network of d_model {config.d_model}, "
        f"{config.n_layers} layers, {config.n_heads} heads of {config.d_head} and {config.d_mlp} neurons, in "
        f"{MAX_DRAWS} draws; allow other programs or larger networks"
    )


def _sampler(programs: LegiblePrograms, config: TargetConfig) -> SamplerConfig:
    return SamplerConfig(
        vocab_size=programs.vocab_size,
        max_seq_len=programs.max_seq_len,
        min_ops=programs.min_ops,
        max_ops=programs.max_ops,
        numerical=0.0,
        categorical=1.0,
        max_d_model=config.d_model,
        max_neurons=config.d_mlp,
        max_layers=config.n_layers,
        max_none=0.0,
        max_share=min(0.95, programs.max_share + 0.1),
    )


def _compiled(rng: random.Random, sampler: SamplerConfig) -> Iterator[CompiledProgram]:
    """Programs with attention and named outputs, small enough, of `MAX_DRAWS` draws."""
    for _ in range(MAX_DRAWS):
        program = draw(rng, sampler, rng.randint(sampler.min_ops, sampler.max_ops))
        if program is None or not any(node.op in ATTENTIVE for node in program.nodes):
            continue
        if rejection(program, sampler) is not None:
            continue
        try:
            compiled = compile_program(program)
        except ProgramError:  # not every program can be compiled; the next one is tried
            continue
        if compiled.config.output == "categorical" and fits(compiled, sampler):
            yield compiled


def _is_fit(task: Task, programs: LegiblePrograms) -> bool:
    """Whether the answers are of few values, none of them nearly always right."""
    out = task.concepts[-1]
    return 2 <= len(task.vocab.output) <= programs.max_outputs and max(value_shares(out)) <= programs.max_share


def _variables(task: Task, programs: LegiblePrograms) -> list[str]:
    """Names of the variables that can be a seed: attention is in them, they have a few values, and the output uses
    them without being one of them renamed."""
    program, out = task.program, task.concepts[-1]
    assert isinstance(program, Program)
    attentive: set[int] = set()
    for place, node in enumerate(program.nodes):
        if node.op in ATTENTIVE or attentive & set(node.args):
            attentive.add(place)
    names = {program.nodes[place].name for place in attentive}
    found = []
    for concept in task.concepts[:-1]:
        if concept.name not in names or not 2 <= len(concept.values) <= programs.max_values:
            continue
        if max(value_shares(concept)) > programs.max_share or _is_renamed(concept, out):
            continue
        if _use(task, concept) >= programs.min_use:
            found.append(concept.name)
    return found


def _is_renamed(one: Concept, other: Concept) -> bool:
    """Whether each value of one goes with one of the other's and the other way round."""
    pairs = np.unique(np.stack([one.codes.ravel(), other.codes.ravel()]), axis=1)
    return len(one.values) == len(other.values) == pairs.shape[1] - 1  # one pair is that of BOS


def _use(task: Task, concept: Concept) -> float:
    """Share of answers that another input's values of the concept change."""
    rows = np.random.Generator(np.random.PCG64(0)).permutation(len(task.ids))
    changed = counterfactual(task, {concept.name: concept.codes[rows]})
    return float((changed != task.answers)[:, 1:].mean())


def _alone(task: Task, name: str, config: TargetConfig) -> CompiledProgram | None:
    """The compiled program of one line of a program; None where it cannot be compiled to named values or embedded."""
    program = task.program
    assert isinstance(program, Program)
    lines = program.text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
    text = "\n".join([*lines[:at], "out" + lines[at].removeprefix(name)])
    try:
        compiled = compile_program(parse_program(text, program.vocab, program.max_seq_len, program.causal))
    except ProgramError:
        return None
    return None if embedding_reasons(compiled, config) else compiled
