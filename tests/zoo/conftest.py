"""Zoos that the tests of this folder share: built once, copied where a test damages one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zoo.build import build_zoo
from zoo.flowchart_config import FlowchartConfig
from zoo.spec import ZooSpec, named_spec
from zoo.training_config import TrainConfig


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo `tiny`."""
    path = tmp_path_factory.mktemp("zoo") / "built"
    build_zoo(named_spec("tiny"), path, workers=1, progress=False)
    return path


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of `built` to damage."""
    return Path(shutil.copytree(built, tmp_path / "zoo"))


@pytest.fixture(scope="session")
def small() -> ZooSpec:
    """Six chunks of two targets in a fraction of a second."""
    charts = FlowchartConfig(vocab_size=3, n_answers=3, max_seq_len=3)
    return ZooSpec(
        *("small", 4, 6, 2), seed=3, chunk=2, flowcharts=charts, training=TrainConfig(steps=5, batch=8, eval_inputs=64)
    )


@pytest.fixture(scope="session")
def small_zoo(small: ZooSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo of `small`."""
    path = tmp_path_factory.mktemp("small") / "zoo"
    build_zoo(small, path, workers=1, progress=False)
    return path


@pytest.fixture
def small_copy(small_zoo: Path, tmp_path: Path) -> Path:
    """A copy of `small_zoo` to damage."""
    return Path(shutil.copytree(small_zoo, tmp_path / "zoo"))
