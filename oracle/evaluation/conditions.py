"""Every condition of the evaluation by its name, in the order of the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from oracle.config import EvalConfig
from oracle.evaluation import known, shown, told
from oracle.evaluation.bench import Bench, Said

Condition: TypeAlias = Callable[[Bench], Sequence[Said | None]]
"""An answer to every question of a bench, in its order; None where the condition has nothing to say."""

FAMILIAR = "own weights, phrasings trained on"
OWN, SWAPPED, NOTHING, GAUGE, SOURCE = (
    "own weights",
    "another target's",
    "question only",
    "another gauge",
    "source in context",
)
UNDRAFTED, DRAFTED = "own weights, no draft", "own draft, no weight tokens"
"""Of oracles that show their reader drafts."""
FEW: dict[str, Condition] = {OWN: shown.own, SWAPPED: shown.swapped, NOTHING: shown.nothing}
"""What every table has."""


def pairs_name(n: int) -> str:
    """The name of the black box of `n` input-output pairs."""
    return f"black box, {n} pairs"


def lookup_name(n: int) -> str:
    """The name of the same without a language model."""
    return f"look-up in {n} pairs"


def conditions_of(config: EvalConfig, drafts: bool = False) -> dict[str, Condition]:
    """The conditions that an evaluation has; of an oracle that shows its reader drafts, each of the two alone too."""
    halves: dict[str, Condition] = {UNDRAFTED: shown.undrafted, DRAFTED: shown.drafted} if drafts else {}
    if config.controls == "few":
        return FEW | halves
    return {
        OWN: shown.own,
        **halves,
        GAUGE: shown.regauged,
        FAMILIAR: shown.familiar,
        SWAPPED: shown.swapped,
        "entries shuffled": shown.shuffled,
        "architecture only": shown.architecture,
        "Gaussian tokens": shown.gaussian,
        "zero tokens": shown.silent,
        NOTHING: shown.nothing,
        "base, question only": shown.base_alone,
        "majority": known.majority,
        "nearest by weight tokens": known.nearest,
        "nearest by statistics": known.nearest_statistics,
        "statistics reader": known.statistics_reader,
        "decoder without a language model": known.decoder(config.decoder),
        **{lookup_name(n): known.lookup(n) for n in config.pairs if n},
        **{pairs_name(n): told.black_box(n) for n in config.pairs},
        SOURCE: told.source,
    }
