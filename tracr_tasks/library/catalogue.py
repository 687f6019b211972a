"""The library as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracr_tasks.exact import format_value
from tracr_tasks.library.entry import Entry


def markdown(entries: Iterable[Entry]) -> str:
    """A Markdown table of entries: name, parameters with their defaults, what it computes, an input and its values."""
    rows = [_row(entry) for entry in entries]
    return "\n".join(["| program | parameters | what it computes | example |", "| --- | --- | --- | --- |", *rows])


def _row(entry: Entry) -> str:
    parameters = ", ".join(f"`{name}={_cell(repr(default))}`" for name, default in entry.parameters.items())
    tokens, values = (" ".join(map(_shown, side)) for side in entry.example)
    return f"| `{entry.name}` | {parameters} | {_cell(entry.about)} | `{_cell(tokens)}` → `{_cell(values)}` |"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else format_value(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")  # a bar would end the cell
