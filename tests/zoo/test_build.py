from __future__ import annotations

import pickle
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks.errors import InputError, ZooError
from zoo.accuracy import flowchart_accuracy
from zoo.build import build, build_zoo
from zoo.files import read_header
from zoo.flowchart import Flowchart
from zoo.merge import merge_index
from zoo.rows import read_index
from zoo.shard import row_sha256, shard_names, shard_path
from zoo.spec import ZooSpec, named_spec
from zoo.store import Zoo
from zoo.training_config import TrainConfig
from zoo.verify import repair_zoo, verify_zoo

SPEC = named_spec("tiny")


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


def test_targets_of_every_style_are_built_and_sound(tmp_path: Path) -> None:
    styles = named_spec("bench").recipe("styles").architectures
    recipe = TrainConfig(steps=150, lr=0.01, eval_inputs=256, stop_accuracy=0.98, cut=0.3)
    spec = replace(SPEC, compiled=0, trained=12, untrained=6, chunk=2, training=recipe, architectures=styles)
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    assert {(t.normalization_type, t.act_fn, t.attention_dir) for t in zoo.families.values()} == {
        (None if a.normalization_type == "none" else a.normalization_type, a.act_fn, a.attention_dir) for a in styles
    }
    assert verify_zoo(zoo.directory).ok
    for row in zoo.rows(regime="trained"):
        chart = zoo.program(row.id)
        assert isinstance(chart, Flowchart)
        assert abs(flowchart_accuracy(zoo.target(row.id), chart) - row.labels["accuracy"]) < 0.15
    assert len({row.labels["steps"] for row in zoo.rows(regime="trained")}) > 2


def test_the_same_spec_gives_the_same_bytes(small: ZooSpec, small_zoo: Path, tmp_path: Path) -> None:
    build_zoo(small, tmp_path / "again", workers=1, progress=False)
    assert contents(tmp_path / "again") == contents(small_zoo)


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
    report = build(SPEC, copy, workers=1, progress=False)
    assert contents(copy) == contents(built)
    assert report.chunks == tuple(names[:3])


def test_a_report_says_what_was_done(small: ZooSpec, small_copy: Path) -> None:
    shard_path(small_copy, "trained-00001").unlink()
    report = build(small, small_copy, workers=1, progress=False)
    assert (report.chunks, report.made, report.deaths) == (("trained-00001",), 2, 0)
    assert report.targets == len(Zoo.open(small_copy))
    assert report.written == ()
    assert report.share is not None and 0 < report.share < 1
    first, second = report.lines()
    assert first.startswith("made 2, duplicates ")
    assert "targets/s; training at" in second
    again = build(small, small_copy, workers=1, progress=False)
    assert (again.chunks, again.made, again.share, len(again.lines())) == ((), 0, None, 1)


def test_the_index_is_made_again_from_the_shards(copy: Path) -> None:
    before = (copy / "index.parquet").read_bytes()
    (copy / "index.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(ZooError, match="not a readable index"):
        read_index(copy)
    report = merge_index(copy)
    assert (copy / "index.parquet").read_bytes() == before
    assert report.rows == len(Zoo.open(copy))
    assert report.written == ("index.parquet",)


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


def test_verify_catches_a_cut_a_lost_and_a_copied_shard(copy: Path) -> None:
    path = shard_path(copy, "untrained-00000")
    path.write_bytes(path.read_bytes()[:-4])
    assert any("cut short" in problem for problem in verify_zoo(copy, sample=0).problems)
    path.unlink()
    assert verify_zoo(copy, sample=0).problems == (
        f"{path}: no such file; `weight-oracle zoo verify --repair` makes it again",
    )
    repair_zoo(copy, sample=0)
    other = shard_path(copy, "trained-00009")
    other.write_bytes(shard_path(copy, "trained-00001").read_bytes())
    assert any("no place of its own" in problem for problem in verify_zoo(copy, sample=0).problems)
    with pytest.raises(ZooError, match="not a shard of this zoo"):
        repair_zoo(copy)


def test_repair_touches_only_what_is_damaged(small_zoo: Path, small_copy: Path) -> None:
    """A file that is written gets another inode, as it is renamed into place."""
    flip(shard_path(small_copy, "trained-00001"), shard_path(small_copy, "trained-00001").stat().st_size - 5)
    shard_path(small_copy, "compiled-00000").write_bytes(b"")
    (small_copy / "index.parquet").unlink()
    before = {path: path.stat().st_ino for path in small_copy.rglob("*") if path.is_file()}
    report = repair_zoo(small_copy, sample=2)
    assert report.chunks == ("compiled-00000", "trained-00001")
    assert report.written == ("index.parquet",)
    assert report.verified.ok, report.verified.problems
    assert contents(small_copy) == contents(small_zoo)
    changed = {path.name for path, inode in before.items() if path.stat().st_ino != inode}
    assert changed == {"compiled-00000.safetensors", "trained-00001.safetensors"}


def test_repair_needs_a_zoo(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no such zoo"):
        repair_zoo(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_or_damaged_spec_is_restored_from_the_index(
    small: ZooSpec, small_zoo: Path, small_copy: Path, tmp_path: Path
) -> None:
    path = small_copy / "spec.json"
    path.unlink()
    assert Zoo.open(small_copy).spec == small
    repair_zoo(small_copy, sample=0)
    assert contents(small_copy) == contents(small_zoo)
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 2'))
    with pytest.raises(ZooError, match=r"built from spec .*, expected .* restores a spec that is damaged"):
        build(replace(small, seed=2), small_copy, workers=1, progress=False)
    assert repair_zoo(small_copy, sample=0).chunks == ()
    path.write_text("{")
    repair_zoo(small_copy, sample=0)
    assert contents(small_copy) == contents(small_zoo)
    for name in ("spec.json", "index.parquet"):
        (small_copy / name).unlink()
    with pytest.raises(ZooError, match="no such zoo"):
        repair_zoo(small_copy)


@settings(max_examples=10)
@given(st.data())
def test_a_flipped_bit_anywhere_in_a_shard_is_caught_and_repaired(
    small_zoo: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("flip") / "zoo"
    shutil.copytree(small_zoo, out)
    path = shard_path(out, "untrained-00000")
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    report = verify_zoo(out, sample=0)
    assert not report.ok
    assert all(path.name in problem or "untrained" in problem for problem in report.problems)
    assert repair_zoo(out, sample=0).chunks == ("untrained-00000",)
    assert contents(out) == contents(small_zoo)


@settings(max_examples=10)
@given(st.data())
def test_a_flipped_bit_anywhere_in_the_index_is_repaired(
    small_zoo: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("flip") / "zoo"
    shutil.copytree(small_zoo, out)
    flip(out / "index.parquet", data.draw(st.integers(0, (out / "index.parquet").stat().st_size - 1)))
    try:
        assert list(Zoo.open(out)) == list(Zoo.open(small_zoo))  # a byte of no meaning, as in the statistics
    except ZooError:
        assert repair_zoo(out, sample=0).written == ("index.parquet",)
    else:
        repair_zoo(out, sample=0)
    assert contents(out) == contents(small_zoo)


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(ZooError, match=r"holds 'letter\.txt' and no zoo"):
        build_zoo(SPEC, tmp_path, workers=1, progress=False)
    with pytest.raises(ZooError, match="expected a folder"):
        build_zoo(SPEC, tmp_path / "letter.txt", workers=1, progress=False)
    with pytest.raises(ZooError, match="no such zoo"):
        Zoo.open(tmp_path / "none")
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_recipes_that_cannot_be_are_refused_before_anything_is_written(small: ZooSpec, tmp_path: Path) -> None:
    impossible = replace(small.flowcharts, min_branch=0.9)
    with pytest.raises(InputError, match="no flowchart of"):
        build(replace(small, flowcharts=impossible), tmp_path / "zoo", progress=False)
    with pytest.raises(ZooError, match="unknown field 'wide'"):
        build(replace(small, programs={"wide": 3}), tmp_path / "zoo", progress=False)
    with pytest.raises(InputError, match="expected local, or ray"):
        build(small, tmp_path / "other", address="auto", progress=False)
    assert not (tmp_path / "zoo").exists()


def test_unknown_ids_are_refused(built: Path) -> None:
    with pytest.raises(ZooError, match="no target 'x'"):
        Zoo.open(built).target("x")


def test_a_zoo_travels_to_another_process(built: Path) -> None:
    zoo = Zoo.open(built)
    target_id = next(iter(zoo)).id
    other = pickle.loads(pickle.dumps(zoo))
    assert (other.flat(target_id) == zoo.flat(target_id)).all()


def test_shards_that_are_none_are_refused(copy: Path) -> None:
    path = shard_path(copy, "trained-00000")
    text = b'{"__metadata__":{"zoo":"{}"}}'
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ZooError, match="not that of a shard"):
        merge_index(copy)


def test_models_that_diverge_are_recorded(small: ZooSpec, tmp_path: Path) -> None:
    spec = replace(small, compiled=0, training=replace(small.training, steps=40, lr=10.0, weight_decay=10.0))
    report = build(spec, tmp_path / "zoo", workers=1, progress=False)
    assert report.failures["its weights are not finite"] > 0
    assert sum(report.failures.values()) + report.targets + report.duplicates == spec.trained + spec.untrained
    zoo = Zoo.open(tmp_path / "zoo")
    assert all(np.isfinite(zoo.flat(row.id)).all() for row in zoo)
