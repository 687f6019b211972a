"""A chat template is a program that came with a base: rendered in its sandbox, and stopped if it does not end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tracr_tasks.errors import OracleError
from zoo.files import shown

MAX_STEPS = 2_000_000
"""Lines of Python that a template may take, its compilation included; one of 1,400 characters takes 130,000."""
MAX_CHARACTERS = 100_000
"""Of a template, and of what it renders a question to."""


class _TooLong(Exception):
    """The steps are used up."""


@contextmanager
def at_most(steps: int) -> Iterator[None]:
    """Stop what runs inside, in this thread, after so many lines of Python.

    Raises:
        _TooLong: they are used up.
    """
    left, before = steps, sys.gettrace()

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooLong
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


def in_chat(tokenizer: Any, content: str) -> str:
    """A user's words in a tokenizer's chat template, up to where the answer begins.

    Raises:
        OracleError: the template is too long, does not end, or refuses the words.
    """
    from jinja2 import TemplateError

    where = f"{shown(tokenizer.name_or_path, 300)}: chat template"
    if len(template := str(tokenizer.chat_template)) > MAX_CHARACTERS:
        raise OracleError(f"{where} of {len(template):,} characters, expected at most {MAX_CHARACTERS:,}")
    try:
        with at_most(MAX_STEPS):
            said: str = tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
    except _TooLong:
        raise OracleError(f"{where} does not end, expected one that takes at most {MAX_STEPS:,} steps") from None
    except (TemplateError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as problem:
        raise OracleError(f"{where} fails ({shown(problem, 200)}), expected one that takes a user's words") from None
    if len(said) > len(content) + MAX_CHARACTERS:
        raise OracleError(f"{where} adds {len(said):,} characters, expected at most {MAX_CHARACTERS:,}")
    return said
