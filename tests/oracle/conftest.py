"""A zoo, a base and an oracle that are made in seconds, and know nothing: what tests of the whole need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.base import pretrain
from oracle.config import BaseConfig, TrainConfig
from oracle.train import train
from tests.oracle.targets import SMALL
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo


@pytest.fixture(scope="module")
def short_answers() -> Iterator[None]:
    """A reader that knows nothing does not know where to stop. Other processes do not hear of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oracle.reader.MAX_ANSWER", 6)
        yield


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=12, trained=16, untrained=4)
    return build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base"
    shape = BaseConfig(out, d_model=32, n_layers=2, n_heads=2, d_mlp=48, vocab_size=400, n_programs=12)
    return pretrain(replace(shape, steps=4, batch_tokens=800, bf16=False))


@pytest.fixture(scope="session")
def folder(zoo: Zoo, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("oracle") / "oracle"
    config = TrainConfig(zoo.directory, out, str(base), decoder="none", encoder=SMALL, lora_rank=4, targets_per_step=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oracle.reader.MAX_ANSWER", 6)
        train(replace(config, steps=3, processes=1, bf16=False))
    return out
