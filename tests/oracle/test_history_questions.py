"""Questions about histories and measured labels: true, evened out, graded by the word, asked where there are labels."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import LabelIds
from oracle.grade import grade
from oracle.history_phrasings import HISTORY_PHRASINGS
from oracle.history_questions import HISTORY, SEED_MEASURES, definitions, found_by_probe, prepared, spread
from oracle.neutral import fold
from oracle.phrasings import N_TEST_ONLY, PHRASINGS, phrasings
from oracle.questions import BY_KIND, Subject, ask, draw, families_of, one_of_each
from oracle.subjects import Example, relabel, subject_of_program
from tests.oracle.targets import random_weights
from tracr_tasks import parse_program, sample_program
from tracr_tasks.transformer import TargetConfig
from zoo.sampling import sample_flowchart

REGIMES = ("compiled", "trained", "untrained", "seeded", "permuted", "decoy", "anchored", "seeded_anchored")
REGIMES += ("rerandomised",)
EACH = 10
SEEDS = [
    "v1 = select(tokens, tokens, ==)\nout = selector_width(v1)",
    "v1 = select(tokens, tokens, <)\nout = selector_width(v1)",
    "v1 = select(indices, indices, <)\nout = selector_width(v1)",
    "v1 = select(tokens, indices, ==)\nout = selector_width(v1)",
    "v1 = select(indices, tokens, >)\nout = selector_width(v1)",
    "v1 = select(tokens, tokens, !=)\nout = selector_width(v1)",
]
OF_TARGET = ("history", "ever trained", "seeded", "anchored", "accuracy")
ANSWERS = {"all of it", "part of it", "nothing"}


def labels_of(regime: str, i: int, text: str) -> dict[str, Any]:
    """As `zoo.legible.labels` writes them, with figures that depend on the regime as those of a zoo would."""
    rng = random.Random(f"{regime}/{i}")
    out: dict[str, Any] = {"history": {"seed": "", "options": {}}}
    if regime in ("seeded", "permuted", "decoy", "seeded_anchored"):
        out["history"]["seed"] = SEEDS[i % len(SEEDS)]
        out["seed"] = {
            "curve": {name: [rng.choice([0.9, 0.95]), 0.4] for name in SEED_MEASURES},
            "half_life": {name: rng.choice([None, 30.0]) for name in SEED_MEASURES},
        }
    if regime in ("anchored", "seeded_anchored"):
        tokens = rng.sample(["0", "1", "2", "3", "4"], 2)
        out["anchor"] = {"concept": "v2", "value": "3", "margin": 0.7, "tokens": tokens}
    if regime in ("untrained", "rerandomised"):
        out["history"]["program"] = text
    else:
        out["accuracy"] = rng.choice([0.999, 0.995, 0.97, 0.9, 0.5])
    names = [*definitions(text), "tokens", "indices"]
    learned = regime not in ("untrained", "rerandomised")
    out["probe"] = {
        f"L{layer}": {
            name: {
                "accuracy": min(1.0, 0.4 + (0.2 * layer + rng.choice([0.0, 0.3])) * learned),
                "majority": 0.4,
                "untrained": 0.42,
            }
            for name in names
        }
        for layer in range(4)
    }
    return out


@cache
def told(i: int) -> Subject:
    return subject_of_program(sample_program(i), i)


def subject(regime: str, i: int) -> Subject:
    whole = told(i)
    program = whole.program
    labels = labels_of(regime, i, program.text())
    if regime in ("untrained", "rerandomised"):
        return Subject("none", regime, "", None, (), (), labels)
    return replace(whole, regime=regime, labels=labels)


@cache
def unprepared() -> tuple[Subject, ...]:
    return tuple(subject(regime, i) for regime in REGIMES for i in range(EACH))


@cache
def subjects() -> tuple[Subject, ...]:
    """Every regime, equally often, evened out."""
    return tuple(prepared(unprepared(), 0))


@cache
def asked(family: str) -> list[Subject]:
    return [each for each in subjects() if family in dict(families_of(each))]


def test_the_true_answer_is_graded_right_and_others_wrong() -> None:
    seen = Counter[str]()
    for each in subjects():
        for question in one_of_each(each, random.Random(1)):
            if question.family not in HISTORY:
                continue
            seen[question.family] += 1
            found = grade(question, f" {question.truth} ", each)
            assert found.parsed and found.exact and found.correct and found.agreement == 1, question
            for wrong in ("what else", question.truth.upper() + "x", "", "yes no"):
                assert not grade(question, wrong, each).correct
    assert set(seen) == set(HISTORY) and min(seen.values()) >= 8, seen


@pytest.mark.parametrize("family", [*OF_TARGET, "probe", "seed lost"])
def test_no_answer_is_more_frequent_than_all_others_together(family: str) -> None:
    """One question a target; of `probe`, in each layer, so that the layer does not tell."""
    rng = random.Random(2)
    questions = [ask(each, family, rng) for each in asked(family)]
    groups = Counter((question.detail[-7:], question.truth) for question in questions)
    for group in {group for group, _ in groups}:
        counts = [n for (where, _), n in groups.items() if where == group]
        assert len(counts) > 1 and max(counts) <= sum(counts) / 2, groups
    if family == "probe":
        assert {question.truth for question in questions} == ANSWERS and len({g for g, _ in groups}) > 2


@pytest.mark.parametrize("family", [*OF_TARGET, "probe", "seed lost"])
def test_no_phrasing_tells_the_answer(family: str) -> None:
    rng, counts, total = random.Random(3), Counter[tuple[str, str]](), Counter[str]()
    for _ in range(1500 // len(asked(family))):
        for each in asked(family):
            question = ask(each, family, rng)
            start = question.text.replace(question.detail, "") if question.detail else question.text
            counts[start, question.truth] += 1
            total[start] += 1
    assert len(total) == len(HISTORY_PHRASINGS[family]) - N_TEST_ONLY
    assert max(n / total[text] for (text, _), n in counts.items()) < 0.65


def test_choices_have_the_right_one_anywhere() -> None:
    rng = random.Random(4)
    letters = Counter(ask(each, "seed", rng).truth for each in asked("seed") for _ in range(60))
    assert set(letters) == set("ABCD") and max(letters.values()) < 0.3 * letters.total()
    places = Counter[int]()
    for each in asked("anchor"):
        for _ in range(60):
            question = ask(each, "anchor", rng)
            shown = re.split(", | or ", question.detail)
            assert len(shown) == len(set(shown)) == 4 and set(shown) <= {"0", "1", "2", "3", "4"}
            assert question.truth == each.labels["anchor"]["tokens"][0]
            assert each.labels["anchor"]["tokens"][1] not in shown
            places[shown.index(question.truth)] += 1
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < 0.3 * places.total()


def test_the_letter_names_the_seed_and_the_others_are_other_functions() -> None:
    for each in asked("seed"):
        assert each.regime in ("seeded", "decoy", "seeded_anchored")
        question = ask(each, "seed", random.Random(5))
        shown = dict(re.findall(r"([ABCD]): (.*?)\.(?= [ABCD]:|$)", question.detail))
        texts = {letter: line.replace("; ", "\n") for letter, line in shown.items()}
        assert texts[question.truth] == each.labels["history"]["seed"]
        facts = (each.program.vocab, each.program.max_seq_len, each.program.causal)
        assert len({parse_program(text, *facts).function_hash() for text in texts.values()}) == 4


def test_seeded_anchored_and_trained_are_what_the_regime_says() -> None:
    truths = {
        (each.regime, family): ask(each, family, random.Random(0)).truth
        for each in (replace(s, labels={k: v for k, v in s.labels.items() if k != "asked"}) for s in subjects())
        for family in ("seeded", "anchored", "ever trained")
        if family in dict(families_of(each))
    }
    yes = {family: {r for (r, f), truth in truths.items() if f == family and truth == "yes"} for _, family in truths}
    assert yes["seeded"] == {"seeded", "decoy", "seeded_anchored"}
    assert yes["anchored"] == {"anchored", "seeded_anchored"}
    assert yes["ever trained"] == set(REGIMES) - {"compiled", "untrained", "rerandomised"}
    assert ("compiled", "ever trained") not in truths and len(truths) == 3 * len(REGIMES) - 1


@pytest.mark.parametrize(
    ("accuracy", "majority", "untrained", "answer"),
    [
        (0.97, 0.31, 0.40, "all of it"),
        (0.60, 0.31, 0.40, "part of it"),
        (0.45, 0.31, 0.40, "nothing"),
        (0.20, 0.31, 0.40, "nothing"),
        (0.70, 0.30, 0.69, "nothing"),
        (1.00, 0.30, 0.95, None),
        (0.99, 0.92, 0.10, None),
    ],
)
def test_what_a_probe_finds_is_beyond_the_majority_and_the_untrained_twin(
    accuracy: float, majority: float, untrained: float, answer: str | None
) -> None:
    assert found_by_probe({"accuracy": accuracy, "majority": majority, "untrained": untrained}) == answer


def test_variables_are_named_by_their_definitions() -> None:
    text = "v1 = select(tokens, indices, ==)\nv2 = selector_width(v1)\nout = sequence_map(x * y, v2, tokens)"
    width = "selector_width(select(tokens, indices, ==))"
    assert definitions("vocab = {0, 1}\n" + text)["v2"] == width
    assert definitions(text)["out"] == f"sequence_map(x * y, {width}, tokens)"
    asked_about = [ask(each, "probe", random.Random(i)).text for i, each in enumerate(asked("probe"))]
    assert not any(re.search(r"\bv\d", text) or re.search(r"about (tokens|indices) at", text) for text in asked_about)


@pytest.mark.parametrize("family", HISTORY)
def test_no_question_says_its_answer(family: str) -> None:
    rng = random.Random(6)
    for each in asked(family):
        for test in (False, True):
            question = ask(each, family, rng, test=test)
            assert question.detail in question.text and "{" not in question.text.replace(question.detail, "")
            rest = question.text.replace(question.detail, "")
            assert not re.search(rf"\b{re.escape(question.truth)}\b", rest, re.IGNORECASE), question


def test_phrasings() -> None:
    texts = [text for family, texts in PHRASINGS.items() for text in texts]
    assert len(texts) == len(set(texts)), "no phrasing is of two families"
    for family in HISTORY:
        words = [set(re.findall(r"[\w{}']+", " ".join(phrasings(family, test=t)).lower())) for t in (True, False)]
        assert words[0] <= words[1], (family, words[0] - words[1])
        assert len(phrasings(family, test=False)) >= 12


@settings(max_examples=60)
@given(
    options=st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=4), max_size=40),
    seed=st.integers(0, 100),
)
def test_spread(options: list[list[tuple[str, str]]], seed: int) -> None:
    chosen = spread(options, random.Random(seed))
    assert all(c is None or c in o for c, o in zip(chosen, options, strict=True))
    counts = Counter(c for c in chosen if c is not None)
    for group in "ab":
        sizes = sorted((n for (where, _), n in counts.items() if where == group), reverse=True)
        assert not sizes or (len(sizes) > 1 and sizes[0] <= sizes[1])
    for group in "ab":  # where every one has one option, as many are left out as must be
        only = Counter(o[0] for o in options if len(o) == 1 and o[0][0] == group)
        if all(len(o) == 1 for o in options) and len(only) > 1:
            first, second = (n for _, n in only.most_common(2))
            assert sum(n for (where, _), n in counts.items() if where == group) == only.total() - first + second


def test_zoos_without_such_labels_are_asked_as_ever() -> None:
    for program in (sample_program(3), sample_flowchart(3)):
        plain = subject_of_program(program, 3)
        labelled = replace(plain, labels={"accuracy": 0.99, "loss": 0.1})
        assert families_of(plain) == families_of(labelled)
        assert set(families_of(plain)) <= set(BY_KIND[plain.kind])
        assert draw(plain, 6, random.Random(1)) == draw(labelled, 6, random.Random(1))
        assert not {q.family for q in one_of_each(plain, random.Random(0))} & set(HISTORY)
        assert prepared([labelled], 0) == [labelled]
    bare = replace(subject("trained", 1), labels={"history": {"seed": "", "options": {}}})
    assert {f for f, _ in families_of(bare)} & set(HISTORY) == {"history", "ever trained", "seeded", "anchored"}


def test_an_anchor_that_does_not_hold_is_not_asked_about() -> None:
    held = subject("anchored", 1)
    for margin, is_asked in ((0.7, True), (0.31, True), (0.29, False), (-0.1, False)):
        labels = dict(held.labels) | {"anchor": dict(held.labels["anchor"]) | {"margin": margin}}
        found = {f for f, _ in families_of(replace(held, labels=labels))}
        assert ({"anchor", "anchored"} <= found) == is_asked and ("anchored" in found) == is_asked


def test_the_program_comes_first_and_the_same_seed_asks_the_same() -> None:
    again, other = prepared(unprepared(), 0), prepared(unprepared(), 1)
    assert again == list(subjects()) and other != again
    for each in again[::7]:
        assert one_of_each(each, random.Random(0))[0].family == draw(each, 4, random.Random(0))[0].family == "program"
        assert draw(each, 5, random.Random(9)) == draw(each, 5, random.Random(9))
        assert "regime" not in dict(families_of(each))


def test_a_flowchart_with_a_history_is_not_renamed() -> None:
    chart = sample_flowchart(2)
    config = TargetConfig(6, 1, 1, 2, 3, 7, 8, 6)
    labels = LabelIds(*(torch.arange(size)[:, None] for size in (8, 7, 6)))
    told = replace(subject_of_program(chart, 0), labels={"history": {"seed": "", "options": {}}})
    example = Example("x", fold(config, random_weights(config, 0)), labels, labels, told)
    assert relabel(example, random.Random(0)) is example
    plain = replace(example, subject=replace(told, labels={}))
    assert relabel(plain, random.Random(0)) is not plain
