from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import exact, format_value, literal
from tracr_tasks.functions import function, predicate, table

SMALL = st.integers(-5, 5)


@given(SMALL, SMALL, st.sampled_from(["+", "-", "*", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"]))
def test_operators_are_pythons(x: int, y: int, sign: str) -> None:
    fn = function(f"x {sign} y", ("x", "y"))
    python = {"+": x + y, "-": x - y, "*": x * y, "==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y}
    python |= {">=": x >= y, "and": x and y, "or": x or y} | ({"%": x % y} if y else {})
    if sign in python:
        assert fn(x, y) == python[sign]
    assert fn(None, y) is None and fn(x, None) is None


@given(
    st.one_of(
        SMALL,
        st.floats(-99, 99).map(lambda x: round(x, 3)),
        st.text("ab'\"\\ #,", max_size=5),
        st.none(),
        st.fractions(0, 9, max_denominator=9),
    )
)
def test_literals_read_back(value: object) -> None:
    assert function(literal(exact(value)), ())() == exact(value)


@pytest.mark.parametrize(
    ("text", "x", "result"),
    [
        ("x / 3 * 3", 1, 1),
        ("int(x)", Fraction(-5, 2), -2),
        ("bool(x)", 3, 1),
        ("not x", 0, 1),
        ("-x", 2, -2),
        ("x + 'b'", "a", "ab"),
        ("(x, 1)[0]", 7, 7),
        ("{0: 1, 1: none}", 1, None),
        ("x * 0.1", 3, Fraction(3, 10)),
        ("x > 1 and x < 3", 2, 1),
    ],
)
def test_values(text: str, x: object, result: object) -> None:
    assert function(text)(x) == result  # type: ignore[arg-type]


def test_canonical_texts() -> None:
    assert function("((x+ 1))").text == "x + 1"
    assert function("{1:2, 0 :1}").text == table({0: 1, 1: 2}).text == "{0: 1, 1: 2}"
    assert function(function("not (x == 1 or x>2)").text).text == "not (x == 1 or x > 2)"
    assert predicate(" <= ").text == "<=" and predicate("k+1==q").text == "k + 1 == q"


@pytest.mark.parametrize(
    ("text", "x"), [("x / 0", 1), ("x + 'a'", 1), ("x < 1", "a"), ("{0: 1}", 2), ("x[3]", (1,)), ("-x", "a")]
)
def test_not_defined_there(text: str, x: object) -> None:
    with pytest.raises(ProgramError, match="is not defined for"):
        function(text)(x)  # type: ignore[arg-type]


def test_growth_is_refused() -> None:
    with pytest.raises(ProgramError, match="grows beyond"):
        function("x * 1000000")(10**6)


def test_names_of_values() -> None:
    assert [format_value(v) for v in (3, 0.5, 2.0, "a", None, True, Fraction(1, 4))] == [
        "3", "0.5", "2", "a", "none", "true", "0.25",
    ]  # fmt: skip
