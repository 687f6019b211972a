"""Functions that an oracle has learned from: an evaluation on them says nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracr_tasks.errors import OracleError
from zoo.files import read_json, shown, write_atomic
from zoo.store import Zoo

FILE = "functions.json"
MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Contamination:
    """How many targets of an evaluation have a function that the oracle has learned from."""

    number: int
    total: int
    known: bool
    """Whether the oracle's folder says what it has learned from."""

    def __str__(self) -> str:
        if not self.known:
            return "contamination: the oracle's folder does not say what functions it has learned from"
        return (
            f"contaminated: {self.number:,} of {self.total:,} targets have functions that the oracle has learned from"
        )


def save_functions(folder: Path, hashes: Collection[str]) -> None:
    """Write the hashes of functions into an oracle's folder, sorted."""
    write_atomic(folder / FILE, [json.dumps(sorted(hashes)).encode()])


def learned_functions(folder: Path) -> Collection[str] | None:
    """The hashes that `save_functions` wrote; None if there is no such file.

    Raises:
        OracleError: it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    hashes = read_json(path, MAX_BYTES, OracleError)
    if not isinstance(hashes, list) or not all(isinstance(each, str) for each in hashes):
        raise OracleError(f"{shown(path, 300)}: not a list of hashes of functions, as `weight-oracle train` writes it")
    return frozenset(hashes)


def contamination_of(folder: Path, zoo: Zoo, splits: Sequence[str], regimes: Sequence[str] = ()) -> Contamination:
    """Compare the functions of some splits of a zoo with those that the oracle in a folder has learned from."""
    rows = [r for s in splits for r in zoo.rows(split=s) if r.function_hash and (not regimes or r.regime in regimes)]
    learned = learned_functions(folder)
    number = sum(row.function_hash in learned for row in rows) if learned is not None else 0
    return Contamination(number, len(rows), learned is not None)
