"""Questions to chat models: the evaluation's own, nothing given away, answers taken where they stand; under Inspect."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.bases import ASSETS
from oracle.chat.exam import Examinee, families_of_oracle, load_examinees, questions_of
from oracle.chat.pairs import input_tokens, random_pairs
from oracle.chat.primer import FLOWCHART_EXAMPLE, FLOWCHARTS, FORMS, PRIMER, RASP, RASP_EXAMPLE
from oracle.chat.prompts import Sight, prompts
from oracle.chat.replies import answer_in
from oracle.evaluation.bench import Bench, Said, bench_of, graded
from oracle.evaluation.rows import ANSWERS, Row, read_rows
from oracle.facts import Question
from oracle.loading import load_examples
from oracle.oracle import CONFIG_FILE, WeightOracle, read_facts
from oracle.questions import FAMILIES, FIRST_FAMILIES, OPERATIONS
from tests.oracle.targets import random_encoder, tiny_reader
from tracr_tasks.arguments import READERS
from tracr_tasks.errors import InputError, OracleError
from tracr_tasks.text import parse_program
from tracr_tasks.trace import INPUTS
from zoo.build import build_zoo
from zoo.conditions import At, AtLeast, Before, Contains, Equals, FirstIn, LastIn
from zoo.flowchart_parser import parse_tree
from zoo.spec import named_spec
from zoo.store import Zoo
from zoo.tree import Question as Node

SPLIT = "test"
SEED = 3
EVERY = tuple(FAMILIES)
MODES = ("black_box", "source", "question")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=4, trained=5, untrained=2, splits=(SPLIT,))
    return build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)


@pytest.fixture(scope="module")
def told(zoo: Zoo) -> Zoo:
    """The same targets with labels about which questions are evened out."""
    rng = random.Random(0)
    labels = [{"history": {"seed": ""}, "accuracy": rng.choice([1.0, 0.97, 0.9, 0.5])} for _ in zoo]
    rows = [replace(row, labels=row.labels | more) for row, more in zip(zoo, labels, strict=True)]
    return Zoo(zoo.directory, zoo.families, rows)


@pytest.fixture(scope="module")
def examinees(zoo: Zoo) -> list[Examinee]:
    """Of all splits: those without a program are not in the one of the others."""
    splits = sorted({row.split for row in zoo})
    return [each for split in splits for each in load_examinees(zoo, split=split, limit=200, seed=SEED)]


@pytest.fixture(scope="module")
def oracle() -> WeightOracle:
    encoder, _ = random_encoder(torch.float32)
    return WeightOracle(encoder, tiny_reader(["What does this model compute?"]), {})


def bench(oracle: WeightOracle, zoo: Zoo, limit: int, seed: int, n: int, families: Sequence[str]) -> Bench:
    """What an evaluation of an oracle that has learned these families asks."""
    oracle = WeightOracle(oracle.encoder, oracle.reader, {"families": list(families)})
    return bench_of(oracle, load_examples(zoo, oracle.reader, split=SPLIT, limit=limit, seed=seed), zoo, n, seed)


@settings(max_examples=6)
@given(
    st.booleans(), st.integers(1, 12), st.integers(0, 99), st.integers(1, 9), st.sampled_from([EVERY, FIRST_FAMILIES])
)
def test_targets_and_questions_are_those_of_the_evaluation(
    zoo: Zoo, told: Zoo, oracle: WeightOracle, history: bool, limit: int, seed: int, n: int, families: tuple[str, ...]
) -> None:
    where = told if history else zoo
    expected = bench(oracle, where, limit, seed, n, families)
    found = load_examinees(where, split=SPLIT, limit=limit, seed=seed)
    assert [(each.row.id, each.subject) for each in found] == [(e.id, e.subject) for e in expected.examples]
    asked = [(each.row.id, q) for each in found for q in questions_of(each, n, seed, families)]
    theirs = [(expected.examples[a.index].id, a.question) for a in expected.asked]
    assert sorted(asked, key=repr) == sorted(theirs, key=repr)


def test_families_are_those_of_the_oracle_that_is_named(tmp_path: Path) -> None:
    assert families_of_oracle() == WeightOracle.from_pretrained().families
    facts = read_facts(ASSETS / "oracle")
    (tmp_path / CONFIG_FILE).write_text(json.dumps(facts | {"families": ["program", "rule"]}))
    assert families_of_oracle(tmp_path) == ("program", "rule")
    (tmp_path / CONFIG_FILE).write_text(json.dumps(facts | {"families": ["program", "weather"]}))
    with pytest.raises(OracleError, match="weather"):
        families_of_oracle(tmp_path)


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, 24), st.integers(0, 99))
def test_pairs_are_different_random_inputs_with_the_targets_own_answers(
    zoo: Zoo, examinees: list[Examinee], which: int, n: int, seed: int
) -> None:
    examinee = examinees[which % len(examinees)]
    pairs = random_pairs(examinee, n, seed)
    assert len({names for names, _ in pairs}) == len(pairs) == n
    # In the gauge that the truths are of; numbers lose some places in it, names of outputs do not.
    targets = [examinee.target, zoo.target(examinee.row.id)]
    for target in targets if examinee.target.config.output == "categorical" else targets[:1]:
        assert [list(answer) for _, answer in pairs] == target.answers(target.encode([names for names, _ in pairs]))
    assert random_pairs(examinee, n, seed) == pairs
    assert n < 8 or random_pairs(examinee, n, seed + 1) != pairs


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, 24), st.integers(0, 30))
def test_a_black_box_never_shows_the_input_that_is_asked_about(
    examinees: list[Examinee], which: int, n: int, place: int
) -> None:
    examinee = examinees[which % len(examinees)]
    names, _ = random_pairs(examinee, n + 1, SEED)[place % (n + 1)]
    asked = Question("output", f"What is the output on {' '.join(names)}?", "", " ".join(names))
    other = Question("mentions", "Does it depend on a?", "yes", "a")
    output, mentions = prompts(examinee, [asked, other], Sight("black_box", n, SEED))
    assert output.count(" -> ") == mentions.count(" -> ") == n
    assert f"\n{asked.detail} -> " not in output
    assert (f"\n{asked.detail} -> " in mentions) == (place % (n + 1) < n)


def test_where_there_are_few_inputs_a_black_box_shows_all_others(examinees: list[Examinee]) -> None:
    examinee = next(each for each in examinees if each.subject.kind == "flowchart")
    n_inputs = len(input_tokens(examinee.target)) ** examinee.row.max_seq_len
    (asked,) = [q for q in questions_of(examinee, 9, SEED, EVERY) if q.family == "output"]
    (prompt,) = prompts(examinee, [asked], Sight("black_box", 2 * n_inputs, SEED))
    assert prompt.count(" -> ") == n_inputs - 1 and asked.detail in prompt.rpartition("\n")[2]


def test_each_mode_shows_what_it_says_and_the_question_last(examinees: list[Examinee]) -> None:
    for examinee in examinees:
        questions = questions_of(examinee, 9, SEED, EVERY)
        by_mode = {mode: prompts(examinee, questions, Sight(mode, 5, SEED)) for mode in MODES}
        for question, pairs, source, alone in zip(questions, *by_mode.values(), strict=True):
            assert all(prompt.endswith(f"\nQuestion: {question.text}") for prompt in (pairs, source, alone))
            text = examinee.subject.text or "no program"
            assert f"\n{text}\n" in source and f"\n{text}\n" not in pairs
            assert " -> " in pairs and " -> " not in source
            # The form of the answer and the question; whose they are makes no difference.
            assert prompts(examinees[0], [question], Sight("question")) == [alone]


def test_an_untrained_target_as_a_black_box_looks_like_any_other(examinees: list[Examinee]) -> None:
    kinds = {kind: next(e for e in examinees if e.subject.kind == kind) for kind in ("flowchart", "none")}
    question = Question("program", "Which program is this?", "")
    lines = {kind: prompts(e, [question], Sight("black_box", 4))[0].splitlines() for kind, e in kinds.items()}
    alike = [[line.split(" -> ")[0].count(" ") for line in each if " -> " in line] for each in lines.values()]
    assert alike[0] == alike[1] == [3] * 4
    assert [line for line in lines["none"] if " -> " not in line] == [
        line for line in lines["flowchart"] if " -> " not in line
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "weights"}, "mode = 'weights', expected black_box, source, question"),
        ({"mode": "black_box", "n_pairs": 0}, "n_pairs = 0, expected a whole number from 1"),
        ({"mode": "black_box", "n_pairs": 10**6}, "n_pairs = 1000000, expected at most 10000"),
    ],
)
def test_what_cannot_be_shown_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sight(**options)


def test_targets_that_cannot_be_examined_are_refused(zoo: Zoo, examinees: list[Examinee]) -> None:
    with pytest.raises(InputError, match=f"no targets in the split 'elsewhere', expected .*{SPLIT}"):
        load_examinees(zoo, split="elsewhere", limit=5)
    with pytest.raises(InputError, match="limit = 0, expected a whole number from 1"):
        load_examinees(zoo, split=SPLIT, limit=0)
    with pytest.raises(InputError, match="questions_per_target = 0, expected a whole number from 1"):
        questions_of(examinees[0], 0, SEED, EVERY)


def test_the_primer_teaches_all_of_both_languages() -> None:
    lines = [line.strip().split("   ")[0] for line in FLOWCHARTS.splitlines() if line.startswith("    ")]
    shown = [parse_tree(f"if {line} then p else q") for line in lines[1:-1]]
    kinds = {type(tree.condition) for tree in shown if isinstance(tree, Node)}
    assert kinds == {At, AtLeast, Before, Contains, Equals, FirstIn, LastIn}
    assert isinstance(parse_tree(FLOWCHART_EXAMPLE), Node) and FLOWCHART_EXAMPLE in PRIMER
    for word in (*READERS, *OPERATIONS, *INPUTS):
        assert f"    {word}" in RASP or f", {word}(" in RASP
    program = parse_program(RASP_EXAMPLE, vocab=(0, 1, 2), max_seq_len=4)
    assert program.run([0, 1, 0, 2]) == [3, 2, 3, 2] and RASP_EXAMPLE.replace("\n", "\n    ") in PRIMER


def test_every_truth_has_the_form_that_was_told(told: Zoo, zoo: Zoo) -> None:
    assert set(FORMS) == set(FAMILIES)
    seen = set()
    for each in (*load_examinees(told, split=SPLIT, limit=99), *load_examinees(zoo, split=SPLIT, limit=99)):
        for question in questions_of(each, 99, SEED, EVERY):
            choices = FORMS[question.family].choices
            seen.add(question.family)
            assert not choices or question.truth in choices
            assert answer_in(question.truth, choices) == question.truth
    assert seen >= {"program", "output", "uses", "mentions", "trigger", "regime", "history", "accuracy"}


WORD = st.text("abcpq019()=<", min_size=1, max_size=8)
ANSWER = st.lists(st.lists(WORD, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=4).map("\n".join)
WRAPPERS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: f"\n  {text}\n\n",
    lambda text: f"```\n{text}\n```",
    lambda text: f"Here it is.\n```python\n{text}\n```\nI hope that this helps.",
    lambda text: f"First guess:\n```\nnot this\n```\nANSWER:\n```text\n{text}\n```",
    lambda text: f"It has pos 1 is c.\nANSWER: {text}",
    lambda text: f"ANSWER: no\nOr rather:\n**Answer:** {text}\n",
    lambda text: f"So:\n**ANSWER: {text}**",
    lambda text: f"ANSWER: `{text}`",
    lambda text: f"```\nANSWER: {text}\n```",
)


@given(ANSWER, st.sampled_from(WRAPPERS))
def test_an_answer_is_taken_out_of_what_is_wrapped_around_it(answer: str, wrap: Callable[[str], str]) -> None:
    assert answer_in(wrap(answer)) == answer


@given(ANSWER, ANSWER)
def test_nothing_is_searched_for_in_prose(before: str, answer: str) -> None:
    said = f"{before}\nThe answer: {answer}\nThat is all."
    assert answer_in(said) == answer_in(f"ANSWER: {said}") == said


def test_case_and_full_stop_matter_but_for_fixed_answers() -> None:
    assert answer_in("ANSWER: Yes.", ("yes", "no")) == "yes"
    assert answer_in("ANSWER: Yes.") == "Yes."
    assert answer_in("ANSWER: yes, since a occurs", ("yes", "no")) == "yes, since a occurs"
    assert answer_in("", ("yes", "no")) == ""


# What follows needs Inspect.

Reply = Callable[[Any], str]
FENCED = "I looked at it.\n```\n{}\n```\n"


@pytest.fixture
def inspect_ai(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Inspect, what it changes in the process being put back at the end."""
    module = pytest.importorskip("inspect_ai")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.getLogger(), "handlers", list(logging.getLogger().handlers))
    return module


def ran(task: Any, reply: Reply, logs: Path, **options: Any) -> Any:
    """The log of a task that is answered by a function of its samples."""
    import inspect_ai
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    replies = {sample.input[-1].content: reply(sample) for sample in task.dataset}
    assert len(replies) == len(task.dataset)  # prompts that are equal could not be told apart

    def said(messages: list[Any], *_: Any) -> Any:
        output = ModelOutput.from_content("mockllm", replies[messages[-1].text])
        output.usage = ModelUsage()  # else it fetches a tokenizer to count
        return output

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries deprecate each other, and it leaves streams open
        model = get_model("mockllm/model", custom_outputs=said)
        (log,) = inspect_ai.eval(task, model=model, log_dir=str(logs), display="none", **options)
        gc.collect()
    return log


def questions_task(zoo: Zoo, **options: Any) -> Any:
    from oracle.inspect_task import weight_oracle_questions

    return weight_oracle_questions(str(zoo.directory), **{"mode": "source", "seed": SEED, **options})


def test_right_answers_score_1_fenced_ones_too_and_wrong_ones_0(zoo: Zoo, tmp_path: Path, inspect_ai: Any) -> None:
    forms = (str, FENCED.format, "ANSWER: {}".format, "not {}".format)
    task = questions_task(zoo, mode="black_box", n_pairs=5, questions_per_target=9)
    place = {sample.id: i for i, sample in enumerate(task.dataset)}
    log = ran(task, lambda sample: forms[place[sample.id] % 4](sample.target), tmp_path)
    assert log.status == "success" and len(log.samples) == len(place) > 30
    values = {sample.id: sample.scores["graded"].value for sample in log.samples}
    assert values == {id: "I" if i % 4 == 3 else "C" for id, i in place.items()}
    for sample in log.samples:
        score, is_right = sample.scores["graded"], values[sample.id] == "C"
        assert score.metadata == {
            "family": sample.metadata["family"],
            "kind": zoo.row(sample.metadata["target"]).kind,
            "exact": is_right,
            "agreement": float(is_right),
            "parsed": is_right or sample.metadata["family"] not in ("program", "trigger"),
        }
    assert all(sample.input[0].content == PRIMER for sample in task.dataset)
    (found,) = log.results.scores
    by_target: dict[str, list[float]] = {}
    for sample in log.samples:
        by_target.setdefault(sample.metadata["target"], []).append(float(values[sample.id] == "C"))
    mean = np.mean([value for each in by_target.values() for value in each])
    sums, k = [sum(value - mean for value in each) for each in by_target.values()], len(by_target)
    assert found.metrics["accuracy"].value == pytest.approx(mean)
    expected = np.sqrt(np.square(sums).sum() * k / (k - 1)) / len(place)  # Miller 2024, appendix A, for finite clusters
    assert found.metrics["stderr"].value == pytest.approx(expected)


def test_rows_are_those_that_the_evaluation_would_write(
    zoo: Zoo, oracle: WeightOracle, tmp_path: Path, inspect_ai: Any
) -> None:
    from oracle.chat.export import export

    said = {"program": "if has a then p else q", "output": "p", "trigger": "a b c d", "regime": "Trained."}
    logs = tmp_path / "logs"
    log = ran(questions_task(zoo, limit=8), lambda sample: said.get(sample.metadata["family"], "yes"), logs)
    condition = "inspect/mockllm/model/source/0"
    asked = bench(oracle, zoo, 8, SEED, 4, families_of_oracle())
    expected = {
        (row.target, row.family): row
        for each in asked.asked
        for row in [graded(asked, each, Said(said.get(each.question.family, "yes").lower().strip(".")), condition)]
    }
    rows = read_rows(export([Path(log.location)], tmp_path / "out"))
    assert {(row.target, row.family): row for row in rows} == expected and len(rows) == len(expected)
    assert {row.correct for row in rows} == {True, False}


def test_logs_join_the_rows_that_are_there(zoo: Zoo, tmp_path: Path, inspect_ai: Any) -> None:
    from oracle.chat.export import export

    wrong, right = (
        Path(ran(questions_task(zoo, limit=3), reply, tmp_path / name).location)
        for name, reply in (("a", lambda sample: ""), ("b", lambda sample: sample.target))
    )
    pairs = Path(ran(questions_task(zoo, mode="black_box", limit=3), lambda sample: "", tmp_path / "c").location)
    out = tmp_path / "out"

    def shares() -> dict[str, float]:
        rows: list[Row] = read_rows(out / ANSWERS)
        of = {c: [row.correct for row in rows if row.condition == c] for c in {row.condition for row in rows}}
        return {condition: float(np.mean(values)) for condition, values in of.items()}

    assert export([wrong, pairs], out) == out / ANSWERS
    assert shares() == {"inspect/mockllm/model/source/0": 0, "inspect/mockllm/model/black_box/16": 0}
    before = len(read_rows(out / ANSWERS))
    export([right], out)
    assert shares() == {"inspect/mockllm/model/source/0": 1, "inspect/mockllm/model/black_box/16": 0}
    assert len(read_rows(out / ANSWERS)) == before
    with pytest.raises(InputError, match="a second log of 'inspect/mockllm/model/source/0'"):
        export([wrong, right], out)


def test_logs_of_something_else_are_refused(zoo: Zoo, tmp_path: Path, inspect_ai: Any) -> None:
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageUser

    from oracle.chat.export import rows_of

    (tmp_path / "damaged.eval").write_bytes(b"PK but no log")
    with pytest.raises(InputError, match="expected a log of Inspect, got "):
        rows_of(tmp_path / "damaged.eval")
    with pytest.raises(InputError, match="no such file, expected a log of Inspect"):
        rows_of(tmp_path / "none.eval")
    other = inspect_ai.Task([Sample([ChatMessageUser(content="What is 1 + 1?")])], name="sums")
    log = ran(other, lambda sample: "2", tmp_path / "a")
    with pytest.raises(InputError, match="a log of the task 'sums', expected weight_oracle_questions"):
        rows_of(Path(log.location))
    twice = ran(questions_task(zoo, limit=1), lambda sample: "", tmp_path / "b", epochs=2)
    with pytest.raises(InputError, match="more than one epoch"):
        rows_of(Path(twice.location))
    ungraded = ran(questions_task(zoo, limit=1), lambda sample: "", tmp_path / "c", score=False)
    with pytest.raises(InputError, match="4 of 4 answers were not graded"):
        rows_of(Path(ungraded.location))


def test_answers_about_another_zoo_are_not_graded(zoo: Zoo, inspect_ai: Any) -> None:
    task = questions_task(zoo, limit=1)
    (sample, *_) = task.dataset
    state = SimpleNamespace(metadata=sample.metadata | {"sha256": "0" * 64}, output=SimpleNamespace(completion=""))
    with pytest.raises(InputError, match="has other weights, expected the zoo that was asked about"):
        task.scorer[0](state, SimpleNamespace(text=sample.target)).send(None)


COMMAND = """
import tiktoken
from types import SimpleNamespace
tiktoken.get_encoding = lambda name: SimpleNamespace(encode=lambda text, **_: text.split())
from inspect_ai._cli.main import main
main()
"""
"""`inspect`, but that the model's tokens are counted without a tokenizer that would have to be fetched."""


def test_the_command_line_of_inspect_finds_the_task(zoo: Zoo, tmp_path: Path, inspect_ai: Any) -> None:
    from oracle.chat.export import rows_of

    # What pip makes of pyproject.toml; the installation that is tested may be older than that file.
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = tmp_path / "path" / "weight_oracle-0.1.0.dist-info"
    facts.mkdir(parents=True)
    points = project["entry-points"]["inspect_ai"].items()
    assert "oracle" in dict(points)  # the name by which Inspect looks for what stands before the slash
    (facts / "entry_points.txt").write_text("[inspect_ai]\n" + "".join(f"{name} = {to}\n" for name, to in points))
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: weight-oracle\nVersion: 0.1.0\n")
    paths = [str(facts.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    what = ["eval", "oracle/weight_oracle_questions", "--model", "mockllm/model", "--display", "plain"]
    options = ["-T", f"zoo={zoo.directory}", "-T", "n_pairs=3", "-T", "limit=2", "--log-dir", str(tmp_path / "logs")]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *what, *options],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (tmp_path / "logs").iterdir()
    rows = rows_of(log)
    assert {row.condition for row in rows} == {"inspect/mockllm/model/black_box/3"}
    assert len({row.target for row in rows}) == 2 and {row.answer for row in rows} == {
        "Default output from mockllm/model"
    }
