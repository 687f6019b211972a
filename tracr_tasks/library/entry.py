"""Entry: one program of the library, a documented function that builds its output from parameters.

    @entry(example=("aba", (2, 2, 2)))
    def count(*, token: Token = "a") -> SOp:
        '''How often a token occurs.'''
        return counted(TOKENS, is_token(token, "k"))

A builder's keyword-only parameters are the user's; each has a default, and its annotation says what it may be. One that
needs the program's `vocab` or `max_seq_len` takes them as ordinary parameters of these names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args, get_type_hints

from tracr_tasks.errors import InputError
from tracr_tasks.exact import Value, format_value
from tracr_tasks.library.kinds import ANY_TOKENS, Kind
from tracr_tasks.rasp import TOKENS, Program, SOp

LETTERS = ("a", "b", "c", "d")
DIGITS = (0, 1, 2, 3, 4)
BITS = (0, 1)
BRACKETS = ("(", ")", "a")
CONTEXT = ("vocab", "max_seq_len")
"""Parameters of a builder that the program gives."""


@dataclass(frozen=True)
class Entry:
    """One program of the library."""

    name: str
    about: str
    """What it computes, in one sentence."""
    build: Callable[..., SOp]
    """The output from the builder's parameters."""
    example: tuple[tuple[Value, ...], tuple[Any, ...]]
    """An input and the values that the program with its defaults gives."""
    vocab: tuple[Value, ...]
    """Tokens where the caller gives none."""
    max_seq_len: int
    """Length where the caller gives none."""
    causal: bool
    """Attention where the caller gives none."""
    needs: Kind
    """What the vocabulary must be."""

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The user's parameters with their defaults."""
        signature = inspect.signature(self.build)
        return {p.name: p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What each of the user's parameters may be."""
        hints = get_type_hints(self.build, include_extras=True)
        return {name: next(arg for arg in get_args(hints[name]) if isinstance(arg, Kind)) for name in self.parameters}

    def program(
        self,
        vocab: Sequence[Value] | None = None,
        max_seq_len: int | None = None,
        causal: bool | None = None,
        **parameters: Any,
    ) -> Program:
        """The program, with the entry's defaults for what is not given.

        Raises:
            InputError: a parameter is unknown or not what it may be, or the program cannot be over these tokens.
            ProgramError: the vocabulary or the length cannot be a program's.
        """
        inputs = Program(
            TOKENS,
            self.vocab if vocab is None else tuple(vocab),
            self.max_seq_len if max_seq_len is None else max_seq_len,
            self.causal if causal is None else causal,
        )
        self._check(inputs.vocab, parameters)
        wanted = inspect.signature(self.build).parameters
        context = {name: getattr(inputs, name) for name in CONTEXT if name in wanted}
        return replace(inputs, output=self.build(**context, **(self.parameters | parameters)))

    def _check(self, vocab: tuple[Value, ...], parameters: dict[str, Any]) -> None:
        for name in parameters:
            if name not in self.parameters:
                known = ", ".join(f"{known}={default!r}" for known, default in self.parameters.items())
                raise InputError(f"{self.name} has no parameter {name!r}; its parameters are {known or 'none'}")
        tokens = ", ".join(map(format_value, vocab))
        if not self.needs.accepts(vocab, vocab):
            raise InputError(f"{self.name} is for a vocabulary of {self.needs.words}, not for {tokens}")
        for name, value in (self.parameters | parameters).items():
            if not self.kinds[name].accepts(value, vocab):
                what = f"{name}={value!r} where {self.kinds[name].words} was expected"
                given = "" if name in parameters else f" (the default does not fit; give {name})"
                raise InputError(f"{self.name}: {what}{given}; the vocabulary is {tokens}")


def entry(
    *,
    example: tuple[Sequence[Value], tuple[Any, ...]],
    vocab: tuple[Value, ...] = LETTERS,
    max_seq_len: int = 5,
    causal: bool = False,
    needs: Kind = ANY_TOKENS,
) -> Callable[[Callable[..., SOp]], Entry]:
    """Make an entry of a builder; its name is the builder's, its sentence the first paragraph of the docstring."""

    def make(build: Callable[..., SOp]) -> Entry:
        about = " ".join((build.__doc__ or "").split("\n\n")[0].split())
        tokens, values = example
        return Entry(build.__name__, about, build, (tuple(tokens), values), vocab, max_seq_len, causal, needs)

    return make
