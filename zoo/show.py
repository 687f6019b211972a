"""A zoo at a glance: counts by regime and split, accuracy, and a few programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.rows import ZooRow
from zoo.spec import REGIMES
from zoo.split import SPLITS
from zoo.store import Zoo

SHOWN = 3
"""Programs shown of each regime."""


def show_zoo(directory: Path | str, console: Console | None = None) -> None:
    """Print what a zoo holds.

    Raises:
        ZooError: the folder is no zoo, or is damaged.
    """
    zoo = Zoo.open(directory)
    console = console or Console()
    console.print(counts_table(zoo))
    for regime in REGIMES:
        rows = zoo.rows(regime=regime)
        for row in rows[:: max(1, len(rows) // SHOWN)][:SHOWN]:
            if row.text:
                console.print(f"[bold]{escape(row.id)}[/]  {escape(row.split)}  {escape(_labels(row))}")
                console.print(escape(row.text), highlight=False)


def counts_table(zoo: Zoo) -> Table:
    """Targets by regime and split; orbits of relabelling, architectures, numbers in a target, mean accuracy."""
    table = Table(title=f"{zoo.directory}: {len(zoo)} targets", title_justify="left")
    for name in ("regime", *SPLITS, "all", "orbits", "shapes", "numbers", "accuracy"):
        table.add_column(name, justify="left" if name == "regime" else "right")
    for regime in REGIMES:
        rows = zoo.rows(regime=regime)
        if not rows:
            continue
        splits = Counter(row.split for row in rows)
        structures = len({row.structure_hash for row in rows if row.structure_hash})
        sizes = sorted(row.n_params for row in rows)
        accuracies = [row.labels["accuracy"] for row in rows if "accuracy" in row.labels]
        table.add_row(
            regime,
            *(str(splits[split]) for split in SPLITS),
            str(len(rows)),
            str(structures or "-"),
            str(len({row.family for row in rows})),
            f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,}-{sizes[-1]:,}",
            f"{mean(accuracies):.4f}" if accuracies else "-",
        )
    return table


def _labels(row: ZooRow) -> str:
    return f"accuracy {row.labels['accuracy']:.4f}" if "accuracy" in row.labels else row.family
