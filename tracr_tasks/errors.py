"""Every error that a user can cause, as one small tree.

    WeightOracleError            the root; the command line prints it as one line and exits with status 2
    +-- InputError               a file, folder, option or field is not what it must be
    |   +-- TargetError          a target's weights or configuration cannot be read
    |   +-- ZooError             a zoo's folder, index or shard is missing, damaged or of another kind
    |   +-- OracleError          an oracle's folder does not fit its base model or this version
    +-- ProgramError             a program cannot be parsed, run or compiled; holds every reason at once

A message says what was wrong, where, what was expected and what to do. `assert` is kept for our own bugs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class WeightOracleError(Exception):
    """Root of the errors that a user can cause."""


class InputError(WeightOracleError):
    """A file, folder, option or field is not what it must be."""


class TargetError(InputError):
    """A target's weights or configuration cannot be read."""


class ZooError(InputError):
    """A zoo's folder, index or shard is missing, damaged or of another kind."""


class OracleError(InputError):
    """An oracle's folder does not fit its base model or this version."""


@dataclass(frozen=True)
class Reason:
    """One reason why a program is refused: its line (from 1, or None where no line is to blame) and the text."""

    line: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


class ProgramError(WeightOracleError):
    """A program is refused; `reasons` holds every reason, each with its line."""

    def __init__(self, reasons: Sequence[Reason]):
        assert reasons, "a ProgramError needs a reason"
        self.reasons = tuple(reasons)
        super().__init__("; ".join(str(reason) for reason in self.reasons))
