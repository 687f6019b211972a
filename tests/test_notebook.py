"""The notebook in examples/ runs from its first cell to its last; what it saves is small and of no one machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).parent.parent / "examples" / "ask_a_transformer.ipynb"


def notebook() -> Any:
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    return found


def texts(cell: Any) -> str:
    """What a cell printed, or shows as text."""
    shown = [out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", [])]
    return "".join(shown)


def run(found: Any, folder: Path) -> Any:
    """The notebook with what its cells say now; a cell that fails ends it."""
    client = NotebookClient(found, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.timeout(600)
def test_no_cell_fails_and_its_own_assertions_hold(tmp_path: Path) -> None:
    done = run(notebook(), tmp_path)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    said = "\n".join(map(texts, code))
    assert re.search(r"letter for letter, in another gauge: \d+ of \d+", said)
    for condition in ("own weights", "another gauge", "another target's", "entries shuffled", "question only"):
        assert len(re.findall(rf"^ +{condition} +\d\.\d\d \[", said, re.M)) == 2
    assert sum(map(figures, code)) == 1
    assert list(tmp_path.iterdir()) == []


def figures(cell: Any) -> int:
    """How many pictures a cell shows."""
    return sum("image/png" in out.get("data", {}) for out in cell.get("outputs", []))


def test_a_cell_whose_assertion_does_not_hold_fails(tmp_path: Path) -> None:
    found = notebook()
    found.cells = [nbformat.v4.new_code_cell("assert 1 == 2, 'no'")]
    with pytest.raises(CellExecutionError, match="AssertionError"):
        run(found, tmp_path)


def test_what_matters_is_asserted_in_the_cells() -> None:
    asserted = [line.strip() for cell in notebook().cells for line in cell.source.splitlines() if "assert " in line]
    for fact in ("regauged", "sum(same)", "others", "SWAPPED", "own_program > swapped_program", "right > "):
        assert any(fact in line for line in asserted), fact


def test_the_saved_outputs_are_whole_small_and_portable() -> None:
    found, text = notebook(), NOTEBOOK.read_text("utf-8")
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(map(figures, code)) == 1 and len(text) < 150_000
    outputs = json.dumps([cell.outputs for cell in code])
    assert not re.search(r"(/home|/root|/work|/tmp|/usr|[A-Z]:\\)", re.sub(r'"image/png": "[^"]*"', "", outputs))
    assert not any(out.output_type == "error" or out.get("name") == "stderr" for c in code for out in c.outputs)
    assert not any("execution" in cell.metadata for cell in code), "times of cells, which change with each run"
