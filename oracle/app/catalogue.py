"""The targets of zoos that the page offers, what is known of each, and which one stands beside another."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, zip_longest

from oracle.history_questions import prepared
from oracle.questions import Subject
from oracle.subjects import subject_of_target
from tracr_tasks.errors import InputError
from zoo.files import shown
from zoo.rows import ZooRow
from zoo.store import Zoo
from zoo.target import Target

MAX_OFFERED = 200
"""Targets of one zoo in the list to choose from; all others can be named."""
MAX_KEPT = 32
"""Targets that are kept in memory."""
KINDS = {"rasp": "RASP", "flowchart": "flowchart", "none": "no program"}


@dataclass(frozen=True, eq=False)
class Entry:
    """A target that can be asked about."""

    key: str
    """ZOO#ID, or the token of an upload."""
    target: Target
    subject: Subject | None = None
    """What is known of it; None of an upload."""
    function: str = ""
    """Hash of its function, where it is known."""


class Catalogue:
    """Zoos by name; a target's key is NAME#ID."""

    def __init__(self, zoos: Mapping[str, Zoo], seed: int):
        self.zoos, self.seed = dict(zoos), seed
        self.entry = lru_cache(MAX_KEPT)(self._entry)
        self.partner = lru_cache(1024)(self._partner)

    def offered(self) -> list[tuple[str, str]]:
        """Name and key of the targets in the list: of each zoo some of every kind, in turn."""
        found = list[tuple[str, str]]()
        for name, zoo in self.zoos.items():
            groups: dict[tuple[str, str], list[ZooRow]] = {}
            for row in zoo:
                groups.setdefault((row.part, row.regime), []).append(row)
            in_turn = (row for row in chain(*zip_longest(*groups.values())) if row is not None)
            rows = sorted(islice(in_turn, MAX_OFFERED), key=lambda row: (row.kind == "none", row.id))
            found += [(f"{name}#{row.id} ({KINDS[row.kind]})", f"{name}#{row.id}") for row in rows]
        return found

    def row(self, key: str) -> tuple[Zoo, ZooRow]:
        """The zoo and the row that a key names.

        Raises:
            InputError: no zoo has the name, or no target of it the id.
        """
        name, _, target_id = key.partition("#")
        if name not in self.zoos:
            known = ", ".join(self.zoos)
            raise InputError(f"target '{shown(key)}': expected ZOO#ID with one of the zoos {known}, or an upload")
        return self.zoos[name], self.zoos[name].row(target_id)

    def _entry(self, key: str) -> Entry:
        """The target that a key names, with what is known of it (see `row` for what is raised)."""
        zoo, row = self.row(key)
        target, program = zoo.target(row.id), zoo.program(row.id)
        subject = subject_of_target(program, row.regime, target, self.seed, row.labels)
        return Entry(key, target, prepared([subject], self.seed)[0], row.function_hash)

    def _partner(self, entry: Entry) -> str | None:
        """Key of a target of the same kind and as like in shape as any, but of another function, drawn under the seed.

        Likeness: kind of program, then the whole configuration, then the form of its answers, input names, depth.
        """
        best, least = list[str](), None
        for name, zoo in self.zoos.items():
            configs = {family: config == entry.target.config for family, config in zoo.families.items()}
            for row in zoo:
                key = f"{name}#{row.id}"
                if key == entry.key or (entry.function and row.function_hash == entry.function):
                    continue
                config = zoo.families[row.family]
                distance = (
                    entry.subject is not None and row.kind != entry.subject.kind,
                    not configs[row.family],
                    (config.read_out, config.output) != (entry.target.config.read_out, entry.target.config.output),
                    row.input_names != entry.target.vocab.input,
                    abs(config.n_layers - entry.target.config.n_layers),
                )
                if least is None or distance < least:
                    best, least = [], distance
                if distance == least:
                    best.append(key)
        return random.Random(f"{self.seed}/{entry.key}").choice(best) if best else None
