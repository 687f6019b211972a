from __future__ import annotations

import fcntl
import pickle
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tracr_tasks.errors import ZooError
from zoo.build import build_zoo
from zoo.chunks import build_chunk
from zoo.files import read_header
from zoo.flowchart import Flowchart
from zoo.rows import read_index
from zoo.shard import row_sha256, shard_path
from zoo.show import show_zoo
from zoo.spec import named_spec
from zoo.store import Zoo, merge_index, shard_names
from zoo.verify import flowchart_accuracy, verify_zoo

SPEC = named_spec("tiny")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zoo") / "built"
    build_zoo(SPEC, path, workers=1, progress=False)
    return path


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "zoo"))


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def flip(path: Path, offset: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def test_a_zoo_holds_what_was_asked_for(built: Path) -> None:
    zoo = Zoo.open(built)
    assert len(zoo.rows(regime="untrained")) == SPEC.untrained
    assert 0 < len(zoo.rows(regime="compiled", kind="rasp")) <= SPEC.compiled
    assert 0 < len(zoo.rows(regime="trained", kind="flowchart")) <= SPEC.trained
    assert sum(len(zoo.rows(split=split)) for split in ("train", "val", "test", "structure")) == len(zoo)
    assert len({row.function_hash for row in zoo}) == len(zoo)
    for row in zoo:
        target = zoo.target(row.id, check=True)
        assert row_sha256(zoo.flat(row.id)) == row.sha256
        assert target.vocab.input[:2] == ("BOS", "PAD")
        assert (zoo.program(row.id) is None) == (row.regime == "untrained")
    row = zoo.rows(regime="trained")[0]
    chart = zoo.program(row.id)
    assert isinstance(chart, Flowchart)
    assert abs(flowchart_accuracy(zoo.target(row.id), chart) - row.labels["accuracy"]) < 0.08


def test_the_same_spec_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    build_zoo(SPEC, tmp_path / "again", workers=1, progress=False)
    assert contents(tmp_path / "again") == contents(built)


def test_two_processes_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    build_zoo(SPEC, tmp_path / "again", workers=2, progress=False)
    assert contents(tmp_path / "again") == contents(built)


def test_a_killed_build_goes_on(built: Path, copy: Path) -> None:
    """A kill may leave shards missing, a temporary file and no index; a disk, a shard cut or with a flipped bit."""
    (copy / "index.parquet").unlink()
    (copy / "layout.json").unlink()
    names = shard_names(copy)
    shard_path(copy, names[0]).unlink()
    cut = shard_path(copy, names[1])
    cut.write_bytes(cut.read_bytes()[:-1])
    flip(shard_path(copy, names[2]), shard_path(copy, names[2]).stat().st_size - 7)
    (copy / "shards" / ".tmp-123-x.safetensors").write_bytes(b"half")
    with pytest.raises(ZooError, match="unfinished zoo"):
        Zoo.open(copy)
    build_zoo(SPEC, copy, workers=1, progress=False)
    assert contents(copy) == contents(built)


def test_a_build_that_stops_half_way_leaves_whole_shards(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Iterator[int] = iter(range(100))

    def stop_at_third(*args: object) -> str:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return build_chunk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("zoo.build.build_chunk", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        build_zoo(SPEC, tmp_path / "zoo", workers=1, progress=False)
    assert len(shard_names(tmp_path / "zoo")) == 2
    monkeypatch.undo()
    build_zoo(SPEC, tmp_path / "zoo", workers=1, progress=False)
    assert contents(tmp_path / "zoo") == contents(built)


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.build.build_chunk", full)
    with pytest.raises(ZooError, match=r"cannot be written \(No space left on device\)"):
        build_zoo(SPEC, tmp_path / "zoo", workers=1, progress=False)


def test_the_index_is_made_again_from_the_shards(copy: Path) -> None:
    before = (copy / "index.parquet").read_bytes()
    (copy / "index.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(ZooError, match="not a readable index"):
        read_index(copy)
    report = merge_index(copy)
    assert (copy / "index.parquet").read_bytes() == before
    assert report.rows == len(Zoo.open(copy))


def test_verify_passes_and_catches_a_flipped_bit(copy: Path) -> None:
    report = verify_zoo(copy, sample=4)
    assert report.ok, report.problems
    assert report.run > 0
    path = shard_path(copy, "trained-00000")
    entry = next(iter(read_header(path).tensors.values()))
    flip(path, entry.start + 41)
    report = verify_zoo(copy, sample=0)
    assert len(report.problems) == 1
    assert "'trained-000000' have another sha256" in report.problems[0]
    with pytest.raises(ZooError, match="have sha256"):
        Zoo.open(copy).target("trained-000000", check=True)


def test_verify_catches_a_cut_shard_and_a_changed_index(copy: Path) -> None:
    path = shard_path(copy, "untrained-00000")
    path.write_bytes(path.read_bytes()[:-4])
    assert any("cut short" in problem for problem in verify_zoo(copy, sample=0).problems)
    shutil.copy(shard_path(copy, "trained-00001"), shard_path(copy, "trained-00009"))
    assert any("no place of its own" in problem for problem in verify_zoo(copy, sample=0).problems)


def test_another_spec_is_refused_with_the_difference(copy: Path) -> None:
    with pytest.raises(ZooError, match=r"another spec \(trained 12 -> 9; seed 0 -> 5\)"):
        build_zoo(replace(SPEC, trained=9, seed=5), copy, workers=1, progress=False)


def test_a_second_builder_is_refused_and_a_stale_lock_is_not(copy: Path) -> None:
    with (copy / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ZooError, match="being built by another process"):
            build_zoo(SPEC, copy, workers=1, progress=False)
    build_zoo(SPEC, copy, workers=1, progress=False)


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(ZooError, match=r"holds 'letter\.txt' and no zoo"):
        build_zoo(SPEC, tmp_path, workers=1, progress=False)
    with pytest.raises(ZooError, match="expected a folder"):
        build_zoo(SPEC, tmp_path / "letter.txt", workers=1, progress=False)
    with pytest.raises(ZooError, match="no such zoo"):
        Zoo.open(tmp_path / "none")
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_unknown_ids_are_refused(built: Path) -> None:
    with pytest.raises(ZooError, match="no target 'x'"):
        Zoo.open(built).target("x")


def test_a_zoo_travels_to_another_process(built: Path) -> None:
    zoo = Zoo.open(built)
    target_id = next(iter(zoo)).id
    other = pickle.loads(pickle.dumps(zoo))
    assert (other.flat(target_id) == zoo.flat(target_id)).all()


def test_a_model_that_diverges_is_recorded(tmp_path: Path) -> None:
    spec = replace(SPEC, compiled=0, untrained=0, training=replace(SPEC.training, lr=10.0, weight_decay=10.0))
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    report = merge_index(tmp_path / "zoo")
    assert report.failures + report.rows + report.duplicates == spec.trained
    assert all(np.isfinite(zoo.flat(row.id)).all() for row in zoo)


def test_shards_that_are_none_are_refused(copy: Path) -> None:
    path = shard_path(copy, "trained-00000")
    text = b'{"__metadata__":{"zoo":"{}"}}'
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ZooError, match="not that of a shard"):
        merge_index(copy)


def test_show_prints_counts_and_programs(built: Path) -> None:
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show_zoo(built, console)
    text = console.export_text()
    assert "trained-000000" in text
    assert "compiled" in text
    console.file.close()
