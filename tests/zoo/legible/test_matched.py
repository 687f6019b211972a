"""Targets of one program and one accuracy, across histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import InputError
from zoo.legible.matched import matched, matched_lines
from zoo.rows import ZooRow
from zoo.store import Zoo

ROW = ZooRow("", "s", 0, "f", 0, "", "rasp", "out = tokens", "[]", (), (), 1, False, "", "", "train", 0, "")


def row(part: str, regime: str, number: int, accuracy: float | None) -> ZooRow:
    stem = f"{part}-{regime}" if part else regime
    labels = {"history": {}} | ({} if accuracy is None else {"accuracy": accuracy})
    own = {"id": f"{stem}-{number:06d}", "regime": regime, "part": part, "labels": labels}
    return ZooRow(**(vars(ROW) | own | ({} if accuracy is not None else {"text": "", "kind": "none"})))


ACCURACIES = st.dictionaries(
    st.tuples(st.sampled_from(["", "a"]), st.sampled_from(["trained", "seeded", "decoy"]), st.integers(0, 5)),
    st.sampled_from([0.5, 0.97, 0.985, 1.0]),
)


@given(ACCURACIES)
def test_exactly_the_programs_in_the_band_everywhere_are_found(accuracies: dict[tuple[str, str, int], float]) -> None:
    zoo = Zoo(Path(), {}, [row(*key, accuracy) for key, accuracy in accuracies.items()])
    found = matched(zoo, "a", ["seeded", "trained"], 0.98, 0.99)
    wanted = [n for n in range(6) if all(accuracies.get(("a", r, n)) == 0.985 for r in ("seeded", "trained"))]
    assert found == [(f"a-seeded-{n:06d}", f"a-trained-{n:06d}") for n in wanted]
    for regime in ("trained", "decoy"):
        alone = matched(zoo, "", [regime], 0.0, 1.0)
        assert alone == sorted((key.id,) for key in zoo.rows(part="", regime=regime))


def test_what_has_no_program_is_left_out_of_the_line() -> None:
    rows = [row("", regime, n, 0.99) for regime in ("compiled", "seeded") for n in range(3)]
    rows += [row("", "untrained", n, None) for n in range(3)] + [row("", "seeded", 3, 0.5)]
    assert matched_lines(rows) == ["3 of 4 programs have an accuracy of 98% or more in every one of compiled, seeded"]
    assert matched_lines([row("", "trained", 0, 1.0)]) == []


@pytest.mark.parametrize(("regimes", "low", "high"), [([], 0.0, 1.0), (["tamed"], 0.0, 1.0), (["trained"], 1.0, 0.5)])
def test_what_cannot_be_matched_is_refused(regimes: list[str], low: float, high: float) -> None:
    with pytest.raises(InputError, match="expected"):
        matched(Zoo(Path(), {}, []), "", regimes, low, high)
