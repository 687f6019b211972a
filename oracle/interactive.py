"""A conversation: questions a line each, from a terminal with a history, or from a pipe.

Ctrl-C leaves the line, or the answer, as it is; Ctrl-D, the end of the input and the word `exit` end the conversation.
A question that is refused prints its one line, and the next may be asked.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from oracle.console import say, say_error, say_note
from tracr_tasks.errors import WeightOracleError

PROMPT = "? "
ENDS = ("exit", "quit")
MAX_LINES = 1000
"""Of the history."""
LONGEST = 100_000
"""Characters of a line that are read; whoever checks questions refuses far shorter ones."""


Ask = Callable[[str, bool], None]
"""Prints the answer to a question, told whether somebody typed it here."""


def converse(ask: Ask, about: str) -> None:
    """Put each line that is typed, or piped in, to `ask`. Args: `about`, the name of the target."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no UTF-8 is then refused like any other question
    if sys.stdin.isatty() and sys.stdout.isatty():
        _at_terminal(ask, about)
        return
    for line in _piped():
        if line in ENDS:
            return
        if line:
            _put(ask, line, typed=False)


def _at_terminal(ask: Ask, about: str) -> None:
    """As `converse`, where somebody types."""
    say(f"{about}: read. Ask; `exit` or Ctrl-D ends.", style="dim")
    history = History(history_file())
    history.load()
    while True:
        try:
            line = input(PROMPT).strip()
            if line in ENDS:
                return
            if line:
                history.add(line)
                _put(ask, line, typed=True)
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return


def _put(ask: Ask, line: str, *, typed: bool) -> None:
    """Ask, and go on where the question is refused."""
    try:
        ask(line, typed)
    except WeightOracleError as error:
        say_error(str(error))


def _piped() -> Iterator[str]:
    """Lines of standard input; of one that is too long, its beginning."""
    while line := sys.stdin.readline(LONGEST):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = sys.stdin.readline(LONGEST)
        yield line.strip()


def history_file() -> Path:
    """Where questions are remembered: weight-oracle/history in XDG_STATE_HOME, which is ~/.local/state if not set."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "weight-oracle" / "history"


class History:
    """Questions of this conversation and of earlier ones, in a file that nobody else can read."""

    def __init__(self, path: Path):
        self.path, self._writes = path, True

    def load(self) -> None:
        """Give the questions of the file to the terminal's line editor, where Python has one."""
        try:
            import readline
        except ImportError:  # on Windows: lines are typed without keys for the history
            return
        readline.clear_history()
        for line in self.lines():
            readline.add_history(line)

    def lines(self) -> list[str]:
        """The questions of the file, the oldest first; none where it cannot be read."""
        try:
            return self.path.read_text("utf-8", errors="surrogateescape").split("\n")[:-1][-MAX_LINES:]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._give_up(error)
            return []

    def add(self, line: str) -> None:
        """Put a question at the end of the file, the oldest making room."""
        kept = [*self.lines(), line][-MAX_LINES:]
        if not self._writes:
            return
        new = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.touch(mode=0o600)
            new.chmod(0o600)
            new.write_text("".join(f"{each}\n" for each in kept), "utf-8", errors="surrogateescape")
            new.replace(self.path)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Say once that nothing is remembered."""
        if self._writes:
            say_note(f"{self.path}: {error.strerror}; questions are not remembered")
        self._writes = False
