"""Who writes the drafts of programs that a reader is shown: one small decoder, or several, each asked in turn.

A decoder that has learned one kind of program well writes another badly, and says so: its text is then improbable. So
the first one whose text it takes for more likely right than wrong is believed, else the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from oracle.batch import LabelIds, collate
from oracle.decoder import CODEC, Written
from oracle.decompiler import MAX_PARAMETERS, Decompiler
from oracle.neutral import Neutral
from oracle.routes import NOT_READ, is_plain
from tracr_tasks.errors import InputError, OracleError
from zoo.target import Target

FOLDER = "drafter"
"""Of an oracle's folder: where its decoders are."""
LONGEST = 140
"""Pieces of the longest draft."""
LIKELY = math.log(0.5)
"""Log-probability of a text (nats) from which on its writer is believed."""
MOST = 8
"""Decoders at most."""


class Drafter:
    """Small decoders, in the order in which they are asked."""

    def __init__(self, writers: Sequence[Decompiler]):
        if not 1 <= len(writers) <= MOST:
            raise OracleError(f"{len(writers)} decoders for drafts, expected 1 to {MOST}")
        self.writers = tuple(writers)

    @classmethod
    def from_pretrained(cls, folders: Sequence[Path | None]) -> Drafter:
        """The decoders of some folders; None is the one that ships with the package.

        Raises:
            OracleError: none, or a missing or damaged folder.
        """
        return cls([Decompiler.from_pretrained(folder) for folder in folders])

    def write(self, targets: Sequence[Neutral], pieces: Sequence[LabelIds]) -> list[Written]:
        """A draft of the program of each target, whose labels' names are given as pieces of `CODEC`.

        Raises:
            InputError: a target that none of the decoders can read.
        """
        found, left = dict[int, Written](), list(range(len(targets)))
        for writer in self.writers:
            if able := [i for i in left if writer.reads(targets[i])]:
                batch = collate([targets[i] for i in able], [pieces[i] for i in able]).to(writer.decoder.table.device)
                found |= zip(able, writer.decoder.write(batch, LONGEST), strict=True)
                left = [i for i in left if i not in found or found[i].log_prob < LIKELY]
        if missing := [i for i in range(len(targets)) if i not in found]:
            raise InputError(f"target {missing[0] + 1}: {NOT_READ}")
        return [found[i] for i in range(len(targets))]

    def to(self, device: torch.device | str) -> None:
        """Move all decoders to a device."""
        for writer in self.writers:
            writer.decoder.to(device)

    def save_pretrained(self, folder: Path) -> None:
        """A folder of its own for each decoder, numbered in their order."""
        for number, writer in enumerate(self.writers):
            writer.save_pretrained(folder / str(number))


def folders_in(folder: Path) -> list[Path | None]:
    """Folders of the decoders that `Drafter.save_pretrained` wrote."""
    return [path for path in (folder / str(number) for number in range(MOST)) if path.is_dir()]


def can_be_drafted(target: Target, neutral: Neutral) -> bool:
    """Whether small decoders can read a target: it is not too large, of a kind that they learn from, and its labels
    have names that they can spell. It could also have one head or neuron more, as `explain` adds. Args: a target; its
    folded weights."""
    names = (*target.vocab.input, *target.vocab.output)
    small = target.n_parameters <= MAX_PARAMETERS and is_plain(neutral, spare=1)
    return small and all(map(CODEC.knows, names))
