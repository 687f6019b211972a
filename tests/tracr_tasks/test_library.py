"""The library against plain Python (see references.py), Tracr's own definitions, and the compiled transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracr_tasks
from tests.tracr_tasks.corpus import mismatches, random_inputs
from tests.tracr_tasks.references import REFERENCES
from tests.tracr_tasks.test_conformance import CASES as TRACR
from tests.tracr_tasks.test_conformance import program_of
from tracr_tasks import rasp
from tracr_tasks.batch import hash_inputs, run_batch
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.exact import exact, plain
from tracr_tasks.library import ENTRIES, catalogue, library_names, library_program
from tracr_tasks.rasp import Program
from tracr_tasks.text import format_program, parse_program

TRACR_NAMES = [
    *("length", "reverse", "pair_balance", "shuffle_dyck", "shuffle_dyck2", "hist", "sort_unique", "sort"),
    *("sort_freq", "frac_prevs", "shift_by", "detect_pattern", "count_less_freq", "count", "nary_sequencemap"),
]
NEEDS_VOCAB = ("caesar",)
ODD = ("it's", '"', "#", "a, b", "(")


@dataclass(frozen=True)
class Case:
    """One program of the library, with what differs from its defaults."""

    name: str
    given: dict[str, Any]

    @cached_property
    def program(self) -> Program:
        return library_program(self.name, **self.given)

    def expected(self, tokens: list[Any]) -> list[Any]:
        """The reference's values; under causal attention those of each prefix at its end."""
        given = {key: value for key, value in self.given.items() if key not in ("vocab", "max_seq_len", "causal")}
        given |= {"vocab": self.program.vocab} if self.name in NEEDS_VOCAB else {}
        if self.program.causal:
            values = [REFERENCES[self.name](tokens[: place + 1], **given)[-1] for place in range(len(tokens))]
        else:
            values = REFERENCES[self.name](tokens, **given)
        return [plain(exact(value)) for value in values]


def case(name: str, **given: Any) -> Any:
    shown = ",".join(f"{key}={value}" for key, value in given.items() if key in ("max_seq_len", "causal"))
    return pytest.param(Case(name, given), id=f"{name}[{shown}]" if given else name)


DEFAULTS = [case(name) for name in ENTRIES]
VARIANTS = [
    case("length", max_seq_len=1),
    case("length", causal=True),
    case("reverse", vocab=(1, 2.5, "z"), max_seq_len=10),
    case("pair_balance", open="a", close="b", vocab=("a", "b"), max_seq_len=10, causal=True),
    case("shuffle_dyck", pairs=[("<", ">")], vocab=("<", ">"), max_seq_len=10),
    case("shuffle_dyck", pairs=("()", "{}", "[]"), vocab=tuple("(){}[]"), max_seq_len=6),
    case("hist", vocab=(1, 2), max_seq_len=10),
    case("hist", causal=True),
    case("sort_unique", vocab=(0.5, -7, 3), max_seq_len=7),
    case("sort", vocab=(-3, 0, 4), max_seq_len=10),
    case("sort", vocab=(0, 0.25, 3), min_key=0.25),
    case("sort_freq", vocab=("x", "y"), max_seq_len=7),
    case("frac_prevs", token=2, vocab=(1, 2), max_seq_len=10, causal=True),
    case("shift_by", offset=3, max_seq_len=10, causal=True),
    case("shift_by", offset=-2),
    case("detect_pattern", pattern=("a",)),
    case("detect_pattern", pattern="aba", causal=True),
    case("detect_pattern", pattern=(1, 1), vocab=(0, 1), max_seq_len=10),
    case("count_less_freq", n=1, max_seq_len=7),
    case("count", token="it's", vocab=ODD),
    case("count", token="b", causal=True),
    case("nary_sequencemap", fn="x + y - z", sops=[rasp.TOKENS, rasp.TOKENS, rasp.INDICES], vocab=(1, 2, 3)),
    case(
        "nary_sequencemap",
        fn="x * (y == w) + u",
        sops=("tokens", "indices", "tokens", "selector_width(select(tokens, tokens, ==))", "length", "length"),
        vocab=(1, 2),
        max_seq_len=3,
    ),
    case("seen_before", vocab=(0, 1, 2), max_seq_len=10, causal=True),
    case("occurrence", causal=True),
    case("deduplicate", mark="_", causal=True),
    case("deduplicate", mark=0, vocab=(0, 1, 2)),
    case("deduplicate", mark="#", vocab=ODD, max_seq_len=3),
    case("only_once", mark=-1, vocab=(0, 1, 2), max_seq_len=10),
    case("count_distinct", causal=True),
    case("double_hist", max_seq_len=10),
    case("bigram_count", vocab=(0, 1), max_seq_len=10),
    case("highest_count", vocab=("x", "y"), max_seq_len=10),
    case("majority", token="b", max_seq_len=10),
    case("majority", causal=True),
    case("parity", token=1, vocab=(0, 1), max_seq_len=10),
    case("parity", causal=True),
    case("token_at", place=0, causal=True),
    case("token_at", place=3, max_seq_len=10),
    case("rotate", offset=-1),
    case("rotate", offset=7, max_seq_len=10),
    case("swap_pairs", max_seq_len=10),
    case("interleave", max_seq_len=10),
    case("first_occurrence", max_seq_len=10, causal=True),
    case("last_occurrence", vocab=(5, 6), max_seq_len=10),
    case("previous_distance", max_seq_len=10, causal=True),
    case("induction", causal=False),
    case("induction", max_seq_len=10),
    case("induction", offset=2, vocab=(0, 1, 2)),
    case("minimum", vocab=("x", "z", "y")),
    case("maximum", vocab=(0.25, 0.5, -1)),
    case("argmax", vocab=("x", "z", "y"), max_seq_len=8),
    case("median", vocab=tuple("cab"), max_seq_len=7),
    case("count_smaller", vocab=("x", "z", "y"), causal=True),
    case("rank", vocab=(1.5, -2, 7), max_seq_len=10, causal=True),
    case("record", causal=True),
    case("is_sorted", vocab=("b", "a"), max_seq_len=10, causal=True),
    case("mean", vocab=(0.5, -1, 3), causal=True),
    case("total", vocab=(-1, 1), max_seq_len=10, causal=True),
    case("total", vocab=(0, 0.5, 3), max_seq_len=10),
    case("total", vocab=(0,)),
    case("modular_sum", modulus=3, vocab=(-1, 0, 7)),
    case("modular_sum", modulus=2, vocab=(1,), max_seq_len=10),
    case("difference", vocab=(0.5, 2), causal=True),
    case("caesar", shift=-3, vocab=tuple("abcdefghij")),
    case("xor_previous", max_seq_len=10, causal=True),
    case("running_xor", max_seq_len=10, causal=True),
    case("increment", max_seq_len=10),
    case("run_length", max_seq_len=10, causal=True),
    case("count_runs", causal=True),
    case("alternating", vocab=(0, 1), causal=True),
    case("window_any", token=1, width=4, vocab=(0, 1), max_seq_len=10, causal=True),
    case("contains", pattern="a", causal=True),
    case("contains", pattern=(0, 1, 1), vocab=(0, 1), max_seq_len=10),
    case("palindrome", vocab=(0, 1), max_seq_len=10),
    case("is_palindrome", vocab=(0, 1), max_seq_len=10),
    case("depth", open="<", close=">", vocab=("<", ">"), max_seq_len=10, causal=True),
    case("max_depth", vocab=("(", ")"), max_seq_len=10),
    case("dyck", pairs=("()",), vocab=("(", ")"), max_seq_len=8),
    case("dyck", pairs=(("(", ")"), ("[", "]"), ("<", ">")), vocab=tuple("()[]<>"), max_seq_len=6),
]
ALL: list[Case] = [param.values[0] for param in DEFAULTS + VARIANTS]


def test_names() -> None:
    assert set(ENTRIES) == set(REFERENCES) == set(library_names())
    assert list(library_names()[:15]) == TRACR_NAMES and len(ENTRIES) >= 35
    assert tracr_tasks.library_program is library_program


@pytest.mark.parametrize("name", ENTRIES)
def test_entry(name: str) -> None:
    entry = ENTRIES[name]
    tokens, values = entry.example
    assert entry.name == name and entry.program().run(tokens) == list(values)
    assert entry.about.endswith(".") and "\n" not in entry.about and len(entry.about) <= 120


@settings(max_examples=300)
@given(st.sampled_from(ALL), st.data())
def test_interpreter_gives_the_reference(case: Case, data: st.DataObject) -> None:
    program = case.program
    tokens = data.draw(st.lists(st.sampled_from(program.vocab), min_size=1, max_size=program.max_seq_len))
    assert program.run(tokens) == case.expected(tokens)


@pytest.mark.parametrize("case", DEFAULTS + VARIANTS)
def test_batch_gives_the_reference(case: Case) -> None:
    program = case.program
    n_inputs = 80 if case.given else 300
    ids, lengths = random_inputs(program, n_inputs)
    for row, length, got in zip(ids, lengths, run_batch(program, ids, lengths), strict=True):
        tokens = [program.vocab[place] for place in row[:length]]
        assert got[:length].tolist() == case.expected(tokens), tokens


@pytest.mark.parametrize("case", DEFAULTS)
def test_compiled_on_every_input(case: Case) -> None:
    tokens, values = ENTRIES[case.name].example
    compiled = compile_program(case.program)
    assert compiled.run([tokens])[0] == pytest.approx(list(values), abs=1e-5)
    assert mismatches(compiled) == 0


@pytest.mark.parametrize("case", VARIANTS)
def test_compiled_on_random_inputs(case: Case) -> None:
    assert mismatches(compile_program(case.program), *random_inputs(case.program, 200)) == 0


@pytest.mark.parametrize("case", DEFAULTS + VARIANTS)
def test_text_reads_back(case: Case) -> None:
    assert parse_program(format_program(case.program), case.program.vocab) == case.program


def tracr_parameters(case: dict[str, Any]) -> dict[str, Any] | None:
    """The parameters of one of Tracr's own test programs; None where it sorts by other keys than the tokens."""
    args = {key: value for key, value in case["args"].items() if key not in ("encoding", "vals", "max_seq_len")}
    if "bools" in args:
        return {"token": args["bools"].split('"')[1]}
    if "keys" in args and args.pop("keys") != "tokens":
        return None
    names = {"open_token": "open", "close_token": "close", "f": "fn"}
    return {names.get(key, key): value for key, value in args.items() if key != "sop"}


TRACR_CASES = [
    pytest.param(case, id=case["id"])
    for case in TRACR
    if case["id"].startswith("lib") and case["program"] != "SelectorWidth" and tracr_parameters(case) is not None
]


def test_tracr_cases_cover_the_names() -> None:
    tested = {case.values[0]["program"].removeprefix("make_") for case in TRACR_CASES}  # type: ignore[index, union-attr]
    assert set(TRACR_NAMES) - tested == {"count", "shuffle_dyck2"}  # the file has no program of these names


@pytest.mark.parametrize("case", TRACR_CASES)
def test_same_function_as_in_tracr(case: dict[str, Any]) -> None:
    theirs = program_of(case)
    name = case["program"].removeprefix("make_")
    parameters = tracr_parameters(case) or {}
    ours = library_program(name, theirs.vocab, theirs.max_seq_len, theirs.causal, **parameters)
    inputs = hash_inputs(len(theirs.vocab), theirs.max_seq_len)
    assert np.array_equal(run_batch(ours, *inputs), run_batch(theirs, *inputs))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("histo", {}, "no program 'histo' in the library; it holds length, reverse, "),
        ("hist", {"token": "a"}, "hist has no parameter 'token'; its parameters are none"),
        ("pair_balance", {"opening": "("}, r"no parameter 'opening'; its parameters are open='\(', close='\)'"),
        ("count", {"token": "z"}, "count: token='z' where a token of the vocabulary was expected; .* is a, b, c, d"),
        ("count", {"vocab": (1, 2)}, r"token='a' where .* \(the default does not fit; give token\)"),
        ("count", {"token": ["a"]}, "a token of the vocabulary was expected"),
        ("shift_by", {"offset": 1.5}, "offset=1.5 where a whole number was expected"),
        ("shift_by", {"offset": True}, "a whole number was expected"),
        ("shift_by", {"offset": 10**9}, "a whole number was expected"),
        ("token_at", {"place": -1}, "a whole number from 0 was expected"),
        ("window_any", {"width": 0}, "a whole number from 1 was expected"),
        ("detect_pattern", {"pattern": ()}, "a sequence of tokens"),
        ("detect_pattern", {"pattern": ("a", "x")}, "a sequence of tokens"),
        ("shuffle_dyck", {"pairs": "()"}, "a sequence of pairs"),
        ("shuffle_dyck", {"pairs": ("(", ")")}, "a sequence of pairs"),
        ("dyck", {"pairs": ("()", "(]")}, "no token twice"),
        ("deduplicate", {"mark": float("nan")}, "a number, a string or None"),
        ("deduplicate", {"mark": ("a",)}, "a number, a string or None"),
        ("sort", {"min_key": 0}, "a number above 0"),
        ("sort", {"min_key": 2}, "min_key=2 is more than 1, the least difference"),
        ("sort", {"vocab": (0, 0.5, 1)}, "min_key=1 is more than 0.5"),
        ("sort", {"vocab": ("a", "b")}, "sort is for a vocabulary of numbers, not for a, b"),
        ("rank", {"vocab": ("a", 1)}, "numbers only or strings only"),
        ("total", {"vocab": ("a", 0.5)}, "total is for a vocabulary of numbers, not for a, 0.5"),
        ("increment", {"vocab": (0, 1, 2)}, "the bits 0 and 1"),
        ("nary_sequencemap", {"fn": "x +"}, "'x \\+' is not an expression"),
        ("nary_sequencemap", {"fn": "x + u"}, "unknown name 'u' in a function of x and y and z"),
        ("nary_sequencemap", {"fn": 3}, "a function as text"),
        ("nary_sequencemap", {"sops": ("tokens",)}, "2 to 6 S-ops"),
        ("nary_sequencemap", {"sops": ("tokens", "select(tokens, tokens, ==)", "tokens")}, "not a selector"),
    ],
)
def test_refused(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        library_program(name, **given)


def test_refused_vocabularies_and_lengths() -> None:
    for name in ("sort_freq", "caesar"):
        for vocab in ((), ("a", "a"), ("BOS",)):
            with pytest.raises(ProgramError):
                library_program(name, vocab)
        with pytest.raises(ProgramError, match="max_seq_len"):
            library_program(name, max_seq_len=0)


def test_catalogue() -> None:
    head, rule, *rows = catalogue().splitlines()
    assert [row.split("`")[1] for row in rows] == list(library_names())
    assert all(line.count(" | ") == 3 and line.startswith("| ") and line.endswith(" |") for line in (head, rule, *rows))
    assert "| `shift_by` | `offset=1` | The token `offset` places before" in catalogue()
    assert rows[0].endswith("| `a b a` → `3 3 3` |")
    assert "`a b a b` → `1 0.5 0.667 0.5`" in catalogue()
