"""A process that has imported everything, and runs each command line that it is told of in a child of its own.

So a child costs milliseconds, its time and memory are those beyond the imports, and what it is made to do cannot reach
the tests. Requests and replies are lines of JSON; run as `python zygote.py SECONDS`, after which a child is ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

WARM = (
    *("torch", "tokenizers", "safetensors.torch", "peft", "transformers", "oracle.cli_verbs", "oracle.oracle"),
    *("oracle.decompiler", "oracle.console", "rich.console", "zoo.readers.choose", "zoo.store", "zoo.build"),
    *("zoo.compiled", "tracr_tasks.library", "tracr_tasks.compiler.text", "tracr_tasks.diagram", "pyarrow.parquet"),
    *("transformers.models.qwen3.modeling_qwen3", "transformers.models.llama.modeling_llama", "jinja2.sandbox"),
    *("transformers.models.auto.modeling_auto", "transformers.generation.utils", "peft.tuners.lora", "tyro"),
)
EVENTS = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "shutil.")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CRASHED = 70
"""Status of a child in which an error got out of `main`."""


def watch(note: Callable[[str], None], allowed: tuple[str, ...]) -> None:
    """Note whatever writes to a file, starts a process, unpickles or reaches for the network."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes, os.PathLike)) else ""
            if path and not path.startswith(("/dev/", "/proc/", *allowed)):
                note(f"writes {path}")
        elif event.startswith(EVENTS) or event in ("socket.connect", "os.mkdir", "os.rename", "os.remove"):
            first = os.fsdecode(args[0]) if args and isinstance(args[0], (str, bytes)) else ""
            if not first.startswith(allowed or "\0"):
                note(f"{event} {args}")

    sys.addaudithook(hook)


def give_up_rights() -> None:
    """Read only what an ordinary user may: root's processes give up their capabilities (capset of Linux)."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def child(told: dict[str, Any], seconds: int) -> int:
    """Run one command line with its streams in files; the exit status."""
    signal.alarm(seconds)
    give_up_rights()
    for stream, path in enumerate((os.devnull, told["out"], told["err"])):
        os.dup2(os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    notes = os.open(told["notes"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.chdir(told["cwd"])
    sys.path.insert(0, told["cwd"])  # as under `python -m`: what lies here could be imported
    watch(lambda line: os.write(notes, (line + "\n").encode()) and None, tuple(told["allowed"]))
    from oracle.cli import main

    try:
        status = main([os.fsdecode(bytes.fromhex(word)) for word in told["argv"]])
    except BaseException:
        traceback.print_exc()
        status = CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(seconds: int) -> None:
    """Answer requests until there are no more."""
    for name in WARM:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        told, (read, write) = json.loads(line), os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, str(resident()).encode())
            os._exit(child(told, seconds))
        _, status, used = os.wait4(pid, 0)
        before = int(os.read(read, 99))
        os.close(read)
        os.close(write)
        reply = {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": used.ru_utime + used.ru_stime,
            "megabytes": (used.ru_maxrss * 1024 - before) / 1e6,
        }
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
