"""Who writes the drafts of programs that a reader is shown: one small decoder, or several, each asked in turn.

A decoder that has learned one kind of program well writes another badly, and often says so: its text is then
improbable. So the first one whose text it takes for more likely right than wrong is believed; where none is so sure,
the first that was asked. Targets that a RASP program may have been compiled to, as far as their shape says, begin with
a decoder that reads routes, if there is one; others are read by the others. With a `search`, programs near what it
writes are compiled and compared with such targets (search.py), and the nearest one is believed unless it is far. With
`namings` a flowchart is the likeliest of those that are likely, asked under several names (weighing.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from oracle.batch import LabelIds, collate
from oracle.config import PLAIN, Effort
from oracle.decoder import CODEC, Written
from oracle.decompiler import MAX_PARAMETERS, Decompiler
from oracle.neutral import Neutral
from oracle.order import in_order
from oracle.routes import NOT_READ, is_plain
from oracle.search import FAR, LONGEST, can_be_searched, searched
from oracle.trials import Draft, draft_of
from oracle.weighing import weighed
from tracr_tasks.errors import InputError, OracleError
from zoo.flowchart import Flowchart
from zoo.target import Target

FOLDER = "drafter"
"""Of an oracle's folder: where its decoders are."""
LIKELY = math.log(0.5)
"""Log-probability of a text (nats) from which on its writer is believed."""
MOST = 8
"""Decoders at most."""


class Drafter:
    """Small decoders, in the order in which they are asked, and what is done beside."""

    def __init__(self, writers: Sequence[Decompiler], effort: Effort = PLAIN):
        if not 1 <= len(writers) <= MOST:
            raise OracleError(f"{len(writers)} decoders for drafts, expected 1 to {MOST}")
        self.writers, self.effort = tuple(writers), effort

    @classmethod
    def from_pretrained(cls, folders: Sequence[Path | None], effort: Effort = PLAIN) -> Drafter:
        """The decoders of some folders; None is the one that ships with the package.

        Raises:
            OracleError: none, or a missing or damaged folder.
        """
        return cls([Decompiler.from_pretrained(folder) for folder in folders], effort)

    def write(
        self, targets: Sequence[Neutral], pieces: Sequence[LabelIds], effort: Effort | None = None
    ) -> list[Draft]:
        """A draft of the program of each target, whose labels' names are given as pieces of `CODEC`; `effort` in place
        of the drafter's own if it is given.

        Raises:
            InputError: a target that none of the decoders can read.
        """
        effort = self.effort if effort is None else effort
        targets = [in_order(target) for target in targets]
        turns = [self._in_turn(target, names) for target, names in zip(targets, pieces, strict=True)]
        found, by, left = dict[int, Written](), dict[int, Decompiler](), list(range(len(targets)))
        for writer in self.writers:
            able = [i for i in left if writer in turns[i]]
            near = {
                i: text for i in able if (text := _nearest(writer, targets[i], pieces[i], effort.search)) is not None
            }
            found |= near
            left, able = ([i for i in each if i not in near] for each in (left, able))
            if able:
                batch = collate([targets[i] for i in able], [pieces[i] for i in able]).to(writer.decoder.table.device)
                texts = dict(zip(able, writer.decoder.write(batch, LONGEST), strict=True))
                believed = {i: text for i, text in texts.items() if i not in found or text.log_prob >= LIKELY}
                found, by = found | believed, by | dict.fromkeys(believed, writer)
                left = [i for i in left if i not in able or found[i].log_prob < LIKELY]
        if missing := [i for i in range(len(targets)) if i not in found]:
            raise InputError(f"target {missing[0] + 1}: {NOT_READ}")
        drafts = [draft_of(found[i], targets[i], pieces[i]) for i in range(len(targets))]
        if not effort.namings:
            return drafts
        return [_weighed(draft, by.get(i), targets[i], pieces[i], effort.namings) for i, draft in enumerate(drafts)]

    def _in_turn(self, target: Neutral, pieces: LabelIds) -> list[Decompiler]:
        """Who is asked about a target."""
        able = [writer for writer in self.writers if writer.reads(target)]
        by_routes = [writer for writer in able if writer.by_routes]
        if not by_routes or len(by_routes) == len(able):
            return able
        if can_be_searched(target, pieces):
            return able[able.index(by_routes[0]) :]
        return [writer for writer in able if not writer.by_routes]

    def to(self, device: torch.device | str) -> None:
        """Move all decoders to a device."""
        for writer in self.writers:
            writer.decoder.to(device)

    def save_pretrained(self, folder: Path) -> None:
        """A folder of its own for each decoder, numbered in their order."""
        for number, writer in enumerate(self.writers):
            writer.save_pretrained(folder / str(number))


def _nearest(writer: Decompiler, target: Neutral, pieces: LabelIds, budget: int) -> Written | None:
    """The program nearest to a target's weights among at most `budget` that are compiled; None where nothing is
    searched for, or all are far."""
    if not (budget and writer.by_routes and can_be_searched(target, pieces)):
        return None
    found = searched(writer.decoder, target, pieces, budget)
    return Written(found.text, found.log_prob, found.certified) if found.distance < FAR else None


def _weighed(draft: Draft, writer: Decompiler | None, target: Neutral, pieces: LabelIds, namings: int) -> Draft:
    """The likeliest flowchart in place of one that was written from left to right; other drafts as they are."""
    if writer is None or not isinstance(draft.program, Flowchart):
        return draft
    return weighed(writer.decoder, target, pieces, namings) or draft


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
