"""The bench of encoders runs from zoos to a saved decoder, with either optimizer, and writes down what it did."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from oracle.decoder import DecoderConfig
from oracle.decompiler import Decompiler
from tests.oracle.targets import SMALL
from zoo.build import build_zoo
from zoo.spec import named_spec

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "encoders.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script as a module: it is not installed."""
    spec = importlib.util.spec_from_file_location("bench_of_encoders", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("muon_lr", [0.0, 0.01])
def test_a_run_on_two_zoos_is_saved_and_written_down(bench: ModuleType, muon_lr: float, tmp_path: Path) -> None:
    spec = replace(named_spec("tiny"), compiled=6, trained=8, untrained=2)
    folders = [tmp_path / name for name in ("one", "two")]
    for seed, folder in enumerate(folders):
        build_zoo(replace(spec, seed=seed), folder, workers=1, progress=False)
    sizes = {"steps": 2, "batch": 4, "eval_every": 2, "eval_targets": 2, "eval_train": 2, "flowcharts": 3}
    files = {"out": tmp_path / "runs.json", "save": tmp_path / "decoder"}
    bench.main(
        bench.BenchConfig(
            folders[0],
            also=(folders[1],),
            kind="all",
            muon_lr=muon_lr,
            weights=SMALL,
            decoder=DecoderConfig(d_model=32, n_layers=1, n_heads=2),
            **sizes,
            **files,
        )
    )
    (run,) = json.loads((tmp_path / "runs.json").read_text())
    assert run["config"]["also"] == [str(folders[1])] and run["history"][-1]["step"] == 2
    saved = Decompiler.from_pretrained(tmp_path / "decoder")
    assert saved.facts["run"]["muon_lr"] == muon_lr
