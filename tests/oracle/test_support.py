"""An answer is borne out by those of the likely flowcharts about which it is right too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.answer import Answer
from oracle.cli_ask import as_json
from oracle.evidence import Evidence
from oracle.facts import Question
from oracle.grade import grade
from oracle.oracle import WeightOracle
from oracle.phrasings import NO_PROGRAM
from oracle.reader import Generated, Prefix
from oracle.subjects import subject_of_program
from oracle.support import AT_ONCE, supports
from oracle.trials import SAME, Draft, Trial, bears_out, result_of
from tests.oracle.test_drafts import config, decoder  # noqa: F401
from tests.oracle.test_trials import trying  # noqa: F401
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.sampler import sample_compiled
from zoo.compiled import target_of
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart

VOCAB, ANSWERS, LENGTH = ("a", "b", "c"), ("p", "q", "r"), 3
TEXTS = (
    "if pos 1 is a then if has b then p else q else r",
    "if pos 1 is a then q else r",
    "if pos 2 is a then if has b then p else q else r",
)
SHARES = (0.7, 0.2, 0.1)
SEEDS = st.integers(0, 10_000)


def likely(texts: Sequence[str] = TEXTS, shares: Sequence[float] = SHARES) -> Draft:
    """The first text as a draft, with the others beside it."""
    best, *others = (
        Draft(text, math.log(0.4), False, parse_flowchart(text, VOCAB, ANSWERS, LENGTH), share=math.log(share))
        for text, share in zip(texts, shares, strict=True)
    )
    return replace(best, others=tuple(others))


class Reading:
    """Says of every draft what it is told to, and remembers what it was asked."""

    def __init__(self, says: dict[str, str]):
        self.says, self.calls = says, list[list[tuple[int, str]]]()

    def __call__(self, at: Sequence[int], drafts: Sequence[Draft]) -> list[str]:
        self.calls.append([(i, draft.text) for i, draft in zip(at, drafts, strict=True)])
        return [self.says[draft.text] for draft in drafts]


def answer(text: str, draft: Draft | None, trial: Trial | None = None) -> Answer:
    return Answer("?", text, 0.0, (-0.1,), draft=draft, trial=trial)


def support_of(said: Answer, says: dict[str, str] | None = None) -> float | None:
    (found,) = supports([said], Reading(says or {}))
    return found


def test_a_program_has_the_share_of_its_function() -> None:
    assert support_of(answer(TEXTS[0], likely())) == pytest.approx(0.7)


def test_no_program_is_as_likely_as_the_draft_is_not() -> None:
    assert support_of(answer(NO_PROGRAM, likely())) == pytest.approx(0.6)


@pytest.mark.parametrize("draft", [None, Draft("out = tokens", -0.1, True)])
def test_what_was_not_weighed_has_none(draft: Draft | None) -> None:
    assert support_of(answer("yes", draft)) is None


@pytest.mark.parametrize(
    ("trial", "said", "support"),
    [
        ("run a c c", "q", 0.7 + 0.2),
        ("run a b c", "p", 0.7),
        ("run c a c", "r", 0.7 + 0.2),
        ("run b b b", "r", 1.0),
        ("run b b b", "p", 0.0),  # the reader says something else than what came out
        ("find p", "a b a", 0.7),
        ("find q", "a a a", 0.7 + 0.2 + 0.1),
        ("find r", "b c c", 1.0),
        ("find r", "not an input", 0.0),
    ],
)
def test_what_was_tried_is_tried_with_the_others(trial: str, said: str, support: float) -> None:
    verb, _, about = trial.partition(" ")
    assert support_of(answer(said, likely(), Trial(verb, about))) == pytest.approx(support)


@given(SEEDS, st.lists(SEEDS, min_size=1, max_size=4))
@settings(max_examples=30)
def test_what_bears_a_trial_out_is_what_the_grader_finds_right(first: int, others: list[int]) -> None:
    drafts = [Draft(chart.text(), 0.0, False, chart) for chart in map(sample_flowchart, [first, *others])]
    chart = drafts[0].program
    assert isinstance(chart, Flowchart)
    row = " ".join(chart.vocab[i % len(chart.vocab)] for i in range(first, first + chart.max_seq_len))
    for trial, family in ((Trial("run", row), "output"), (Trial("find", chart.leaves()[-1]), "trigger")):
        said = result_of(trial, drafts[0])
        for draft in drafts:
            try:
                subject = subject_of_program(draft.program, 0)
            except WeightOracleError:
                continue
            truth = " ".join(draft.program.run(row.split())) if family == "output" else ""  # type: ignore[union-attr]
            right = grade(Question(family, "", truth, trial.about), said, subject).correct
            assert bears_out(draft, trial, said) is right


def test_other_answers_are_asked_for_again_with_every_other_draft() -> None:
    says = {TEXTS[1]: "pos 1 is a", TEXTS[2]: "pos 2 is a"}
    assert support_of(answer("pos 1 is a", likely()), says) == pytest.approx(0.9)
    assert support_of(answer("pos 2 is a", likely()), says) == pytest.approx(0.8)


def test_many_answers_are_asked_for_in_parts_and_each_keeps_its_own() -> None:
    reading = Reading({TEXTS[1]: "yes", TEXTS[2]: "no"})
    said = [answer(("yes", "no")[i % 2], likely()) for i in range(AT_ONCE)] + [answer("yes", None)]
    assert supports(said, reading) == [*(pytest.approx((0.9, 0.8)[i % 2]) for i in range(AT_ONCE)), None]
    assert [len(call) for call in reading.calls] == [AT_ONCE, AT_ONCE]
    asked = sorted(each for call in reading.calls for each in call)
    assert asked == sorted((i, text) for i in range(AT_ONCE) for text in TEXTS[1:])


def test_the_reader_is_asked_again_with_the_same_weights_and_may_try(
    trying: WeightOracle,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = trying.open(target_of(sample_compiled(4)))
    shown, asked, read = [replace(opened.evidence, draft=likely())] * 2, list[list[str]](), list[Any]()
    says = [["pos 1 is a", "q"], ["pos 1 is a", "run a b c", "q", "r"], [SAME]]

    def generate(prompts: Sequence[str], prefix: Prefix | None, max_tokens: int | None = None) -> Generated:
        asked.append(list(prompts))
        said = says[len(asked) - 1]
        return Generated(tuple(said), ((-0.1,),) * len(said))

    prefix = trying.prefix

    def prefixed(evidence: Sequence[Evidence]) -> Prefix:
        read.append(evidence)
        return prefix(evidence)

    monkeypatch.setattr(trying.reader, "generate", generate)
    monkeypatch.setattr(trying, "prefix", prefixed)
    answers = trying.answer(["A?", "B?"], opened.prefix.rows([0, 0]), evidence=shown)
    a, b = map(trying.reader.prompt, ("A?", "B?"))
    assert asked[:2] == [[a, b], [a, a, b, b]] and len(asked[2]) == 1 and asked[2][0].startswith(a)
    assert [each.support for each in answers] == pytest.approx([0.9, 0.9])
    assert [[each.draft.text for each in evidence] for evidence in read] == [list(TEXTS[1:])]
    assert all(each.tokens is opened.evidence.tokens for each in read[0])


def test_the_share_of_what_is_likely_is_never_more_than_one() -> None:
    shares = (0.7, 0.2, 0.1 + 1e-9)
    assert support_of(answer("r", likely(TEXTS, shares), Trial("run", "b b b"))) == 1.0


def test_the_command_says_what_bears_an_answer_out() -> None:
    assert as_json(replace(answer("yes", likely()), support=0.9))["support"] == 0.9
    assert as_json(answer("yes", None))["support"] is None
