"""The runs of benchmarks/encoders.py as one table: a row for each setting, mean and range over its seeds.

python benchmarks/encoder_table.py runs.json
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

COLUMNS = ("encoder", "kind", "targets", "steps", "batch", "relabel", "gauge_train", "gauge_test")
SPLITS = ("test", "structure", "train")


@dataclass(frozen=True)
class TableConfig:
    """Where the runs are."""

    runs: tyro.conf.Positional[Path]
    """JSON file that `benchmarks/encoders.py --out` wrote."""


def cell(values: Sequence[float]) -> str:
    """Mean in %, and the range where there are several."""
    mean = f"{100 * sum(values) / len(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: share of equivalent programs / agreement per input, by split, at the last evaluation."""
    groups = defaultdict[tuple[Any, ...], list[dict[str, Any]]](list)
    for run in runs:
        groups[tuple(run["config"][name] for name in COLUMNS)].append(run)
    lines = [[*COLUMNS, "parameters", "seeds", "s/step", *SPLITS], ["---"] * (len(COLUMNS) + 3 + len(SPLITS))]
    for setting, found in sorted(groups.items(), key=lambda item: [str(value) for value in item[0]]):
        last = [run["history"][-1] for run in found]
        splits = []
        for split in SPLITS:
            results = [each["results"][split] for each in last if split in each["results"]]
            shares = [cell([r[name] for r in results]) for name in ("equivalent", "agreement")] if results else ["-"]
            splits.append(" / ".join(shares))
        seconds = sum(each["seconds_per_step"] for each in last) / len(last)
        facts = [f"{found[0]['encoder_parameters']:,}", str(len(found)), f"{seconds:.2f}"]
        lines.append([*map(str, setting), *facts, *splits])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(config: TableConfig) -> None:
    """Read, print."""
    print(table(json.loads(config.runs.read_text())))


if __name__ == "__main__":
    main(tyro.cli(TableConfig, description=__doc__))
