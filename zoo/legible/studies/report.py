"""A study's folder: study.json, table.parquet with one row a measurement, table.md with intervals, and figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracr_tasks.errors import InputError
from zoo.files import shown, write_atomic
from zoo.legible.studies.configs import StudyConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIG, PARQUET, MARKDOWN = "study.json", "table.parquet", "table.md"
RESAMPLES = 2_000
"""Of a bootstrap interval."""
Row = Mapping[str, Any]
"""Columns of one measurement: what was done (arm, pair, seed, step ...) and what came out."""


@dataclass(frozen=True)
class Summary:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float
    number: int

    def text(self, digits: int = 2) -> str:
        """`0.93 [0.90, 0.95]`; nothing for no values, the mean alone for one."""
        if not self.number:
            return ""
        mean = f"{self.mean:.{digits}f}"
        return mean if self.number == 1 else f"{mean} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def summary(values: Sequence[float | None], clusters: Sequence[Any] | None = None, seed: int = 0) -> Summary:
    """Mean with a percentile bootstrap interval; missing values (None, NaN) are left out.

    Args:
        clusters: one label a value; whole clusters are resampled, for values that are not independent.
    """
    pairs = list(zip(values, clusters or range(len(values)), strict=True))
    kept = [(float(v), c) for v, c in pairs if v is not None and not np.isnan(v)]
    if not kept:
        return Summary(float("nan"), float("nan"), float("nan"), 0)
    groups: dict[Any, list[float]] = {}
    for value, cluster in kept:
        groups.setdefault(cluster, []).append(value)
    sums = np.array([sum(group) for group in groups.values()])
    sizes = np.array([len(group) for group in groups.values()])
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Summary(float(sums.sum() / sizes.sum()), float(low), float(high), len(kept))


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, header)), ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def claim_folder(name: str, config: StudyConfig) -> None:
    """Make a study's folder and note what it is to hold.

    Raises:
        InputError: it holds something else, or a study with other options.
    """
    out, wanted = config.out, _facts(name, config)
    if out.exists() and not out.is_dir():
        raise InputError(f"{shown(out, 300)}: is a file, expected a folder for the study")
    if out.is_dir() and any(out.iterdir()):
        path = out / CONFIG
        try:
            held = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"{shown(out, 300)}: is not empty and holds no study, expected a new or empty folder"
            ) from None
        if held != wanted:
            raise InputError(f"{shown(out, 300)}: holds a study with other options, expected a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / CONFIG, [(json.dumps(wanted, indent=1) + "\n").encode()])


def _facts(name: str, config: StudyConfig) -> dict[str, Any]:
    given = {key: value for key, value in asdict(config).items() if key not in ("out", "workers")}
    return {"study": name, "version": version("weight-oracle"), "options": json.loads(json.dumps(given, default=str))}


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """table.parquet; a column that a row lacks is empty there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomic(out / PARQUET, [sink.getvalue().to_pybytes()])


def write_text(out: Path, text: str) -> None:
    """table.md."""
    write_atomic(out / MARKDOWN, [(text.rstrip("\n") + "\n").encode()])


@contextmanager
def figure(path: Path, width: float = 8.0, height: float = 4.5) -> Iterator[Figure]:
    """A matplotlib figure (inches) that is saved as PNG at the end, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    yield drawn
    drawn.savefig(path, dpi=120, metadata={"Software": None})
