"""Which split a program belongs to: a function of its hashes alone, so zoos built anywhere agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

from tracr_tasks.errors import InputError

Split = Literal["train", "val", "test", "structure"]
"""`val` and `test` hold functions, `structure` holds whole orbits of relabelling, out of training."""
SPLITS: tuple[Split, ...] = get_args(Split)
STRUCTURE_SHARE = 0.10
VAL_SHARE = 0.05
TEST_SHARE = 0.10
MAX_DRAWS = 10_000
"""Draws before a function of the wanted splits is given up; the rarest split holds one function in twenty."""
T = TypeVar("T")


def split_of(function_hash: str, structure_hash: str | None = None) -> Split:
    """A tenth of all structures is `structure`; of the other functions 10% are `test`, 5% `val`, the rest `train`."""
    if structure_hash and _unit("structure:" + structure_hash) < STRUCTURE_SHARE:
        return "structure"
    at = _unit("function:" + function_hash)
    return "test" if at < TEST_SHARE else "val" if at < TEST_SHARE + VAL_SHARE else "train"


def _unit(text: str) -> float:
    """A number in [0, 1) that the text alone determines."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def draw_of_splits(draw: Callable[[int], T], split: Callable[[T], str], seed: int, wanted: Sequence[str]) -> T:
    """The first of `draw(seed)`, `draw(seed + 1)`, ... (modulo 2^63) whose split is wanted.

    Raises:
        InputError: none in 10,000 draws.
    """
    for offset in range(MAX_DRAWS):
        found = draw((seed + offset) % 2**63)
        if split(found) in wanted:
            return found
    raise InputError(f"spec: no function of the splits {', '.join(wanted)} in {MAX_DRAWS} draws from seed {seed}")
