"""What a reader may try with its draft: the interpreter judges what comes out, the grader what is found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle.cli_ask import as_json
from oracle.config import PLAIN
from oracle.console import SLIPPED, say_answer
from oracle.decoder import CODEC, Written
from oracle.facts import Question, Subject
from oracle.grade import grade
from oracle.neutral import fold
from oracle.oracle import WeightOracle
from oracle.phrasings import NO_PROGRAM
from oracle.questions import ask, families_of
from oracle.reader import Generated, Prefix
from oracle.rules import false_claims, rules
from oracle.steps import ALL, NOTHING, Step, drafts_shown, step_losses
from oracle.subjects import Example, example_of, subject_of_program
from oracle.train import train
from oracle.trials import (
    NOTHING as NO_RESULT,
)
from oracle.trials import (
    SAME,
    Draft,
    Trial,
    draft_of,
    meant,
    plainest_first,
    requested,
    result_of,
    said_about,
    slipped,
    to_say,
    to_try,
    told,
)
from tests.oracle.test_drafts import config, decoder  # noqa: F401
from tracr_tasks import format_value
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import InputError, WeightOracleError
from tracr_tasks.sampler import sample_compiled, sample_program
from tracr_tasks.simplest import simplest
from tracr_tasks.text import parse_program
from zoo.compiled import target_of
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart

pytestmark = pytest.mark.usefixtures("short_answers")

PROGRAMS = st.integers(0, 10_000).flatmap(
    lambda seed: st.sampled_from([sample_flowchart, sample_program]).map(lambda make: make(seed))
)


def drafted(program: Any) -> Draft:
    return Draft(program.text(), 0.0, True, program)


def question(subject: Subject, family: str, seed: int) -> Question:
    return ask(subject, family, random.Random(seed))


@settings(max_examples=25)
@given(program=PROGRAMS, seed=st.integers(0, 1_000))
def test_trying_the_true_program_gives_the_true_answer(program: Any, seed: int) -> None:
    subject = subject_of_program(program, seed)
    for family, _ in families_of(subject):
        asked = question(subject, family, seed)
        if (trial := to_try(asked)) is None:
            assert family in ("program", "first", "mentions", "uses", "regime")
            assert said_about(asked, subject, drafted(program)) == [("", asked.truth)]
            continue
        assert requested(trial.text) == trial
        result = result_of(trial, drafted(program))
        assert grade(asked, result, subject).correct, (asked, result)
        said = said_about(asked, subject, drafted(program))
        assert said == [("", trial.text), (told(trial, result), SAME if result != NO_RESULT else asked.truth)]
        assert said_about(asked, subject, None) == [("", asked.truth), (told(trial, NO_RESULT), asked.truth)]


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_what_is_run_is_what_the_interpreter_runs(seed: int) -> None:
    program = sample_program(seed)
    names = random.Random(seed).choices(program.vocab, k=program.max_seq_len)
    result = result_of(Trial("run", " ".join(map(format_value, names))), drafted(program))
    assert result == " ".join(format_value(value) for value in program.run(list(names)))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_what_is_found_is_the_plainest_input_of_all(seed: int) -> None:
    chart = sample_flowchart(seed)
    assume(len(chart.vocab) ** chart.max_seq_len < 50_000)
    outputs = {names: chart.run(names)[0] for names in product(chart.vocab, repeat=chart.max_seq_len)}
    for answer in chart.answers:
        hits = [names for names, out in outputs.items() if out == answer]
        expected = " ".join(min(hits, key=lambda x: (len(set(x)), x))) if hits else NO_RESULT
        assert result_of(Trial("find", answer), drafted(chart)) == expected


def test_a_rare_answer_is_found_among_more_inputs_than_are_looked_through() -> None:
    vocab = tuple("abcdefgh")
    text = "q"
    for position, token in ((5, "d"), (4, "e"), (3, "f"), (2, "g"), (1, "h")):
        text = f"if pos {position} is {token} then {text} else p"
    chart = parse_flowchart(text, vocab, ("p", "q"), 8)
    found = result_of(Trial("find", "q"), drafted(chart))
    assert found.split()[:5] == ["h", "g", "f", "e", "d"] and chart.run(found.split()) == ["q"]


@settings(max_examples=20)
@given(order=st.permutations(range(4)), length=st.integers(1, 4))
def test_plain_inputs_come_first_and_then_the_order_of_names(order: list[int], length: int) -> None:
    ids = plainest_first(tuple(order), length)
    assert sorted(map(tuple, ids.tolist())) == sorted(product(range(4), repeat=length))
    keys = [(len(set(row)), tuple(order.index(i) for i in row)) for row in ids.tolist()]
    assert keys == sorted(keys)


@pytest.mark.parametrize("said", ["find", "run", "where", "inside", "p q", "runs a b", "", "a run"])
def test_other_words_ask_for_no_trial(said: str) -> None:
    assert requested(said) is None


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), other=st.integers(0, 10_000))
def test_what_is_checked_is_true_of_every_input(seed: int, other: int) -> None:
    chart, subject = sample_flowchart(seed), subject_of_program(sample_flowchart(other), other)
    assume(len(chart.vocab) ** chart.max_seq_len < 50_000 and chart.vocab == subject.program.vocab)
    rng = random.Random(seed)
    for claim in [*rules(subject), *false_claims(subject, rng)]:
        result = result_of(Trial("check", claim.text()), drafted(chart))
        if claim.answer not in chart.answers:
            assert result == NO_RESULT
            continue
        meant = [
            row for row in product(chart.vocab, repeat=chart.max_seq_len) if claim.condition.holds(row) != claim.negated
        ]
        assert result == ("yes" if all(chart.run(row) == [claim.answer] for row in meant) else "no")


@pytest.mark.parametrize(
    "claim",
    ["p", "p if", "p when has a", "p if has é", "z if has a", "p if pos 99 is a", "p if has a then p else q", ""],
)
def test_what_is_no_claim_about_a_flowchart_cannot_be_checked(claim: str) -> None:
    chart = parse_flowchart("if pos 1 is a then p else q", ("a", "b"), ("p", "q"), 3)
    assert result_of(Trial("check", claim), drafted(chart)) == NO_RESULT
    assert result_of(Trial("check", "p if pos 1 is a"), drafted(chart)) == "yes"
    assert result_of(Trial("check", "q unless has a"), drafted(chart)) == "yes"
    assert result_of(Trial("check", "p if has a"), drafted(chart)) == "no"


TOO_MUCH = (
    "run a",
    "run a b c d e f g h",
    "run a b c d e é",
    "find z",
    "where map",
    "inside heads of layer 0",
    "check p if",
)


@pytest.mark.parametrize("said", TOO_MUCH)
def test_what_cannot_be_tried_with_a_flowchart_gives_nothing(said: str) -> None:
    trial = requested(said)
    assert trial is not None
    for draft in (
        drafted(parse_flowchart("if has c then p else q", tuple("abcdef"), ("p", "q"), 6)),
        None,
        Draft("", 0.0),
    ):
        assert result_of(trial, draft) == NO_RESULT


NOWHERE = (
    "where nonsense",
    "inside heads",
    "inside heads of layer 99",
    "inside tails of layer 0",
    "inside heads of layer x",
)


@pytest.mark.parametrize("said", ["find p", "run 9", "run 0 0 0 0 0 0", *NOWHERE])
def test_what_cannot_be_tried_with_a_program_gives_nothing(said: str) -> None:
    trial = requested(said)
    assert trial is not None and result_of(trial, drafted(sample_program(3))) == NO_RESULT


def test_a_draft_that_cannot_be_compiled_stands_nowhere() -> None:
    program = parse_program("out = map(x / 0, tokens)", (0, 1), 3)
    with pytest.raises(WeightOracleError):
        compile_program(program)
    for said in ("where map", "run 0 1"):
        trial = requested(said)
        assert trial is not None and result_of(trial, drafted(program)) == NO_RESULT


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_a_draft_is_parsed_with_the_labels_of_its_target(seed: int) -> None:
    target = target_of(sample_compiled(seed))
    neutral, pieces = (
        fold(target.config, target.weights),
        CODEC.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output),
    )
    program = sample_compiled(seed).program
    draft = draft_of(Written(program.text(), -1.0), neutral, pieces)
    assert draft.text == simplest(program).text()
    assert draft.program is not None and draft.program == simplest(program) and draft.log_prob == -1.0
    ids, lengths = np.zeros((1, program.max_seq_len), dtype=np.int64), np.array([program.max_seq_len])
    assert list(draft.program.run_batch(ids, lengths)[0]) == list(program.run_batch(ids, lengths)[0])
    for text in ("out = ", NO_PROGRAM, "if has zz then p else q", ""):
        assert draft_of(Written(text, -1.0), neutral, pieces).program is None


@pytest.fixture(scope="module")
def trying(config: Any, short_answers: None) -> WeightOracle:  # noqa: F811
    """An oracle that has learned to try its drafts, a little."""
    return train(config)


def example(oracle: WeightOracle, seed: int) -> Example:
    compiled = sample_compiled(seed)
    return example_of(str(seed), target_of(compiled), compiled.program, "compiled", oracle.reader, seed)


def test_in_training_a_share_of_compiled_targets_has_its_program_as_the_draft(trying: WeightOracle) -> None:
    examples = (example(trying, 1), example(trying, 2))
    asked = tuple(question(e.subject, "output", 0) for e in examples)
    step = Step(examples, (0, 1), asked, (ALL._replace(found=True), ALL))
    found, other = drafts_shown(trying, step)
    assert found == Draft(examples[0].subject.text, 0.0, True) and found.program is examples[0].subject.program
    assert other == trying.drafts(examples[1:], PLAIN)[0]
    said = step.turns(trying, [found, None])
    assert [each.question for each in said] == [0, 0, 1, 1]
    assert said[0].answer == f"run {asked[0].detail}" and said[1].answer == SAME
    assert said[1].prompt == said[0].prompt + f" run {asked[0].detail}\nDraft: {asked[0].truth}\nAnswer:"
    assert said[3].prompt.endswith("\nDraft: nothing\nAnswer:")
    assert said[2].answer == said[3].answer == asked[1].truth


def test_the_loss_of_a_question_is_that_of_all_that_is_said(trying: WeightOracle) -> None:
    examples = (example(trying, 1), example(trying, 2))
    asked = tuple(question(e.subject, family, 0) for e in examples for family in ("output", "uses"))
    for seen in (ALL, NOTHING):
        step = Step(examples, (0, 0, 1, 1), asked, (seen, seen))
        with torch.no_grad():
            together = step_losses(trying, step)
            drafts = drafts_shown(trying, step) if seen is ALL else [None, None]
            tokens = trying.encode(examples) * float(seen is ALL)
            prefix = trying.reader.read(tokens, ["" if d is None else d.text for d in drafts])
            for i, q in enumerate(asked):
                losses, n = 0.0, 0
                for each in (each for each in step.turns(trying, drafts) if each.question == i):
                    texts = trying.reader.texts([each.prompt], [each.answer])
                    losses += float(trying.reader.answer_loss(texts, prefix.rows([i // 2], [seen is ALL])).sum())
                    n += int((texts.labels >= 0).sum())
                assert float(together[i]) == pytest.approx(losses / n, rel=1e-3), q


def saying(*texts: Sequence[str]) -> Any:
    """A reader's `generate` that says these texts, one list a call, and what it was given."""
    left, given = list(texts), list[tuple[list[str], int | None]]()

    def generate(prompts: Sequence[str], prefix: Prefix | None, max_tokens: int | None = None) -> Generated:
        given.append((list(prompts), None if prefix is None else len(prefix)))
        said = left.pop(0)
        return Generated(tuple(said), tuple((-0.5, -0.25) for _ in said))

    return generate, given


def test_what_is_tried_is_told_and_answered(trying: WeightOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(sample_compiled(4))
    opened = trying.open(target)
    draft = drafted(sample_compiled(4).program)
    generate, given = saying(["yes", "run 1 1", "where map"], [SAME, "8"])
    monkeypatch.setattr(trying.reader, "generate", generate)
    rows = opened.prefix.rows([0, 0, 0])
    plain, ran, where = trying.answer(["A?", "B?", "C?"], rows, evidence=[replace(opened.evidence, draft=draft)] * 3)
    result = result_of(Trial("run", "1 1"), draft)
    assert (plain.text, plain.trial, plain.result) == ("yes", None, "")
    assert (ran.text, ran.trial, ran.result) == (result, Trial("run", "1 1"), result)
    assert ran.log_probs == (-0.5, -0.25, -0.5, -0.25) and plain.log_probs == (-0.5, -0.25)
    assert (where.text, where.result) == ("8", result_of(Trial("where", "map"), draft))
    assert given[0][1] == 3 and given[1][1] == 2
    assert given[1][0][0] == trying.reader.prompt("B?") + f" run 1 1\nDraft: {result}\nAnswer:"


def test_the_draft_stands_where_a_program_was_meant_and_is_none(
    trying: WeightOracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = trying.open(target_of(sample_compiled(4)))
    draft = drafted(sample_compiled(4).program)
    assert draft.text != "out = tokens"
    said = [
        "v1 = map(x, aggregate(\nout = v1",
        "out = tokens",
        "no program",
        "if has a then p else q",
        draft.text,
        "yes",
    ]
    generate, _ = saying(said, said)
    monkeypatch.setattr(trying.reader, "generate", generate)
    asked = ["?"] * len(said)
    found = trying.answer(
        asked, opened.prefix.rows([0] * len(said)), evidence=[replace(opened.evidence, draft=draft)] * len(said)
    )
    assert [a.slip for a in found] == [*said[:4], "", ""]
    assert [a.text for a in found] == [draft.text] * 5 + ["yes"]
    alone = trying.answer(asked, None)
    assert [a.text for a in alone] == said and not any(a.slip for a in alone)


@pytest.mark.parametrize(
    ("log_prob", "certified", "stands"), [(-2.0, False, True), (-4.2, False, False), (-9.0, True, True)]
)
def test_no_program_is_said_of_weights_whose_draft_is_unlikely(log_prob: float, certified: bool, stands: bool) -> None:
    program = sample_compiled(4).program
    assert slipped("no program", Draft(program.text(), log_prob, certified, program)) is stands
    assert not slipped("no program", Draft("no program", -0.1)) and not slipped("no program", None)


def test_what_stands_in_place_of_a_slip_is_the_draft(trying: WeightOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, draft = trying.open(target_of(sample_compiled(4))), drafted(sample_compiled(4).program)
    generate, _ = saying(["v1 = map(x, aggregate("])
    monkeypatch.setattr(trying.reader, "generate", generate)
    (answer,) = trying.answer(["?"], opened.prefix.rows([0]), evidence=[replace(opened.evidence, draft=draft)])
    assert answer.text == draft.text and as_json(answer)["slip"] == "v1 = map(x, aggregate("


def test_without_a_draft_nothing_comes_out(trying: WeightOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, given = saying(["run 1 1"], ["p"])
    monkeypatch.setattr(trying.reader, "generate", generate)
    (answer,) = trying.answer(["A?"], None)
    assert (answer.text, answer.result) == ("p", NO_RESULT) and given[1] == (
        [trying.reader.prompt("A?") + " run 1 1\nDraft: nothing\nAnswer:"],
        None,
    )


def test_a_reader_that_has_not_learned_it_tries_nothing(trying: WeightOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, given = saying(["run 1 1"])
    monkeypatch.setattr(trying.reader, "generate", generate)
    monkeypatch.setitem(trying.facts, "tries", False)
    (answer,) = trying.answer(["A?"], None)
    assert answer.text == "run 1 1" and answer.trial is None and len(given) == 1


def test_each_sample_has_a_trial_of_its_own(trying: WeightOracle, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, _ = saying(["yes", "no"])
    drawn = [[("run 1", "yes", "run 2"), ("no", "no", "run 3")], [("p",), (SAME,), ("r",)]]
    prompts = list[list[str]]()

    def sample(given: Sequence[str], prefix: Prefix | None, n: int, seed: int = 0) -> list[tuple[str, ...]]:
        prompts.append(list(given))
        return drawn[len(prompts) - 1]

    monkeypatch.setattr(trying.reader, "generate", generate)
    monkeypatch.setattr(trying.reader, "sample", sample)
    one, other = trying.answer(["A?", "B?"], None, samples=3)
    assert one.samples == ("p", "yes", NO_RESULT) and other.samples == ("no", "no", "r")
    assert [p.split("\n")[-2:] for p in prompts[1]] == [["Draft: nothing", "Answer:"]] * 3
    assert "run 3" in prompts[1][2] and "B?" in prompts[1][2]


def test_what_an_answer_rests_on_is_tried_with_the_draft_of_each(trying: WeightOracle) -> None:
    opened = trying.open(target_of(sample_compiled(4)))
    plain = opened.dissection.explain("What?", "7")
    tried = opened.dissection.explain("What?", "7", Trial("run", "1 1"))
    assert {p.name for p in plain.parts} == {p.name for p in tried.parts}
    assert [meant(to_say(each, "7"), "7") for each in ("7", "8")] == ["7", "8"] and to_say("7", "7") == SAME
    assert [p.rise for p in plain.parts] != [p.rise for p in tried.parts]


def test_the_command_line_says_what_was_tried(trying: WeightOracle) -> None:
    opened = trying.open(target_of(sample_compiled(4)))
    (answer,) = opened.ask("What does this model compute?")
    tried = replace(answer, trial=Trial("run", "1 1"), result="2 2", draft=Draft("x", 0.0, True))
    assert as_json(tried)["tried"] == ["run 1 1", "2 2"] and as_json(tried)["certified"] is True
    assert as_json(answer)["tried"] is None and as_json(answer)["certified"] is False


def test_the_terminal_says_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    say_answer("Q?", "2 2", 0.5, True, tried="run 1 1 -> 2 2")
    assert capsys.readouterr().out == "Q?\n  2 2\n  confidence 0.50\n  tried with its draft: run 1 1 -> 2 2\n"
    say_answer("Q?", "2 2", 0.5, True)
    assert "tried" not in (said := capsys.readouterr().out) and SLIPPED not in said
    say_answer("Q?", "out = tokens", 0.5, True, slipped=True)
    assert capsys.readouterr().out.endswith(f"  {SLIPPED}\n")


@pytest.mark.parametrize("budget", [-1, 10_001])
def test_no_search_of_less_than_nothing_or_without_end(trying: WeightOracle, budget: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 10000 programs"):
        trying.searching(budget)


def test_an_oracle_says_what_it_has_learned(trying: WeightOracle, config: Any, tmp_path: Path) -> None:  # noqa: F811
    assert trying.tries and trying.facts["search"] == config.search
    trying.save_pretrained(tmp_path)
    again = WeightOracle.from_pretrained(tmp_path)
    assert again.tries and again.drafter is not None and again.drafter.effort.search == config.search
    assert again.searching(3).drafter is not None and again.drafter.effort.search == 3
    assert again.searching(None).drafter is not None and again.drafter.effort.search == 3
