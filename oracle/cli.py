"""The command `weight-oracle`.

Exit status: 0 done; 2 the input is wrong (one line on standard error says what, where and what to do); 130 interrupted;
141 the reader of the output went away; 143 terminated. `--debug`, or WEIGHT_ORACLE_DEBUG=1, shows the traceback too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from oracle.cli_parse import PROGRAM, Verb, parse_options, split_verb
from oracle.console import quiet_libraries, say_error
from tracr_tasks.errors import WeightOracleError

INPUT_ERROR, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (the process's own arguments if not given) and return the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    args, debug = _take_debug(args)
    try:
        with _terminate_cleanly(), quiet_libraries():
            _run(args)
            sys.stdout.flush()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more as it exits, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (WeightOracleError, OSError) as error:
        if debug:
            traceback.print_exc()
        say_error(_describe(error))
        return INPUT_ERROR
    return 0


def _run(args: list[str]) -> None:
    """Do what the arguments say, or print help or the version."""
    if "--version" in args[:1]:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        return
    from oracle.cli_verbs import VERBS

    if not args or args[0] in ("-h", "--help", "help"):
        print(overview(VERBS))
        return
    group = {name: verb for name, verb in VERBS.items() if name.startswith(args[0] + " ")}
    if group and args[1:] in (["-h"], ["--help"]):
        print(overview(group))
        return
    name, rest = split_verb(args, VERBS)
    verb = VERBS[name]
    verb.run(parse_options(name, verb.config, rest))


def overview(verbs: dict[str, Verb]) -> str:
    """The text of `weight-oracle --help`: usage and each verb in a line."""
    width = max(map(len, verbs))
    rows = [f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} VERB [OPTIONS]",
            "",
            "Ask a transformer's weights what it does.",
            "",
            *rows,
            "",
            f"`{PROGRAM} VERB --help` gives a verb's options. `--version`; `--debug` shows tracebacks.",
            f"First: `{PROGRAM} quickstart`.",
            "Exit status: 0 done; 2 the input is wrong, one line says what; 130 interrupted; 141 the reader of the",
            "output went away; 143 terminated.",
        ]
    )


def _take_debug(args: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was there; after `--` every word is the verb's own."""
    end = args.index("--") if "--" in args else len(args)
    own = [arg for arg in args[:end] if arg != "--debug"]
    return own + args[end:], len(own) < end or os.environ.get("WEIGHT_ORACLE_DEBUG", "0") not in ("", "0")


def _describe(error: WeightOracleError | OSError) -> str:
    """The error's own message; for the operating system's errors the file first, as in all others."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextmanager
def _terminate_cleanly() -> Iterator[None]:
    """Turn SIGTERM into `SystemExit(143)`, so that `finally` blocks run and nothing is left half-written."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield
        return

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
