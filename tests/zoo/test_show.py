from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tracr_tasks.errors import ZooError
from zoo.rows import Failure, IndexFacts, index_bytes, read_facts
from zoo.show import BOUNDS, HEADS, histogram, show_zoo
from zoo.store import Zoo


def shown(zoo: Path, *, terminal: bool) -> str:
    stream = io.StringIO()
    show_zoo(zoo, Console(file=stream, force_terminal=terminal, width=120, color_system=None))
    return stream.getvalue()


def test_a_pipe_gets_plain_columns(built: Path) -> None:
    zoo, text = Zoo.open(built), shown(built, terminal=False)
    assert text.isascii()
    lines = text.splitlines()
    assert lines[0] == f"{built}: {len(zoo)} targets"
    assert tuple(lines[1].split()) == HEADS
    assert [line.split()[0] for line in lines[2:5]] == ["compiled", "trained", "untrained"]
    assert len({len(line) for line in lines[1:5]}) == 1
    for row in (zoo.rows(regime="trained")[0], zoo.rows(regime="compiled")[0]):
        assert f"{row.id}  {row.split}  " in text
        assert row.text in text


def test_a_terminal_gets_a_table(built: Path) -> None:
    text = shown(built, terminal=True)
    assert "┃" in text
    assert "untrained" in text


def test_the_histogram_counts_every_accuracy(built: Path) -> None:
    zoo = Zoo.open(built)
    lines = list(histogram(zoo))
    assert lines[:2] == ["", "accuracy"]
    assert len(lines) <= 2 + len(BOUNDS)
    counts = [int(line.split("#")[0].split()[-1]) for line in lines[2:]]
    assert sum(counts) == len(zoo.rows(regime="trained"))
    assert counts[0] > 0
    assert max(line.count("#") for line in lines) == 40
    assert all((line.count("#") > 0) == (count > 0) for line, count in zip(lines[2:], counts, strict=True))


def test_targets_that_are_missing_are_counted(copy: Path) -> None:
    facts = IndexFacts(read_facts(copy).spec, 3, (Failure("trained-000012", 5, "its weights are not finite"),))
    (copy / "index.parquet").write_bytes(index_bytes(list(Zoo.open(copy)), facts))
    text = shown(copy, terminal=False)
    assert "3 duplicates left out\n1 failed: its weights are not finite\n" in text


def test_a_folder_without_a_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no such file"):
        show_zoo(tmp_path)
