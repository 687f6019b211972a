from __future__ import annotations

import pytest

from tracr_tasks.errors import InputError
from tracr_tasks.library import ENTRIES, Entry, library_program


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in ENTRIES])
def test_example(entry: Entry) -> None:
    tokens, expected = entry.example
    assert library_program(entry.name).run(list(tokens)) == list(expected)
    assert entry.about.endswith(".")


def test_other_inputs() -> None:
    assert library_program("hist", vocab=(1, 2), max_seq_len=9).run([1] * 9) == [9] * 9
    with pytest.raises(InputError, match="no program 'histo'"):
        library_program("histo")
