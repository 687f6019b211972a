"""The bench of encoders runs from zoos to a saved decoder, with either optimizer, and writes down what it did."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from oracle.decoder import DecoderConfig
from oracle.decompiler import Decompiler
from tests.oracle.targets import SMALL
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = {"steps": 2, "batch": 4, "eval_every": 2, "eval_targets": 2, "eval_train": 2, "flowcharts": 3}
NARROW = DecoderConfig(d_model=32, n_layers=1, n_heads=2)


@pytest.fixture(autouse=True)
def settings_of_torch() -> Iterator[None]:
    """A script has its process to itself and sets what torch is told for good; tests share one."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """The folder of scripts, which are not installed, as one to import from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture(scope="module")
def bench(scripts: None) -> ModuleType:
    """One run."""
    return importlib.import_module("encoders")


@pytest.mark.parametrize("muon_lr", [0.0, 0.01])
def test_a_run_on_two_zoos_is_saved_and_written_down(bench: ModuleType, muon_lr: float, tmp_path: Path) -> None:
    spec = replace(named_spec("tiny"), compiled=6, trained=8, untrained=2)
    folders = [tmp_path / name for name in ("one", "two")]
    for seed, folder in enumerate(folders):
        build_zoo(replace(spec, seed=seed), folder, workers=1, progress=False)
    files = {"out": tmp_path / "runs.json", "save": tmp_path / "decoder"}
    bench.main(
        bench.BenchConfig(
            folders[0],
            also=(folders[1],),
            kind="all",
            muon_lr=muon_lr,
            weights=SMALL,
            decoder=NARROW,
            **SIZES,
            **files,
        )
    )
    (run,) = json.loads((tmp_path / "runs.json").read_text())
    assert run["config"]["also"] == [str(folders[1])] and run["history"][-1]["step"] == 2
    saved = Decompiler.from_pretrained(tmp_path / "decoder")
    assert saved.facts["run"]["muon_lr"] == muon_lr


def test_a_run_that_goes_on_keeps_the_encoder_that_it_starts_from(bench: ModuleType, tmp_path: Path) -> None:
    build_zoo(replace(named_spec("tiny"), compiled=0, trained=12), tmp_path / "zoo", workers=1, progress=False)
    config = bench.BenchConfig(tmp_path / "zoo", encoder="channels", weights=SMALL, decoder=NARROW, **SIZES)
    bench.main(replace(config, save=tmp_path / "one"))
    bench.main(bench.BenchConfig(tmp_path / "zoo", start=tmp_path / "one", save=tmp_path / "two", **SIZES))
    one, two = (Decompiler.from_pretrained(tmp_path / name).facts for name in ("one", "two"))
    assert two["encoder"] == one["encoder"] == two["run"]["encoder"] == "channels" and two["weights"] == one["weights"]


def test_lessons_on_targets_of_two_zoos_that_are_called_alike(bench: ModuleType, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for seed, folder in enumerate(folders):
        spec = replace(named_spec("tiny"), compiled=6, trained=0, untrained=0, seed=seed, splits=("train",))
        build_zoo(spec, folder, workers=1, progress=False)
    config = bench.BenchConfig(folders[0], kind="rasp", lesson=0.1, weights=SMALL, decoder=NARROW, **SIZES)
    examples = bench.learned(config, [Zoo.open(folder) for folder in folders])
    assert len(examples) == 12
    _, truths = bench.lesson_of(examples, config)
    for e in examples:  # a row of the lesson for each of its nodes, so it is its own
        assert len(truths[e.id]) == len(e.neutral.routes.kind)


def test_a_sweep_runs_what_is_missing_and_the_table_has_a_row_for_each_setting(
    bench: ModuleType, tmp_path: Path
) -> None:
    sweep, table = (importlib.import_module(name) for name in ("encoder_sweep", "encoder_table"))
    build_zoo(replace(named_spec("tiny"), compiled=0, trained=12), tmp_path / "zoo", workers=1, progress=False)
    run = bench.BenchConfig(tmp_path / "zoo", out=tmp_path / "runs.json", weights=SMALL, decoder=NARROW, **SIZES)
    config = sweep.SweepConfig(run, encoders=("channels", "flat"), sizes=(2, 3), relabelled=(True,), seeds=(0,))
    sweep.main(config)
    first = json.loads((tmp_path / "runs.json").read_text())
    assert [(r["config"]["targets"], r["config"]["encoder"]) for r in first] == [
        *((2, "channels"), (2, "flat"), (3, "channels"), (3, "flat"))
    ]
    sweep.main(replace(config, seeds=(0, 1)))
    both = json.loads((tmp_path / "runs.json").read_text())
    assert both[:4] == first and len(both) == 8  # nothing was run twice
    own, gauged = (both[0]["history"][-1]["results"][split] for split in ("test", "test, gauged"))
    assert own["loss"] == pytest.approx(gauged["loss"], rel=1e-4)  # the main encoder is blind to gauges
    own, gauged = (both[1]["history"][-1]["results"][split] for split in ("test", "test, gauged"))
    assert own["loss"] != pytest.approx(gauged["loss"], rel=1e-6)  # the naive one is not
    lines = table.table(both).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert rows[0][:4] == ["targets", "encoder", "parameters", "seeds"]
    assert [row[:2] for row in rows[2:]] == [["2", "channels"], ["2", "flat"], ["3", "channels"], ["3", "flat"]]
    assert all(row[3] == "2" for row in rows[2:]) and " to " in rows[2][-1]
    other = {**both[0], "config": {**both[0]["config"], "kind": "rasp"}, "history": [{**both[0]["history"][-1]}]}
    other["history"][-1]["results"] = {"train": other["history"][-1]["results"]["train"]}
    assert "| - |" in table.table([*both, other])  # runs that were tested on other splits
