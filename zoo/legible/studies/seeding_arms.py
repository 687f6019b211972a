"""What the study of seeding compares: pairs of a seed and a task that uses it, and ways to begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.errors import InputError
from tracr_tasks.library import parts
from zoo.legible.embedding import Seeding, embed, embedding_reasons
from zoo.legible.initial import initial_params
from zoo.legible.seed_options import SeedOptions
from zoo.legible.studies.configs import SeedingStudyConfig
from zoo.legible.tasks import Task, task_of

VOCAB, LENGTH = ("a", "b", "c", "d"), 6
RANDOM, FROZEN = "random", "frozen"
ARMS: dict[str, SeedOptions] = {
    RANDOM: SeedOptions(),  # its seed is taken out again: it says where one would have been
    "permuted": SeedOptions(permuted=True),
    "raw": SeedOptions(balance="raw"),
    "rebalanced": SeedOptions(),
    "rebalanced, rotated": SeedOptions(rotate=True),
    "rebalanced, rate 0.3": SeedOptions(rate=0.3),
    "rebalanced, rate 0.1": SeedOptions(rate=0.1),
    "rebalanced, rate 0.03": SeedOptions(rate=0.03),
    "rebalanced, preserved": SeedOptions(preserve=10.0),
    FROZEN: SeedOptions(rate=0.0),
}
"""Ways to begin, by name."""
FEWER = (RANDOM, "rebalanced", "rebalanced, rotated", "rebalanced, rate 0.1", FROZEN)
"""Those that are compared in other settings than the first."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A seed and a task whose program has the seed's output among its variables, but does not give it."""

    name: str
    seed: CompiledProgram
    task: Task
    concept: str
    """The task's concept that is the seed's output."""


@dataclass(frozen=True)
class Setting:
    """How the networks of a run are built and trained."""

    norm: str | None
    optimizer: str

    @property
    def name(self) -> str:
        """In a table."""
        return f"{self.norm or 'no norm'}, {'SGD' if self.optimizer == 'sgd' else 'AdamW'}"

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of what is compared."""
        return tuple(ARMS) if self == PLAIN else FEWER


PLAIN, NORMED, DESCENT = Setting(None, "adamw"), Setting("LN", "adamw"), Setting(None, "sgd")
PAIRS = ("count", "previous", "occurrence")


@cache
def pair(name: str) -> Pair:
    """A pair: `count` (how many tokens are mine; how many tokens have my count), `previous` (the token before mine; how
    many tokens are the one before mine), `occurrence` (the how many-th of its kind my token is; how many tokens share
    that)."""
    inner, task = _programs(name)
    learned = task_of(Program(task, VOCAB, LENGTH))
    seed = compile_program(Program(inner, VOCAB, LENGTH))
    names = set(seed.output_names)
    (concept,) = [c for c in learned.concepts if c.computed and c.name != "out" and set(c.values) == names]
    return Pair(name, seed, learned, concept.name)


def _programs(name: str) -> tuple[rasp.SOp, rasp.SOp]:
    def same(keys: rasp.SOp, queries: rasp.SOp) -> rasp.SOp:
        return rasp.SelectorWidth(rasp.select(keys, queries, "=="))

    if name == "previous":
        before = parts.shifted(rasp.TOKENS, 1, default="start")
        return before, same(rasp.TOKENS, before)
    inner = same(rasp.TOKENS, rasp.TOKENS) if name == "count" else parts.OCCURRENCE
    return inner, same(inner, inner)


def target(config: SeedingStudyConfig, task: Task, norm: str | None) -> TargetConfig:
    """Configuration of the networks that learn a task."""
    plain = TargetConfig(
        d_model=config.d_model,
        n_layers=config.n_layers,
        n_heads=4,
        d_head=config.d_head,
        d_mlp=config.d_mlp,
        n_ctx=LENGTH + 1,
        d_vocab=len(task.vocab.input),
        d_vocab_out=len(task.vocab.output),
        read_out="all",
        pad_token=1,
    )
    return replace(plain, normalization_type="LN") if norm == "LN" else plain


def check_pairs(config: SeedingStudyConfig, runs: Sequence[tuple[str, Setting]]) -> None:
    """See that every seed fits before anything is trained.

    Raises:
        InputError: one does not; holds every reason of every pair.
    """
    reasons = []
    for name, setting in dict.fromkeys(runs):
        each = pair(name)
        found = embedding_reasons(each.seed, target(config, each.task, setting.norm))
        reasons += [f"{name} ({setting.name}): {reason}" for reason in found]
    if reasons:
        raise InputError(f"seeds that cannot be embedded: {'; '.join(reasons)}")


def begun(what: Pair, config: TargetConfig, seed: int, arm: str) -> Seeding:
    """A network of an arm. One of `RANDOM` has nothing of the seed but the place where it would have been."""
    seeding = embed(what.seed, config, seed, ARMS[arm])
    if arm != RANDOM:
        return seeding
    fresh = {name: tensor[0] for name, tensor in initial_params(config, [seed]).items()}
    nothing = {name: torch.zeros_like(mask) for name, mask in seeding.guarded.items()}
    return replace(seeding, params=fresh, guarded=nothing)
