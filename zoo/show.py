"""A zoo at a glance: counts by part, regime and split, a histogram of accuracies, and a few programs.

On a terminal a table in colour; in a pipe the same words as plain columns, nothing cut or wrapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo.chunks import stem_of
from zoo.files import shown
from zoo.legible.matched import matched_lines
from zoo.rows import ZooRow, by_reason, read_facts
from zoo.split import SPLITS
from zoo.store import Zoo

SHOWN = 3
"""Programs shown of each part and regime."""
BOUNDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
"""Of the bins of the histogram; each holds its lower bound, and 1 has a bin of its own."""
MAX_LINE = 2_000
"""Characters of a line of a program."""
BAR = 40
"""Characters of the longest bar."""
HEADS = ("targets", *SPLITS, "all", "structures", "shapes", "numbers", "accuracy")


def show_zoo(directory: Path | str, console: Console | None = None) -> None:
    """Print what a zoo holds.

    Raises:
        ZooError: the folder is no zoo, or is damaged.
    """
    zoo = Zoo.open(directory)
    facts = read_facts(zoo.directory)
    console = console or Console()
    _print_table(console, f"{shown(zoo.directory, 300)}: {len(zoo)} targets", counts(zoo))
    left_out = [f"{facts.duplicates} duplicates left out"] * bool(facts.duplicates)
    left_out += [f"{number} failed: {reason}" for reason, number in by_reason(facts.failures).items()]
    _say(console, *left_out, *matched_lines(list(zoo)), *histogram(zoo))
    for members in groups(zoo).values():
        with_program = [row for row in members if row.text]
        for row in with_program[:: max(1, len(with_program) // SHOWN)][:SHOWN]:
            about = f"accuracy {row.labels['accuracy']:.4f}" if "accuracy" in row.labels else row.family
            _say(console, "", f"{row.id}  {row.split}  {about}", *row.text.splitlines())


def groups(zoo: Zoo) -> dict[str, list[ZooRow]]:
    """Rows by part and regime, in the order of the index."""
    out: dict[str, list[ZooRow]] = {}
    for row in zoo:
        out.setdefault(stem_of(row.part, row.regime), []).append(row)
    return out


def counts(zoo: Zoo) -> list[tuple[str, ...]]:
    """By part and regime: targets of each split, structures, architectures, numbers in a target, mean accuracy."""
    out: list[tuple[str, ...]] = []
    for name, rows in groups(zoo).items():
        splits = Counter(row.split for row in rows)
        structures = len({row.structure_hash for row in rows if row.structure_hash})
        sizes = sorted(row.n_params for row in rows)
        accuracies = [row.labels["accuracy"] for row in rows if "accuracy" in row.labels]
        out.append(
            (
                name,
                *(str(splits[split]) for split in SPLITS),
                str(len(rows)),
                str(structures or "-"),
                str(len({row.family for row in rows})),
                f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,}-{sizes[-1]:,}",
                f"{mean(accuracies):.4f}" if accuracies else "-",
            )
        )
    return out


def histogram(zoo: Zoo) -> Iterator[str]:
    """Number of targets by accuracy, a bar a line; nothing where none has an accuracy."""
    values = [row.labels["accuracy"] for row in zoo if "accuracy" in row.labels]
    if not values:
        return
    bins = Counter(max(i for i, low in enumerate(BOUNDS) if low <= value) for value in values)
    yield from ("", "accuracy")
    for i in range(min(bins), len(BOUNDS)):
        label = "1" if BOUNDS[i] == 1 else f"{BOUNDS[i]:g} to {BOUNDS[i + 1]:g}"
        bar = "#" * max(round(BAR * bins[i] / max(bins.values())), int(bins[i] > 0))
        yield f"{label:>13}  {bins[i]:>7}  {bar}".rstrip()


def _print_table(console: Console, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """A table, or in a pipe columns of plain text."""
    if console.is_terminal:
        table = Table(title=Text(title), title_justify="left")
        for head in HEADS:
            table.add_column(head, justify="left" if head == HEADS[0] else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in (HEADS, *rows)
    ]
    _say(console, title, *("  ".join(line) for line in lines))


def _say(console: Console, *lines: str) -> None:
    """Lines as they are: no mark-up read, nothing wrapped."""
    for line in lines:
        console.print(Text(shown(line, MAX_LINE)), soft_wrap=True, highlight=False)
