"""The options of `weight-oracle app`. Nothing heavy is imported here, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from oracle.cli_parse import Verb

MAX_UPLOAD_MB = 1_000
MAX_QUEUE = 10_000


@dataclass(frozen=True)
class AppConfig:
    """Serve a web page on which targets are chosen or uploaded and asked about (needs the extra `app`: Gradio).

    Only this machine can reach it unless --host says otherwise. Ctrl-C stops it.
    """

    zoo: tuple[Path, ...] = ()
    """Zoos whose targets can be chosen; a few targets are made on the spot if none is given."""
    oracle: Annotated[str | None, tyro.conf.arg(metavar="DIR|OWNER/NAME")] = None
    """Folder of the oracle, or its name on the hub; the one that ships with the package if not given."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""
    port: int = 7860
    """Port to listen on."""
    queue: int = 256
    """Questions that may wait for an answer; who asks when so many wait is told to ask again later."""
    max_upload_mb: int = 100
    """Largest upload in megabytes, all its files together."""
    seed: int = 2026
    """Seed of the targets made on the spot, of the examples and of the targets shown beside others."""


def run_app(config: AppConfig) -> None:
    """`app`: `oracle.app.server.serve`.

    Raises:
        InputError: an option out of range, or Gradio is not installed.
    """
    from importlib.util import find_spec

    from tracr_tasks.errors import InputError

    bounds = {"port": (1, 65_535), "queue": (1, MAX_QUEUE), "max_upload_mb": (1, MAX_UPLOAD_MB)}
    for name, (low, high) in bounds.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise InputError(f"--{name.replace('_', '-')} {value}: expected {low} to {high}")
    if find_spec("gradio") is None:
        raise InputError("app: the package gradio is not installed; pip install 'weight-oracle[app]'")
    from oracle.app.server import serve

    serve(config)


APP_VERBS = {"app": Verb("serve a web page to choose or upload a target and ask about it", AppConfig, run_app)}
"""Its verb."""
