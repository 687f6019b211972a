"""Adding to a finished zoo: larger counts keep every target; anything else is refused with the difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tracr_tasks.errors import InputError, ZooError
from zoo.build import build, build_zoo
from zoo.chunks import plan_chunks
from zoo.growth import grown
from zoo.parts import Growth, Part
from zoo.rebuild import rebuild
from zoo.shard import flatten, row_sha256
from zoo.spec import ZooSpec, load_spec
from zoo.store import Zoo
from zoo.verify import verify_zoo


def spans(spec: ZooSpec) -> list[tuple[str, int, int]]:
    return [(plan.name, plan.start, plan.stop) for plan in plan_chunks(spec)]


def test_a_grown_zoo_keeps_every_target_and_every_file(small: ZooSpec, small_copy: Path, tmp_path: Path) -> None:
    spec = replace(small, trained=5)
    build(spec, tmp_path / "five", workers=1, progress=False)
    old = {row.id: row for row in Zoo.open(tmp_path / "five")}
    inodes = {path: path.stat().st_ino for path in (tmp_path / "five" / "shards").iterdir()}
    bigger = replace(spec, size=1.8)
    report = build(bigger, tmp_path / "five", workers=1, progress=False)
    new = {row.id: row for row in Zoo.open(tmp_path / "five")}
    assert {name: new[name] for name in old} == old
    assert len(new) + report.duplicates + sum(report.failures.values()) == 7 + 9 + 4
    assert all(path.stat().st_ino == inode for path, inode in inodes.items())
    assert [span for span in spans(Zoo.open(tmp_path / "five").spec) if span[0].startswith("tr")] == [
        ("trained-00000", 0, 2),
        ("trained-00001", 2, 4),
        ("trained-00002", 4, 5),
        ("trained-00003", 5, 7),
        ("trained-00004", 7, 9),
    ]
    assert verify_zoo(tmp_path / "five", sample=2).ok
    assert build(bigger, tmp_path / "five", workers=1, progress=False).chunks == ()


def test_a_grown_zoo_is_the_same_when_its_spec_is_built_elsewhere(small: ZooSpec, tmp_path: Path) -> None:
    build(replace(small, trained=3, compiled=1), tmp_path / "zoo", workers=1, progress=False)
    zoo = build_zoo(replace(small, trained=6, compiled=1), tmp_path / "zoo", workers=1, progress=False)
    spec = load_spec(tmp_path / "zoo" / "spec.json")
    again = build_zoo(spec, tmp_path / "again", workers=1, progress=False)
    assert again.content_hash() == zoo.content_hash()
    for path in (tmp_path / "zoo").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "zoo")).read_bytes()
    for target_id in ("trained-000002", "trained-000003"):
        target = rebuild(zoo, target_id)
        assert row_sha256(flatten(target.config, target.weights)) == zoo.row(target_id).sha256


def test_an_interrupted_growth_goes_on(
    small: ZooSpec, small_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bigger = replace(small, trained=10)
    build(small, tmp_path / "whole", workers=1, progress=False)
    build(bigger, tmp_path / "whole", workers=1, progress=False)

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.engines.write_chunk", stop)
    with pytest.raises(KeyboardInterrupt):
        build(bigger, small_copy, workers=1, progress=False)
    monkeypatch.undo()
    report = build(bigger, small_copy, workers=1, progress=False)
    assert report.chunks == ("trained-00003", "trained-00004")
    assert Zoo.open(small_copy).content_hash() == Zoo.open(tmp_path / "whole").content_hash()


def test_anything_but_growth_is_refused_with_the_difference(small: ZooSpec, small_copy: Path) -> None:
    worse = replace(small, trained=5, seed=5, training=replace(small.training, lr=0.5))
    with pytest.raises(ZooError) as caught:
        build_zoo(worse, small_copy, workers=1, progress=False)
    text = str(caught.value)
    assert "another spec (trained 6 -> 5; seed 3 -> 5; training.lr 0.02 -> 0.5)" in text
    assert "\n" not in text
    with pytest.raises(ZooError, match=r"parts None -> \{'long'"):
        build_zoo(replace(small, parts=(Part("long", trained=1),)), small_copy, workers=1, progress=False)


def test_counts_of_parts_grow_too(small: ZooSpec) -> None:
    part = Part("long", trained=3)
    old = replace(small, parts=(part,))
    new = grown(old, replace(old, parts=(replace(part, trained=4, untrained=2),)), "x")
    assert new.growth == Growth(old.hash(), {"long-trained": (3,)})
    assert [span for span in spans(new) if span[0].startswith("long")] == [
        ("long-trained-00000", 0, 2),
        ("long-trained-00001", 2, 3),
        ("long-trained-00002", 3, 4),
        ("long-untrained-00000", 0, 2),
    ]
    again = grown(new, replace(new, growth=None, size=2.0), "x")
    assert again.origin() == old.hash()
    assert again.growth is not None
    assert again.growth.ends["long-trained"] == (3, 4)
    with pytest.raises(ZooError, match="long-trained 4 -> 3"):
        grown(new, old, "x")


def test_another_name_or_another_way_to_the_same_counts_is_the_same_zoo(small: ZooSpec) -> None:
    assert grown(small, replace(small, name="other"), "x") is small
    half = replace(small, compiled=8, trained=12, untrained=4, size=0.5)
    assert grown(small, half, "x") is small


def test_a_spec_with_another_history_is_refused(small: ZooSpec) -> None:
    foreign = replace(small, trained=9, growth=Growth("0" * 16, {"trained": (2,)}))
    with pytest.raises(ZooError, match="growth"):
        grown(small, foreign, "x")


@pytest.mark.parametrize("ends", [{"trained": (3, 2)}, {"trained": (0,)}, {"trained": (2, 2)}])
def test_bad_histories_are_refused(ends: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="expected ascending counts"):
        Growth("0" * 16, ends)
