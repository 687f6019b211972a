"""What a zoo's spec is made of beside its recipes: named parts, and how it grew. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracr_tasks.errors import InputError
from zoo.flowchart_config import FlowchartConfig
from zoo.legible.recipe import HISTORIES, LegibleRecipe
from zoo.split import SPLITS
from zoo.training_config import Architecture, TrainConfig

MAX_COUNT = 2_000_000
"""Targets of one regime; more than any disk here holds, and a mistyped 10^9 is refused."""
COMPILED = ("rasp", "flowchart")
"""Kinds of program that compiled targets may be of."""
REGIMES = ("compiled", "trained", "untrained", *HISTORIES)
"""How targets get their weights, in the order of the index."""


@dataclass(frozen=True)
class Part:
    """More targets of a zoo under a name of their own; a recipe that is not given is the spec's.

    Raises:
        InputError: a name that is none, or a count out of range.
    """

    name: str
    """Lower-case letters, digits and _; it begins the ids of the part's targets and stands in the index."""
    compiled: int = 0
    """RASP programs, compiled."""
    trained: int = 0
    """Flowcharts, each learned by a transformer of its own."""
    untrained: int = 0
    """Transformers with random weights only."""
    splits: tuple[str, ...] | None = None
    """In place of the spec's, as are the four below."""
    flowcharts: FlowchartConfig | None = None
    """What the trained targets learn."""
    training: TrainConfig | None = None
    """How they learn it."""
    architectures: tuple[Architecture, ...] | None = None
    """Shapes of trained and untrained targets."""
    programs: Mapping[str, Any] | None = None
    """Fields of `tracr_tasks.SamplerConfig` that differ from its defaults."""
    compiles: str | None = None
    """In place of the spec's."""
    seeded: int = 0
    """Networks that begin with a compiled variable of their program in them; so do the three below."""
    permuted: int = 0
    """The control of `seeded`: each seeded tensor's entries are shuffled."""
    decoy: int = 0
    """Networks seeded with a variable of another target's program."""
    seeded_anchored: int = 0
    """Networks both seeded and anchored."""
    anchored: int = 0
    """Networks that learn with a concept pulled towards an axis."""
    rerandomised: int = 0
    """Trained networks whose tensors are drawn anew with the mean and variance that they had."""
    legible: LegibleRecipe | None = None
    """In place of the spec's; with it, compiled, trained and untrained targets are of its programs and networks too."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", self.name) or self.name in REGIMES:
            raise InputError(
                f"spec: part {self.name!r}: expected a name of up to 32 lower-case letters, digits and _, "
                f"and none of {', '.join(REGIMES)}"
            )
        check_counts(self, f"spec: part '{self.name}'")
        if not any(getattr(self, regime) for regime in REGIMES):
            raise InputError(f"spec: part '{self.name}' has no targets, expected a count of {', '.join(REGIMES)}")

    def overrides(self) -> dict[str, Any]:
        """The counts, and the recipes that are given."""
        names = (*REGIMES, "splits", "flowcharts", "training", "architectures", "programs", "compiles", "legible")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Growth:
    """How a zoo came to its counts: written when a finished zoo is built again with more targets.

    Targets of one chunk are trained as one stack, so chunks that are there must stay as they are: a later chunk begins
    where an earlier build ended.
    """

    origin: str
    """Hash of the spec that the zoo was begun with, which all its shards carry."""
    ends: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Numbers of targets at which builds ended, smallest first, by regime, or part and regime as in "long-trained"."""

    def __post_init__(self) -> None:
        for stem, counts in self.ends.items():
            if any(not 0 < n <= MAX_COUNT for n in counts) or sorted(set(counts)) != [*counts]:
                raise InputError(f"spec: growth: ends of {stem!r} are {list(counts)}, expected ascending counts")


def check_histories(spec: Any) -> None:
    """Refuse counts of targets with a history where no recipe says how they are made.

    Raises:
        InputError: there are some; all are named.
    """
    owners = [("", spec), *((f"part '{part.name}': ", part) for part in spec.parts)]
    asked = [
        f"{where}{name} = {count}"
        for where, owner in owners
        for name in HISTORIES
        if owner.legible is None and spec.legible is None and (count := getattr(owner, name))
    ]
    if asked:
        raise InputError(f"spec: {'; '.join(asked)}: expected a table `legible` that says how they are made")


def check_counts(owner: Any, where: str) -> None:
    """Refuse a count of a regime that is out of range, and splits or kinds of compiled program that there are not.

    Raises:
        InputError: there is one.
    """
    for name in REGIMES:
        count = getattr(owner, name)
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise InputError(f"{where}: {name} = {count!r}, expected 0 to {MAX_COUNT}")
    if owner.splits is not None and (not owner.splits or set(owner.splits) - set(SPLITS)):
        raise InputError(f"{where}: splits = {list(owner.splits)!r}, expected some of {', '.join(SPLITS)}")
    if owner.compiles not in (None, *COMPILED):
        raise InputError(f"{where}: compiles = {owner.compiles!r}, expected {' or '.join(COMPILED)}")
    if owner.architectures is not None and not owner.architectures:
        raise InputError(f"{where}: architectures is empty, expected at least one")
