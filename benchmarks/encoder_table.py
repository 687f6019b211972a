"""Runs of encoders.py and encoder_sweep.py as one table: a row for each setting, mean and range over its seeds.

python benchmarks/encoder_table.py charts.json programs.json
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

SETTINGS = ("kind", "targets", "relabel", "encoder", "steps", "batch", "gauge_train", "gauge_test")
"""What tells runs apart, in the order of the rows; the seed does not."""
ENCODERS = ("channels", "routes", "circuits", "set", "flat", "statistics")
"""In this order."""


@dataclass(frozen=True)
class TableConfig:
    """Where the runs are."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """JSON files that the benchmarks wrote."""


def cell(values: Sequence[float], scale: float = 100.0, digits: int = 1) -> str:
    """Mean, and the range where there are several; in % unless scaled otherwise."""
    mean = f"{scale * sum(values) / len(values):.{digits}f}"
    low, high = (f"{scale * end:.{digits}f}" for end in (min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def cells(results: Sequence[dict[str, float]]) -> str:
    """Share of equivalent programs / agreement per input / loss, over seeds."""
    if not results:
        return "-"
    shares = [cell([r[name] for r in results]) for name in ("equivalent", "agreement")]
    return " / ".join([*shares, cell([r["loss"] for r in results], 1.0, 2)])


def place(setting: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where a setting stands among the rows."""
    return tuple(ENCODERS.index(value) if value in ENCODERS else value for value in setting)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: equivalent / agreement / loss by split at the last evaluation; what all runs share stands above it."""
    groups = defaultdict[tuple[Any, ...], list[dict[str, Any]]](list)
    for run in runs:
        groups[tuple(run["config"][name] for name in SETTINGS)].append(run)
    vary = [i for i in range(len(SETTINGS)) if len({setting[i] for setting in groups}) > 1]
    first = next(iter(groups))
    shared = {name: first[i] for i, name in enumerate(SETTINGS) if i not in vary}
    splits = list(dict.fromkeys(split for run in runs for split in run["history"][-1]["results"]))
    lines = [[*(SETTINGS[i] for i in vary), "parameters", "seeds", "s/step", *splits]]
    lines.append(["---"] * len(lines[0]))
    for setting, found in sorted(groups.items(), key=lambda item: place(item[0])):
        last = [run["history"][-1] for run in found]
        seconds = sum(each["seconds_per_step"] for each in last) / len(last)
        facts = [f"{found[0]['encoder_parameters']:,}", str(len(found)), f"{seconds:.2f}"]
        by_split = [cells([e["results"][split] for e in last if split in e["results"]]) for split in splits]
        lines.append([*(str(setting[i]) for i in vary), *facts, *by_split])
    head = ", ".join(f"{name} {value}" for name, value in shared.items())
    return "\n".join([head, "", *("| " + " | ".join(line) + " |" for line in lines)])


def main(config: TableConfig) -> None:
    """Read, print."""
    print(table([run for path in config.runs for run in json.loads(path.read_text())]))


if __name__ == "__main__":
    main(tyro.cli(TableConfig, description=__doc__))
