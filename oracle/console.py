"""What the command line prints: rich on a terminal, the same words plain when piped, errors as one line.

Nothing heavy is imported here, and `rich` only when something is printed.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from oracle.explain import Explanation

MAX_LINE = 2000
"""Characters of an error line: a message may quote a name of any length."""

SLIPPED = "what it said of the program was something else; this is its draft"
"""How a person is told of an answer that is the draft (`Answer.slip`)."""
MAX_PARTS = 10
"""Parts of an explanation that are shown."""
BAR = 24
"""Characters of its longest bar."""

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment that keeps the libraries' own bars and advice out of the output. A variable that is set already stays."""

LIBRARIES = r"(transformers|peft|torch|huggingface_hub|accelerate|datasets|tokenizers|safetensors)\b"
"""Modules whose warnings are not about anything that a user of the command line could change."""


def console(*, stderr: bool = False) -> Console:
    """A console for standard output or standard error, as the streams are now. It neither wraps nor guesses colours for
    numbers, and reads no mark-up: what is printed may come from a model, and must arrive as it is."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def say(text: str, style: str | None = None) -> None:
    """Print one text on standard output, in a rich style where that is a terminal."""
    console().print(printable(text, keep="\n\t"), style=style)


def say_markdown(text: str) -> None:
    """Print markdown: laid out on a terminal, as it is written when piped."""
    out = console()
    if not out.is_terminal:
        out.print(text)
        return
    from rich.markdown import Markdown

    out.print(Markdown(text), soft_wrap=False)


def say_answer(
    question: str,
    answer: str,
    confidence: float,
    sure: bool,
    others: Sequence[tuple[str, float]] = (),
    tried: str = "",
    slipped: bool = False,
) -> None:
    """Print one question, unless it is empty, with its answer (which may have many lines), the confidence in it, from 0
    to 1, other answers with their shares of the samples, what was tried with the draft, unless that is empty, and
    whether the draft is all that is said (`Answer.slip`)."""
    out = console()
    if question:
        out.print(printable(question), style="bold")
    out.print(indented(answer))
    out.print(f"  confidence {confidence:.2f}{'' if sure else ' (abstains: this is its best guess)'}", style="dim")
    for text, share in others:
        out.print(f"  in {share:.0%} of the samples:\n{indented(text, 4)}", style="dim")
    if tried:
        out.print(indented(f"tried with its draft: {tried}"), style="dim")
    if slipped:
        out.print(indented(SLIPPED), style="dim")


def say_explanation(explanation: Explanation) -> None:
    """Print what an answer rests on, a bar a part, those with the largest rise first; and its control in a line."""
    out, shown = console(), explanation.parts[:MAX_PARTS]
    out.print("  rests on (rise of its loss without it, nats)")
    full, width = max([part.rise for part in shown], default=0.0), max([len(part.name) for part in shown], default=0)
    for part in shown:
        filled = round(BAR * max(0.0, part.rise) / full) if full > 0 else 0
        out.print(f"    {part.name:<{width}} {part.rise:+7.2f}  {_block(out.encoding) * filled}".rstrip())
    if rest := explanation.parts[MAX_PARTS:]:
        out.print(f"    {len(rest)} more, {rest[0].rise:+.2f} to {rest[-1].rise:+.2f}", style="dim")
    for kind in dict.fromkeys(part.kind for part in explanation.control):
        rises = [part.rise for part in explanation.control if part.kind == kind]
        what = f"{len(rises)} random {kind}s added instead, one at a time"
        out.print(f"    {what}: {median(rises):+.2f}, at most {max(rises):+.2f}", style="dim")


def _block(encoding: str) -> str:
    """What bars are made of, where the stream can write it."""
    return "\u2588" if encoding.lower().startswith("utf") else "#"


def indented(text: str, by: int = 2) -> str:
    """The lines of an answer, safe to print, behind some spaces."""
    lines = printable(text, keep="\n\t").rstrip().splitlines() or ["(no answer)"]
    return "\n".join(" " * by + line for line in lines)


def printable(text: str, *, keep: str = "") -> str:
    """The text with every character that could steer a terminal (escapes, controls, right-to-left marks, lone
    surrogates) written as its escape; the characters of `keep` stay."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """The text on one line of at most `MAX_LINE` characters, safe to print."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 4] + " ..."


def say_error(text: str) -> None:
    """Print `weight-oracle: error: ...` on standard error, always one line."""
    print(f"weight-oracle: error: {one_line(text)}", file=sys.stderr, flush=True)


def say_note(text: str) -> None:
    """Print `weight-oracle: note: ...` on standard error, always one line."""
    print(f"weight-oracle: note: {one_line(text)}", file=sys.stderr, flush=True)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' bars, advice and warnings out of the output while a command runs, and every bar out of a
    standard error that is no terminal. Works on libraries that are imported inside."""
    wanted = QUIET if sys.stderr.isatty() else QUIET | {"TQDM_DISABLE": "1"}
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in added})
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIBRARIES)
        try:
            yield
        finally:
            logger.setLevel(level)
            for name in added:
                os.environ.pop(name, None)
