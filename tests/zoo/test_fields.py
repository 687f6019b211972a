from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import InputError
from zoo import fields as module
from zoo.fields import differences, from_fields, to_fields


@dataclass(frozen=True)
class Inner:
    depth: int = 1
    late: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] = "a"
    free: dict[str, Any] = field(default_factory=dict)


INNER = st.builds(Inner, depth=st.integers(), late=st.floats(allow_nan=False))
OUTER = st.builds(
    Outer,
    name=st.text(),
    inner=INNER,
    maybe=st.none() | INNER,
    many=st.lists(INNER, max_size=3).map(tuple),
    kind=st.sampled_from(["a", "b"]),
    free=st.dictionaries(st.text(), st.integers()),
)


@given(OUTER)
def test_what_is_written_is_read_back(value: Outer) -> None:
    assert from_fields(Outer, to_fields(value), "x") == value


def test_a_later_field_is_left_out_where_it_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.FIRST, "Outer", ("name", "inner"))
    monkeypatch.setitem(module.FIRST, "Inner", ("depth",))
    assert to_fields(Outer("n")) == {"name": "n", "inner": {"depth": 1}}
    assert to_fields(Outer("n", Inner(late=0.1), kind="b")) == {
        "name": "n",
        "inner": {"depth": 1, "late": 0.1},
        "kind": "b",
    }


@given(OUTER, OUTER)
def test_differences_are_none_for_equals_only(one: Outer, other: Outer) -> None:
    before, after = to_fields(one), to_fields(other)
    assert (differences(before, after) == []) == (before == after)


def test_differences_name_the_field() -> None:
    before, after = to_fields(Outer("n", Inner(2))), to_fields(Outer("m", Inner(3)))
    assert differences(before, after) == ["name 'n' -> 'm'", "inner.depth 2 -> 3"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "x: field 'name' is missing"),
        ({"name": 3}, "x: name = 3, expected str"),
        ({"name": "n", "maybe": {"dept": 1}}, "x: maybe: unknown field 'dept'; did you mean 'depth'?"),
        ({"name": "n", "kind": "c"}, "x: kind = 'c', expected one of 'a', 'b'"),
        ({"name": "n", "many": [{"depth": True}]}, "x: many: depth = True, expected int"),
        ({"name": "n", "many": 3}, "x: many: got 3, expected a list"),
        ({"name": "n", "free": 3}, "x: free: got 3, expected a table of fields"),
        ([], "x: got list, expected a table of fields"),
    ],
)
def test_bad_fields_are_refused(values: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_fields(Outer, values, "x")
    assert str(caught.value) == message
