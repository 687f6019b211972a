"""Index, layout and card of a zoo out of its shards, which hold all that is in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tracr_tasks.transformer import TargetConfig
from zoo.card import CARD_FILE, card_text
from zoo.fields import to_fields
from zoo.files import write_if_other
from zoo.rows import INDEX_FILE, Failure, IndexFacts, ZooRow, index_bytes
from zoo.shard import layout_of, read_shard, shard_names, shard_path
from zoo.store import LAYOUT_FILE, SPEC_FILE, read_spec


@dataclass(frozen=True)
class MergeReport:
    """What the index was made of."""

    rows: int
    """Targets in the index."""
    duplicates: int
    """Targets left out because an earlier one of their part and regime has their function."""
    failures: tuple[Failure, ...]
    """Targets that could not be made."""
    written: tuple[str, ...]
    """Files that were not what they had to be."""


@dataclass
class Gathered:
    """What the shards of a zoo hold together."""

    rows: list[ZooRow]
    families: dict[str, TargetConfig]
    failures: list[Failure]
    duplicates: int


def gather(directory: Path) -> Gathered:
    """Read the metadata of all shards, in the order of the index; only the first target of a function is kept.

    Raises:
        ZooError: a shard is damaged.
    """
    found, seen = Gathered([], {}, [], 0), set[tuple[str, str, str]]()
    for name in shard_names(directory):
        shard = read_shard(shard_path(directory, name))
        found.families |= shard.families
        found.failures += shard.failures
        for row in shard.rows:
            if row.function_key() in seen:
                found.duplicates += 1
            else:
                seen.add(row.function_key())
                found.rows.append(row)
    return found


def merge_index(directory: Path) -> MergeReport:
    """Make layout.json, README.md and, last, index.parquet out of the shards; a file that is right is not touched.

    Raises:
        ZooError: a shard or spec.json is damaged.
    """
    found = gather(directory)
    spec = read_spec(directory) if (directory / SPEC_FILE).exists() else None
    facts = IndexFacts(spec.to_json() if spec else None, found.duplicates, tuple(found.failures))
    files = {LAYOUT_FILE: layout_bytes(found.families)}
    files |= {CARD_FILE: card_text(spec, found.rows, facts).encode()} if spec else {}
    files |= {INDEX_FILE: index_bytes(found.rows, facts)}
    written = tuple(name for name, content in files.items() if write_if_other(directory / name, [content]))
    return MergeReport(len(found.rows), found.duplicates, facts.failures, written)


def layout_bytes(families: dict[str, TargetConfig]) -> bytes:
    """The text of layout.json, a line a family: its tensors by name, shape and offset into a flat row."""
    lines = []
    for name, config in sorted(families.items()):
        tensors = [{"name": n, "shape": list(shape), "offset": at} for n, shape, at in layout_of(config)]
        lines.append(f"{json.dumps(name)}: {json.dumps({'config': to_fields(config), 'tensors': tensors})}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
