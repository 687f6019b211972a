"""What a bad input is: its row in the list, how it is made, and what the refusal must say."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Good = Mapping[str, Path]
"""Sound folders by kind (see good.py)."""
Spoil = Callable[[Path], object]
"""Does something to a folder."""
CANARY = "canary"
"""A file that appears in the working directory if anything of an input is executed."""
EVIL = "evil_module"
"""A module in the working directory and beside every target that makes the canary when it is imported."""


@dataclass(frozen=True)
class Case:
    """One bad input."""

    row: int
    name: str
    make: Callable[[Path, Good], list[object]]
    """Makes it in an empty folder, out of sound ones; the arguments of the command line."""
    words: tuple[str, ...]
    """All of them stand in the refusal."""

    def __str__(self) -> str:
        return f"{self.row:02}-{self.name.replace(' ', '-')}"


def target(row: int, name: str, spoil: Spoil, *words: str, kind: str = "own") -> Case:
    """A sound target of a kind, spoilt, that is asked about."""

    def make(folder: Path, good: Good) -> list[object]:
        shutil.copytree(good[kind], folder / "target")
        (folder / "target" / f"{EVIL}.py").write_text(evil_source(folder))
        spoil(folder / "target")
        return ["ask", folder / "target", "What does this model compute?"]

    return Case(row, name, make, ("/target", *words))


def told(row: int, name: str, words: tuple[str, ...], make: Callable[[Path], list[object]]) -> Case:
    """An input of its own, that no sound folder is needed for."""
    return Case(row, name, lambda folder, good: make(folder), words)


def evil_source(folder: Path) -> str:
    """Text of a module that makes the canary."""
    return f"from pathlib import Path\nPath({str(folder / 'cwd' / CANARY)!r}).touch()\n"


class Payload:
    """Makes the canary if it is ever unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def hostile_pickle(folder: Path, protocol: int = 4) -> bytes:
    """A pickle that makes the canary of the folder that a target lies in."""
    return pickle.dumps(Payload(folder.parent / "cwd" / CANARY), protocol=protocol)
