"""The page on a port: what it needs is made, served until somebody stops it, and removed."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from oracle.app.catalogue import Catalogue
from oracle.app.config import AppConfig
from oracle.app.gate import Gate
from oracle.app.page import STYLE, page_of, theme
from oracle.app.service import Service
from oracle.app.uploads import Uploads
from oracle.console import say, say_note
from oracle.oracle import WeightOracle
from tracr_tasks.errors import ZooError
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo

N_FRESH = 6
"""Targets of each kind that are made on the spot."""
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_VIBE_MODE": "", "GRADIO_ALLOWED_PATHS": ""}
"""What Gradio reads from its environment and is not left to it."""
MAX_SESSIONS = 1_000
"""Visitors of whom the server keeps what their page looks like."""


def serve(config: AppConfig) -> None:
    """Serve the page until the process is stopped (Ctrl-C or SIGTERM).

    Raises:
        ZooError: a zoo that cannot be read, or without targets.
        OracleError: an oracle that cannot be read.
        OSError: the port is taken.
    """
    import torch

    torch.set_num_threads(1)  # small models, and one question at a time: other threads serve the page
    with scratch_folder() as folder:
        zoos = named_zoos(config.zoo) if config.zoo else {"fresh": fresh_zoo(folder / "zoo", config.seed)}
        oracle = WeightOracle.from_pretrained(config.oracle)
        service = Service(oracle, Catalogue(zoos, config.seed), Uploads(config.max_upload_mb * 1_000_000))
        with served(service, config) as url:
            say(f"{url} (Ctrl-C stops it)")
            threading.Event().wait()


@contextmanager
def served(service: Service, config: AppConfig) -> Iterator[str]:
    """The page of a service on its port; gives its address.

    Raises:
        OSError: the port is taken.
    """
    from starlette.middleware import Middleware

    page = page_of(service)
    page.queue(max_size=config.queue, api_open=False, default_concurrency_limit=1)
    limit = service.uploads.max_bytes
    guard: Any = Middleware(Gate, max_upload=limit)
    try:
        _, url, _ = page.launch(
            server_name=config.host,
            server_port=config.port,
            max_file_size=limit,
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
            state_session_capacity=MAX_SESSIONS,
            theme=theme(),
            css=STYLE,
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
            **dict.fromkeys(("share", "inbrowser", "show_error", "debug", "ssr_mode", "pwa", "mcp_server"), False),
            **dict.fromkeys(("run_history", "enable_monitoring"), False),
        )
        yield url
    finally:
        page.close(verbose=False)
        service.close()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder, in which Gradio keeps uploads until they are read, and which is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="weight-oracle-app-"))
    wanted = ENVIRONMENT | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder)


def named_zoos(folders: Sequence[Path]) -> dict[str, Zoo]:
    """Zoos by the names of their folders; a number is added where two are called the same.

    Raises:
        ZooError: one cannot be read, or has no targets.
    """
    found: dict[str, Zoo] = {}
    for folder in folders:
        zoo = Zoo.open(folder)
        if not len(zoo):
            raise ZooError(f"{folder}: a zoo without targets, expected at least one")
        name, number = folder.resolve().name.replace("#", "") or "zoo", 2
        while name in found:
            name, number = f"{folder.resolve().name}-{number}", number + 1
        found[name] = zoo
    return found


def fresh_zoo(folder: Path, seed: int) -> Zoo:
    """A few targets that no oracle has seen: compiled programs and trained flowcharts of held-out functions."""
    say_note(f"no --zoo: making {2 * N_FRESH} targets")
    spec = replace(named_spec("quickstart"), compiled=N_FRESH, trained=N_FRESH, untrained=0, seed=seed)
    return build_zoo(spec, folder, workers=1, progress=False)
