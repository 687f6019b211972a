"""Runs the command line on bad inputs, and says whether it refused them as it must."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.console import MAX_LINE, QUIET

PREFIX = "weight-oracle: error: "
SECONDS, MEGABYTES = 2.0, 500.0
"""What a refusal may take, of processor time and of memory, beyond the imports."""
PATIENCE = 60
"""Seconds after which a command is ended, as one that hangs."""


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    status: int
    out: str
    err: str
    notes: tuple[str, ...]
    """What it wrote, started, unpickled or connected to."""
    seconds: float
    """Of processor time."""
    megabytes: float
    """Of memory at its peak, beyond what the imports had taken."""


class CommandLine:
    """`weight-oracle`, each time in a new process that has imported everything already (see zygote.py)."""

    def __init__(self, scratch: Path):
        self.scratch = scratch
        self.home = scratch / "home"
        """Where libraries would put what they keep."""
        self.home.mkdir()
        places = dict.fromkeys(("HOME", "HF_HOME", "TMPDIR", "XDG_CACHE_HOME"), str(self.home))
        quiet = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        env = os.environ | QUIET | quiet | places
        command = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(PATIENCE)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        assert self._reply() == "ready\n"

    def _reply(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __call__(self, *args: object, cwd: Path, allowed: Sequence[Path] = ()) -> Outcome:
        """Run it in a folder; only below the `allowed` ones may it write without a note."""
        files = {name: self.scratch / name for name in ("out", "err", "notes")}
        told: dict[str, Any] = {name: str(path) for name, path in files.items()}
        told |= {"argv": [os.fsencode(str(arg)).hex() for arg in args], "cwd": str(cwd)}
        told |= {"allowed": [str(path) for path in allowed]}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self._reply())
        out, err, notes = (path.read_bytes().decode() for path in files.values())
        return Outcome(reply["status"], out, err, tuple(notes.splitlines()), reply["seconds"], reply["megabytes"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder: kind and rights, size, time of the last change, and where a link leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        size = info.st_size if stat.S_ISREG(info.st_mode) else 0
        link = str(path.readlink()) if path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (info.st_mode, size, info.st_mtime_ns, link)
    return found


def faults(found: Outcome, words: Sequence[str]) -> list[str]:
    """What is wrong with a refusal, which should say all the words; nothing if it is as it must be."""
    lines = found.err.splitlines()
    wrong = [f"status {found.status}"] if found.status != 2 else []
    wrong += [f"prints {found.out[:200]!r}"] if found.out else []
    wrong += [f"{len(lines)} lines: {found.err[-3000:]}"] if len(lines) != 1 or not found.err.endswith("\n") else []
    wrong += [f"begins {found.err[:40]!r}"] if not found.err.startswith(PREFIX) else []
    wrong += ["no plain text"] if lines and not lines[0].isprintable() else []
    wrong += [f"{len(lines[0])} characters"] if lines and len(lines[0]) > MAX_LINE + len(PREFIX) else []
    wrong += [f"does not say {word!r}: {found.err[:600]}" for word in words if word not in found.err]
    wrong += list(found.notes)
    wrong += [f"{found.seconds:.1f} s"] if found.seconds > SECONDS else []
    wrong += [f"{found.megabytes:.0f} MB"] if found.megabytes > MEGABYTES else []
    return wrong
