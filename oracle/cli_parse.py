"""From words on the command line to a verb and its configuration; every mistake becomes one line.

tyro makes each verb's options and help from its frozen dataclass. It reports mistakes in boxes of many lines, so its
report is caught here and put on one line that names the nearest option and says where help is.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tracr_tasks.errors import InputError

PROGRAM = "weight-oracle"


@dataclass(frozen=True)
class Verb:
    """One command: its configuration (a frozen dataclass, hence its options and help) and the function that does it."""

    summary: str
    """One line for `weight-oracle --help`."""
    config: type
    """The dataclass that the options fill."""
    run: Callable[[Any], None]
    """Takes the filled dataclass; prints what it has to say; imports what it needs only now."""


class UsageError(InputError):
    """The command line itself is wrong: an unknown verb or option, a missing or malformed value."""


def split_verb(args: Sequence[str], verbs: Iterable[str]) -> tuple[str, list[str]]:
    """The verb (one word, or two as in "zoo build") that the arguments begin with, and the arguments after it.

    Raises:
        UsageError: no verb has this name; the message gives the nearest one.
    """
    names = list(verbs)
    for name in names:
        words = name.split()
        if list(args[: len(words)]) == words:
            return name, list(args[len(words) :])
    group = [name for name in names if name.split()[0] == args[0] and " " in name]
    if group and (len(args) == 1 or args[1].startswith("-")):
        raise UsageError(f"{args[0]} needs one of {', '.join(n.split()[1] for n in group)}; see `{PROGRAM} --help`")
    given = " ".join(args[:2]) if group else args[0]
    raise UsageError(f"unknown verb {given!r}{nearest(given, group or names)}; see `{PROGRAM} --help`")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the known word that is most like the given one, or nothing if none is."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def parse_options(name: str, config: type, args: Sequence[str]) -> Any:
    """Fill the verb's dataclass from its arguments; `--help` prints the help and leaves by `SystemExit(0)`.

    Raises:
        UsageError: an unknown option, a missing argument, or a value of the wrong kind.
    """
    report = io.StringIO()
    try:
        with redirect_stderr(report):
            return _tyro(name, config, args)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        reason = _unknown_option(name, config, args) or _flatten(report.getvalue())
    raise UsageError(f"{reason}; see `{PROGRAM} {name} --help` or `{PROGRAM} --help`")


def _tyro(name: str, config: type, args: Sequence[str]) -> Any:
    import tyro

    markers = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    return tyro.cli(config, prog=f"{PROGRAM} {name}", args=list(args), config=markers)


def options_of(name: str, config: type) -> dict[str, tuple[str, ...]]:
    """The options of a verb, as its help has them, each with the values that it may take, if those are named."""
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        _tyro(name, config, ["--help"])
    found = re.findall(r"(?m)^\W*(?:-\w, )?(--\w[\w.-]*)(?: \{([\w,.-]+)\}(?!\|))?", text.getvalue())
    return {option: tuple(values.split(",")) if values else () for option, values in found}


def _unknown_option(name: str, config: type, args: Sequence[str]) -> str | None:
    """What is wrong if some argument looks like an option of the verb and is none."""
    known = options_of(name, config)
    own = list(args[: args.index("--")]) if "--" in args else args
    for arg in own:
        option = arg.split("=")[0].replace("_", "-")
        if option.startswith("--") and option not in known:
            return f"unknown option {option}{nearest(option, known)}"
    return None


def _flatten(report: str) -> str:
    """tyro's box as one line: without its frame, its title and its advice about help."""
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines() if not line.startswith("\u256d")]
    text = "\n".join(line.strip("\u2502\u2570\u256f\u2500 ") for line in lines)
    if "Missing from" in text:
        return "missing " + ", ".join(re.findall(r"(?m)^(--[\w.-]+|[A-Z]{2,})\b", text))
    return " ".join(re.split(r"For full helptext|Argument helptext", text)[0].split()).rstrip(".")
