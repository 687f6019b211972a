"""What lies on disk: the index, its facts, shards in pieces, and zoos of the first version."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import ZooError
from tracr_tasks.transformer import TargetConfig
from zoo.build import build, build_zoo
from zoo.chunks import ChunkPlan, make_chunk
from zoo.files import read_header, read_tensor, safetensors_bytes
from zoo.parts import Part
from zoo.rows import Failure, IndexFacts, ZooRow, by_reason, index_bytes, read_facts, read_index
from zoo.shard import chunk_files, damage, read_shard, row_sha256, shard_names, shard_path, split_pieces, write_chunk
from zoo.spec import ZooSpec, spec_from_fields
from zoo.store import Zoo
from zoo.training_config import Architecture
from zoo.verify import repair_zoo, verify_zoo


def as_first_version(zoo: Path) -> None:
    """Make the files of a zoo those that version 0.1.0 wrote: no column `part`, no facts, no card, no digests."""
    table = pq.read_table(zoo / "index.parquet")
    pq.write_table(table.drop_columns(["part"]).replace_schema_metadata(None), zoo / "index.parquet")
    (zoo / "README.md").unlink()
    for path in (zoo / "shards").iterdir():
        header = read_header(path)
        arrays = {name: read_tensor(path, entry) for name, entry in header.tensors.items()}
        path.write_bytes(b"".join(safetensors_bytes(arrays, {"zoo": header.metadata["zoo"]})))


def test_zoos_of_the_first_version_open_verify_and_go_on(small: ZooSpec, small_zoo: Path, small_copy: Path) -> None:
    as_first_version(small_copy)
    assert list(Zoo.open(small_copy)) == list(Zoo.open(small_zoo))
    assert read_facts(small_copy) == IndexFacts()
    report = verify_zoo(small_copy, sample=2)
    assert report.ok, report.problems
    done = build(small, small_copy, workers=1, progress=False)
    assert (done.chunks, done.written) == ((), ("README.md", "index.parquet"))
    for name in shard_names(small_copy):
        assert "part" not in json.loads(read_shard(shard_path(small_copy, name)).header.metadata["zoo"])["rows"][0]


def test_the_index_says_what_the_zoo_was_built_from(small: ZooSpec, small_zoo: Path) -> None:
    facts = read_facts(small_zoo)
    assert facts.spec is not None
    assert spec_from_fields(facts.spec, "x") == small == Zoo.open(small_zoo).spec
    assert facts.duplicates + len(Zoo.open(small_zoo)) + len(facts.failures) == 12


def test_a_zoo_keeps_few_files_open(small_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.store.MAX_MAPPED", 1)
    zoo, before = Zoo.open(small_zoo), len(list(Path("/proc/self/fd").iterdir()))
    assert len({row.shard for row in zoo}) > 1 and len({row.family for row in zoo}) > 2
    kept = {row.id: zoo.flat(row.id, check=True) for row in zoo}
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert all((zoo.flat(id, check=True) == flat).all() for id, flat in kept.items())


def test_the_index_loads_as_a_dataset(small_zoo: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    path = str(small_zoo / "index.parquet")
    data = load_dataset("parquet", data_files=path, split="train", cache_dir=str(tmp_path))
    assert data.column_names == [f.name for f in fields(ZooRow)]
    rows = list(Zoo.open(small_zoo))
    assert data["id"][:] == [row.id for row in rows]
    assert json.loads(data[0]["labels"]) == rows[0].labels


def test_facts_are_read_back(tmp_path: Path) -> None:
    facts = IndexFacts({"seed": 3}, 2, (Failure("a", 7, "from seed 123456789"), Failure("b", 8, "from seed 987654321")))
    (tmp_path / "index.parquet").write_bytes(index_bytes([], facts))
    assert (read_index(tmp_path), read_facts(tmp_path)) == ([], facts)
    assert by_reason(facts.failures) == {"from seed ...": 2}


def test_parts_have_their_own_ids_seeds_and_recipes(small: ZooSpec, tmp_path: Path) -> None:
    wide = Part("wide", trained=3, architectures=(Architecture(d_model=24),))
    spec = replace(small, parts=(wide, Part("more", compiled=1, untrained=1)))
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    assert [row.id for row in zoo.rows(part="wide")] == [f"wide-trained-{i:06d}" for i in range(3)]
    assert {zoo.families[row.family].d_model for row in zoo.rows(part="wide")} == {24}
    assert {zoo.families[row.family].d_model for row in zoo.rows(part="", regime="trained")} == {16}
    assert {row.id for row in zoo.rows(part="more")} == {"more-compiled-000000", "more-untrained-000000"}
    assert len({row.seed for row in zoo}) == len(zoo)
    assert [row.part for row in zoo] == sorted(row.part for row in zoo)
    assert verify_zoo(tmp_path / "zoo", sample=2).ok


def test_parts_leave_the_other_targets_as_they_are(small: ZooSpec, small_zoo: Path, tmp_path: Path) -> None:
    spec = replace(small, parts=(Part("more", untrained=1),))
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    assert [row.sha256 for row in zoo.rows(part="")] == [row.sha256 for row in Zoo.open(small_zoo)]


def test_large_chunks_are_several_shards(
    small: ZooSpec, small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, out = replace(small, chunk=6), tmp_path / "zoo"
    cap = 4 * 1_700 * 2
    monkeypatch.setattr("zoo.shard.MAX_SHARD_BYTES", cap)
    zoo = build_zoo(spec, out, workers=1, progress=False)
    assert [name for name in shard_names(out) if name.startswith("tr")] == [
        "trained-00000",
        *(f"trained-00000.{i}" for i in range(1, 6)),
    ]
    for path in (out / "shards").iterdir():
        shard = read_shard(path)
        weights = sum(entry.end - entry.start for entry in shard.header.tensors.values())
        assert weights <= cap or len(shard.rows) == 1
        assert damage(path, shard) == []
    assert all(row_sha256(zoo.flat(row.id)) == row.sha256 for row in zoo)
    assert {row.id for row in zoo} == {row.id for row in Zoo.open(small_zoo)}
    assert verify_zoo(out, sample=2).ok
    before = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    shard_path(out, "trained-00000.4").unlink()
    assert repair_zoo(out, sample=0).chunks == ("trained-00000",)
    changed = {path.name for path in (out / "shards").iterdir() if path.stat().st_ino != before[path.name]}
    assert changed <= {"trained-00000.4.safetensors"}
    assert build(spec, out, workers=1, progress=False).chunks == ()


def test_a_piece_too_many_is_removed(small: ZooSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ChunkPlan("untrained", 0, 0, 2)
    members, failures = make_chunk(small, plan)
    (tmp_path / "shards").mkdir()
    whole = chunk_files(plan.name, "x", members, failures)
    assert list(whole) == ["untrained-00000"]
    monkeypatch.setattr("zoo.shard.MAX_SHARD_BYTES", 1)
    write_chunk(tmp_path, plan.name, chunk_files(plan.name, "x", members, failures))
    assert shard_names(tmp_path) == ["untrained-00000", "untrained-00000.1"]
    write_chunk(tmp_path, plan.name, whole)
    assert shard_names(tmp_path) == ["untrained-00000"]


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 100), st.integers(1, 4))
def test_pieces_hold_all_members_in_order_and_keep_the_cap(sizes: list[int], cap: int, n_rows: int) -> None:
    members = [(ROW, CONFIG, np.zeros(size, dtype=np.float32)) for size in sizes]
    text = len(json.dumps([ROW.to_json(), CONFIG.to_json()]))
    pieces = split_pieces(members, 4 * cap, n_rows * text)
    assert [member[2] for piece in pieces for member in piece] == [member[2] for member in members]
    for piece in pieces:
        assert len(piece) <= 1 or (sum(len(member[2]) for member in piece) <= cap and len(piece) <= n_rows)
    for piece, after in pairwise(pieces):
        assert sum(len(m[2]) for m in piece) + len(after[0][2]) > cap or len(piece) == n_rows


def test_shards_are_in_the_order_of_the_index(tmp_path: Path) -> None:
    names = [
        "compiled-00000",
        "trained-00002",
        "trained-00002.2",
        "trained-00002.10",
        "trained-00003",
        "trained-100000",
    ]
    names += ["untrained-00000", "long-compiled-00000", "long-trained-00000", "wide-compiled-00000", "other"]
    (tmp_path / "shards").mkdir()
    for name in reversed(names):
        shard_path(tmp_path, name).touch()
    (tmp_path / "shards" / ".tmp-1-trained-00000.safetensors").touch()
    assert shard_names(tmp_path) == names


def test_an_index_of_another_kind_is_refused(small_copy: Path) -> None:
    table = pq.read_table(small_copy / "index.parquet")
    pq.write_table(table.drop_columns(["sha256"]), small_copy / "index.parquet")
    with pytest.raises(ZooError, match="columns"):
        read_index(small_copy)
    pq.write_table(table.replace_schema_metadata({"zoo": "[1]"}), small_copy / "index.parquet")
    with pytest.raises(ZooError, match="not a readable index"):
        read_facts(small_copy)


def _member() -> tuple[ZooRow, TargetConfig]:
    plan = ChunkPlan("untrained", 0, 0, 1)
    members, _ = make_chunk(ZooSpec(untrained=1), plan)
    return members[0][0], members[0][1]


ROW, CONFIG = _member()
