"""The command line in processes of their own, and folders to spoil."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_inputs.good import save_adapter_oracle, save_gpt2, save_own
from tests.bad_inputs.tools import CommandLine


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line."""
    line = CommandLine(tmp_path_factory.mktemp("command"))
    yield line
    line.close()


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound folders by kind: a target made here, a GPT-2 of the Hugging Face, and a small oracle with its base."""
    top = tmp_path_factory.mktemp("good")
    save_own(top / "own")
    save_gpt2(top / "gpt2")
    save_adapter_oracle(top / "oracle", top / "base")
    assert json.loads((top / "oracle" / "oracle_config.json").read_text())["base"] == str(top / "base")
    return {path.name: path for path in top.iterdir()}
