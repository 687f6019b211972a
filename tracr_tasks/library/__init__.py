"""A library of named programs, each with what it does, an example, and parameters with defaults.

    from tracr_tasks import library_program

    library_program("hist").run(["a", "b", "a"])        # [2, 1, 2]
    library_program("hist", vocab=(1, 2, 3), max_seq_len=12)
    library_program("shift_by", offset=2, causal=True)

entry      one program: a function that builds its output, and what is said about it
kinds      what a parameter may be
parts      S-ops and selectors that several programs share
tracr      the programs of Tracr's library
counts, places, order, arithmetic, structure      further programs, by what they are about
catalogue  all of them as a table
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from tracr_tasks.errors import InputError
from tracr_tasks.exact import Value
from tracr_tasks.library import arithmetic, counts, order, places, structure, tracr
from tracr_tasks.library.catalogue import markdown
from tracr_tasks.library.entry import Entry
from tracr_tasks.rasp import Program

__all__ = ["ENTRIES", "Entry", "catalogue", "library_names", "library_program"]

ENTRIES = MappingProxyType(
    {
        entry.name: entry
        for module in (tracr, counts, places, order, arithmetic, structure)
        for entry in vars(module).values()
        if isinstance(entry, Entry)
    }
)
"""The entries by name, in the order in which they are listed."""


def library_names() -> tuple[str, ...]:
    """The names of all programs, in the order in which they are listed."""
    return tuple(ENTRIES)


def library_program(
    name: str,
    vocab: Sequence[Value] | None = None,
    max_seq_len: int | None = None,
    causal: bool | None = None,
    **parameters: Any,
) -> Program:
    """A program of the library, with other parameters, vocabulary, length or attention where given.

    Raises:
        InputError: no program has this name, a parameter is unknown or not what it may be, or the program cannot be
            over this vocabulary.
        ProgramError: the vocabulary or the length cannot be a program's.
    """
    if name not in ENTRIES:
        raise InputError(f"no program {name!r} in the library; it holds {', '.join(ENTRIES)}")
    return ENTRIES[name].program(vocab, max_seq_len, causal, **parameters)


def catalogue() -> str:
    """The library as a Markdown table: name, parameters, what it computes, an input and the values that it gives."""
    return markdown(ENTRIES.values())
