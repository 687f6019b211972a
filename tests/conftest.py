"""What every test runs under: shapes checked, one thread, no network, the same hypothesis examples each time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Before anything imports torch or transformers: both read these once, as they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

HOT = (
    *("zoo.tree", "zoo.conditions", "zoo.flowchart", "zoo.automaton", "zoo.branches"),
    *("tracr_tasks.compiler.compile", "tracr_tasks.wiring"),
)
"""Called for every token of every input: a check at every call takes twice the time of what is tested. Their results
are compared number by number with an interpreter's."""


def modules_with_shapes() -> Iterator[str]:
    """Our modules whose annotations say what shape tensors have, but for `HOT` ones. mypy sees the types of all others,
    and checking these at every call made the suite take three times as long."""
    for package in ("tracr_tasks", "zoo", "oracle"):
        spec = find_spec(package)  # executes nothing
        assert spec is not None and spec.submodule_search_locations
        for folder in map(Path, spec.submodule_search_locations):
            for path in sorted(folder.rglob("*.py")):
                name = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
                if "from jaxtyping import" in path.read_text("utf-8") and name not in HOT:
                    yield name


install_import_hook(list(modules_with_shapes()), "beartype.beartype")

# A first example may import torch, so no deadline; the same examples each time make a red run repeatable.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
