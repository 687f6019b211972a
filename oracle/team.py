"""Training in several processes of one machine, each started as `accelerate launch` would start it.

The products of a small oracle are too small to be split well over threads, so two processes of one thread are used in
place of one of two.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import TypeVar

from torch import distributed
from torch.multiprocessing.spawn import spawn

from oracle.console import quiet_libraries

C = TypeVar("C")


def launched() -> bool:
    """Whether this process is one of several that something else has started."""
    return "WORLD_SIZE" in os.environ


def launch(size: int, work: Callable[[C], object], config: C) -> None:
    """Run `work(config)` in `size` fresh processes that find each other; an error in one ends all, raised here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_member, (size, port, work, config), nprocs=size, daemon=True)


def _member(rank: int, size: int, port: int, work: Callable[[C], object], config: C) -> None:
    """One process: it does the work and ends.

    It ends without taking the interpreter down, which threads of the group may still need when something has kept the
    group alive (a model in a cycle of references, say): they would abort the process, its work done.
    """
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    with quiet_libraries():
        work(config)
    if distributed.is_initialized():
        distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
