"""Run the commands of the documentation again and put their output below them: `python docs/refresh.py [PAGE ...]`.

A ```console block holds commands, each behind "$ ", and what they print, but for the lines of times. The blocks of a
page are run in one empty folder, in their order; a command that fails ends the run, and its page stays as it was.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMES = re.compile(r"\d targets/s|^parts of the evaluation")
"""Lines that change with each run."""
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TERM": "dumb", "COLUMNS": "120"}


def commands(text: str) -> list[list[str]]:
    """The commands of each block of a page."""
    return [re.findall(r"^\$ (.+)$", block, re.MULTILINE) for block in BLOCK.findall(text)]


def output(command: str, folder: Path) -> str:
    """What a command prints, without its progress bars."""
    print(f"$ {command}", file=sys.stderr)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=os.environ | QUIET,
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        check=True,
    )
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines() if not TIMES.search(line))


def refreshed(text: str) -> str:
    """A page with its commands run again."""
    with TemporaryDirectory() as folder:
        said = iter([[(each, output(each, Path(folder))) for each in block] for block in commands(text)])

        def block(_: re.Match[str]) -> str:
            lines = [line for command, printed in next(said) for line in (f"$ {command}", printed) if line]
            return "```console\n" + "\n".join(lines) + "\n```"

        return BLOCK.sub(block, text)


def main(names: list[str]) -> None:
    """Refresh the pages that are named, or all."""
    for path in [Path(name) for name in names] or sorted(Path(__file__).parent.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if commands(text):
            path.write_text(refreshed(text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
