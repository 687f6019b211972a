"""The referee: every control is asked the same, fakes are caught, and what is finished is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from peft.tuners.lora import LoraLayer
from torch import Tensor

from oracle.config import EvalConfig
from oracle.evaluation import known as known_module
from oracle.evaluation import parts as parts_module
from oracle.evaluation.bench import Asked, Bench, Said, bench_of, donors, questions_about
from oracle.evaluation.compare import compared
from oracle.evaluation.conditions import FAMILIAR, FEW, GAUGE, NOTHING, OWN, SOURCE, SWAPPED, conditions_of
from oracle.evaluation.known import own_places, statistics_reader
from oracle.evaluation.localisation import as_compiled, cases_of, localisation
from oracle.evaluation.parts import answered
from oracle.evaluation.rows import read_rows, regraded
from oracle.evaluation.run import evaluate, examine
from oracle.evaluation.told import pair_contexts, pairs_of
from oracle.learned import FILE as FUNCTIONS
from oracle.learned import contamination_of
from oracle.loading import load_examples
from oracle.oracle import CONFIG_FILE, Answer, WeightOracle
from oracle.questions import FIRST_FAMILIES, OPERATIONS, Question
from oracle.reader import Prefix
from oracle.subjects import Example
from oracle.template import source_context
from oracle.truth import truth_about
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import InputError, OracleError
from tracr_tasks.wiring import owners
from zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("short_answers")

REPLACED = ("Gaussian tokens", "zero tokens", "entries shuffled", "architecture only", SWAPPED)


def config_of(zoo: Zoo, folder: Path, **more: Any) -> EvalConfig:
    options: dict[str, Any] = {"splits": ("train",), "limit": 8, "questions_per_target": 9, "processes": 1}
    return EvalConfig(zoo.directory, None, folder, **(options | {"pairs": (0, 4), "edits": 2} | more))


@pytest.fixture(scope="module")
def bench(zoo: Zoo, folder: Path) -> Bench:
    oracle = WeightOracle.from_pretrained(folder)
    examples = load_examples(zoo, oracle.reader, split="train", limit=12, seed=1)
    return bench_of(oracle, examples, zoo, 9, seed=1)


def test_every_control_is_asked_the_same_questions(zoo: Zoo, folder: Path, tmp_path: Path) -> None:
    config = config_of(zoo, folder, limit=10, out=tmp_path / "report")
    report = evaluate(config)
    asked = {c: {(r.target, r.question) for r in report.rows if r.condition == c} for c in report.conditions}
    assert set(asked) == set(conditions_of(config))
    everywhere = {*FEW, *REPLACED, GAUGE, FAMILIAR, "base, question only"}
    assert all(asked[c] == asked[OWN] for c in everywhere) and all(asked[c] <= asked[OWN] for c in asked)
    assert {"rule", "uses"} < {r.family for r in report.rows} <= set(WeightOracle.from_pretrained(folder).families)
    assert report.same_answer() is not None and report.same_answer().mean == 1  # type: ignore[union-attr]
    saved = json.loads((tmp_path / "report" / "results.json").read_text())
    assert set(saved["margins"]["rasp"]) == set(report.conditions) - {OWN}
    assert read_rows(tmp_path / "report" / "answers.parquet") == list(report.rows)
    tables = (tmp_path / "report" / "results.md").read_text()
    assert all(f"| {c} |" in tables for c in report.conditions)
    assert "<table" in (tmp_path / "report" / "report.html").read_text()
    assert {f.way for f in report.follows} >= {"recompiled"} and report.rises


def test_an_evaluation_that_was_stopped_goes_on(
    zoo: Zoo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(zoo, folder, controls="few", limit=6)
    whole = evaluate(config)
    stopped = replace(config, out=tmp_path / "report")
    real = parts_module.answered

    def until(bench: Bench, name: str, condition: Any) -> Any:
        if name == OWN:
            raise KeyboardInterrupt
        return real(bench, name, condition)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parts_module, "answered", until)
        evaluate(stopped)
    assert not (tmp_path / "report" / "results.json").exists()
    done = list[str]()

    def noted(bench: Bench, name: str, condition: Any) -> Any:
        done.append(name)
        return real(bench, name, condition)

    monkeypatch.setattr(parts_module, "answered", noted)
    report = evaluate(stopped)
    assert done == [OWN] and report.rows == whole.rows and report.losses == whole.losses
    assert evaluate(stopped).rows == whole.rows and done == [OWN]


def test_two_processes_write_the_report_of_one(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle.reader.MAX_ANSWER", 160)  # other processes have this
    config = config_of(zoo, folder, controls="few", limit=4, questions_per_target=2)
    one, two = evaluate(config), evaluate(replace(config, processes=2))
    assert one == two


def test_a_report_of_something_else_is_not_overwritten(zoo: Zoo, folder: Path, tmp_path: Path) -> None:
    config = config_of(zoo, folder, controls="few", limit=3, out=tmp_path / "report")
    evaluate(config)
    before = {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()}  # type: ignore[union-attr]
    with pytest.raises(InputError, match="with seed = 0, now it is 1; expected a new folder"):
        evaluate(replace(config, seed=1))
    other = shutil.copytree(folder, tmp_path / "other")
    facts = json.loads((other / CONFIG_FILE).read_text())
    (other / CONFIG_FILE).write_text(json.dumps(facts | {"version": "0"}))
    with pytest.raises(InputError, match="with oracle = "):
        evaluate(replace(config, oracle=other))
    with pytest.raises(InputError, match="is not empty and holds no report"):
        evaluate(replace(config, out=other))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        evaluate(replace(config, out=tmp_path / "file"))
    assert before == {path: path.read_bytes() for path in before}


def test_answers_are_graded_again_from_the_report_and_the_zoo(zoo: Zoo, bench: Bench) -> None:
    for row in examine(bench).rows:
        found = regraded(row, zoo)
        assert (found.parsed, found.exact, found.correct) == (row.parsed, row.exact, row.correct)
        assert found.agreement == pytest.approx(row.agreement)


def test_an_oracle_is_asked_what_it_has_learned_to_answer(folder: Path, zoo: Zoo, tmp_path: Path) -> None:
    older = shutil.copytree(folder, tmp_path / "older")
    facts = json.loads((older / CONFIG_FILE).read_text())
    assert set(FIRST_FAMILIES) < set(facts.pop("families"))
    (older / CONFIG_FILE).write_text(json.dumps(facts))
    report = evaluate(config_of(zoo, older, controls="few", limit=4))
    assert {r.family for r in report.rows} <= set(FIRST_FAMILIES)


def test_questions_depend_on_the_target_alone(bench: Bench) -> None:
    families = bench.oracle.families
    for example in bench.examples:
        few, many = (questions_about(example.subject, n, 1, families, example.id) for n in (3, 99))
        assert few[0] == many[0] and few[0].family == "program" and len({q.family for q in many}) == len(many)
        asked = [a.question for a in bench.asked if bench.examples[a.index] is example]
        assert {q.text for q in few} <= {q.text for q in many} and set(asked) <= set(many)


def test_some_regimes_alone_can_be_tested_on(folder: Path, zoo: Zoo) -> None:
    config = config_of(zoo, folder, controls="few", limit=8, questions_per_target=2, regimes=("trained",))
    assert {row.target.split("-")[0] for row in evaluate(config).rows} == {"trained"}
    with pytest.raises(
        InputError, match="no targets of seeded in the zoo's split 'train', which has compiled, trained"
    ):
        evaluate(replace(config, regimes=("seeded",)))


def test_what_the_controls_know_is_a_part_of_what_a_report_is_of(
    zoo: Zoo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(zoo, folder, controls="few", limit=2, questions_per_target=1, out=tmp_path / "report")
    evaluate(config)
    with pytest.raises(InputError, match="with references = None"):
        evaluate(replace(config, references=zoo.directory))
    with pytest.raises(InputError, match="with decoder = "):
        evaluate(replace(config, decoder=tmp_path))
    with pytest.raises(OracleError, match=r"no oracle_config\.json"):
        evaluate(replace(config, oracle=tmp_path))


def test_a_reference_of_the_same_name_in_another_zoo_is_another_target(bench: Bench) -> None:
    others = tuple(replace(example) for example in bench.examples)
    assert own_places(bench) == list(range(len(bench.examples)))
    assert own_places(replace(bench, references=others)) == [None] * len(others)


class Blind(WeightOracle):
    """A fake that is shown weights and answers from the question."""

    def answer(self, questions: Sequence[str], prefix: Prefix | None, *others: Any, **options: Any) -> list[Answer]:
        return super().answer(questions, None)


def test_a_reader_that_ignores_weights_scores_as_the_question_alone(bench: Bench) -> None:
    fake = replace(bench, oracle=Blind(**{k: getattr(bench.oracle, k) for k in ("encoder", "reader", "facts")}))
    report = examine(fake, {OWN: FEW[OWN], **{c: conditions_of(EvalConfig())[c] for c in (*REPLACED, NOTHING)}})
    for control in (*REPLACED, NOTHING):
        said = [[(r.question, r.answer) for r in report.rows if r.condition == c] for c in (OWN, control)]
        assert said[0] == said[1]
        assert report.margin(control=control).high == report.margin(control=control).low == 0
    assert set(report.significance().values()) == {1.0}


class Counting(WeightOracle):
    """A fake whose weight tokens tell nothing but how many they are, and whose reader knows the answers by that."""

    known: dict[tuple[int, str], str]

    def answer(self, questions: Sequence[str], prefix: Prefix | None, *others: Any, **options: Any) -> list[Answer]:
        sizes = [0] * len(questions) if prefix is None else prefix.mask.sum(1).tolist()
        return [Answer(q, self.known.get((n, q), ""), 1.0, ()) for n, q in zip(sizes, questions, strict=True)]

    def encode(self, examples: Any) -> Float[Tensor, "batch n_tokens d_llm"]:
        rows = torch.ones(len(examples), 60, self.reader.table.shape[1])
        for i, e in enumerate(examples):
            rows[i, 2 + sum(len(layer.b_in) for layer in e.neutral.layers) :] = 0
        return rows


def test_an_encoder_that_tells_answers_by_the_number_of_tokens_is_exposed(bench: Bench) -> None:
    parts = {k: getattr(bench.oracle, k) for k in ("encoder", "reader", "facts")}
    fake = Counting(**parts)
    chosen = [i for i, e in enumerate(bench.examples) if e.subject.kind == "rasp"]
    sizes = {i: int((fake.encode([bench.examples[i]]) != 0).any(-1).sum()) for i in chosen}
    only = [i for i in chosen if list(sizes.values()).count(sizes[i]) == 1]
    assert len(only) > 2
    asked = tuple(a for a in bench.asked if a.index in only)
    context = len(bench.oracle.reader.texts(["Weights:\n"], alone=True).ids[0])
    fake.known = {(sizes[a.index] + context, a.question.text): a.question.truth for a in asked}
    wanted = conditions_of(EvalConfig())
    report = examine(
        replace(bench, oracle=fake, asked=asked), {c: wanted[c] for c in (OWN, "architecture only", SWAPPED, NOTHING)}
    )
    assert report.accuracy(OWN).mean == 1 and report.accuracy(NOTHING).mean == 0
    assert report.accuracy("architecture only").mean == 1 and report.margin(control="architecture only").high == 0
    assert report.accuracy(SWAPPED).mean < 0.5


def test_functions_that_were_learned_are_counted_before_anything_runs(
    zoo: Zoo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parts_module, "tested", stop)
        evaluate(config_of(zoo, folder), told.append)
    rows = [row for row in zoo.rows(split="train") if row.function_hash]
    assert told == [f"contaminated: {len(rows)} of {len(rows)} targets have functions that the oracle has learned from"]
    assert contamination_of(folder, zoo, ("val", "test", "structure")).number == 0
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / FUNCTIONS).unlink()
    assert not contamination_of(copy, zoo, ("train",)).known
    (copy / FUNCTIONS).write_text("{}")
    with pytest.raises(OracleError, match="not a list of hashes"):
        contamination_of(copy, zoo, ("train",))


def test_donors_are_other_targets_of_the_same_kind_and_shape(bench: Bench) -> None:
    configs = [t.config for t in bench.targets]
    for i, donor in enumerate(donors(bench.examples, bench.targets)):
        assert donor != i and bench.examples[donor].subject.kind == bench.examples[i].subject.kind
        if configs.count(configs[i]) > 1:
            assert configs[donor] == configs[i]


def test_answers_right_about_a_donor_are_seen(bench: Bench) -> None:
    """Whoever writes the donor's program from the donor's weights is right about the donor, and about nobody else."""

    def donors_program(bench: Bench) -> list[Said]:
        return [Said(bench.examples[bench.donors[a.index]].subject.text) for a in bench.asked]

    rows = [r for r in answered(bench, SWAPPED, donors_program) if r.family == "program" and r.kind != "none"]
    assert rows and all(r.of_donor and r.donor != r.target for r in rows)
    assert not all(r.correct for r in rows)


def test_the_black_box_is_told_what_the_target_answers(bench: Bench) -> None:
    for i, (example, target) in enumerate(zip(bench.examples, bench.targets, strict=True)):
        pairs = pairs_of(example.subject, target, 5, i)
        assert pairs == pairs_of(example.subject, target, 5, i)
        assert len(pairs) == (5 if example.subject.program is not None else 0) == len({x for x, _ in pairs})
        assert [tuple(row) for row in target.answers(target.encode([x for x, _ in pairs]))] == [y for _, y in pairs]


def test_controls_that_know_other_targets_do_not_know_their_own(bench: Bench) -> None:
    """Without any other target, they know nothing."""
    first = bench.examples[0]
    alone = replace(
        bench,
        examples=bench.examples[:1],
        targets=bench.targets[:1],
        asked=tuple(a for a in bench.asked if a.index == 0),
        references=(first,),
    )
    for control in ("majority", "statistics reader"):
        assert conditions_of(EvalConfig())[control](alone) == [None] * len(alone.asked)
    known = conditions_of(EvalConfig())["nearest by statistics"](bench)
    texts = {e.subject.text for e in bench.examples}
    for a, said in zip(bench.asked, known, strict=True):
        if a.question.family == "program" and said is not None and bench.subject(a).text:
            assert said.text != bench.subject(a).text and said.text in texts | {"no program"}


def test_the_statistics_reader_learns_what_statistics_tell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of them is whether the answer is yes, it is always right; where none is, it is not."""
    chosen = [i for i, e in enumerate(bench.examples) if e.subject.kind == "rasp"]

    def truths_of(question: Question) -> list[str | None]:
        return [truth_about(question, bench.examples[i].subject) for i in chosen]

    def rarer(question: Question) -> int:
        """How often the rarer of the two answers is right."""
        return min(truths_of(question).count(answer) for answer in ("yes", "no"))

    question = max((Question("uses", "", "", operation) for operation in OPERATIONS), key=rarer)
    told, truths = replace(bench, asked=tuple(Asked(i, question) for i in chosen)), truths_of(question)
    assert rarer(question) > 1, "each answer is known from another target"

    def said(telling: float) -> list[bool]:
        """Whether each answer is right, if one feature tells so much of it."""

        def features(example: Example) -> Tensor:
            noise = torch.randn(1, generator=torch.Generator().manual_seed(int(example.id.split("-")[-1])))
            return torch.cat([noise, torch.tensor([telling * (truth_about(question, example.subject) == "yes")])])

        monkeypatch.setattr(known_module, "_statistics", features)
        return [s is not None and s.text == t for s, t in zip(statistics_reader(told), truths, strict=True)]

    assert all(said(1.0)) and not all(said(0.0))


def test_two_reports_are_compared_on_common_questions(zoo: Zoo, folder: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    config = config_of(zoo, folder, controls="few", limit=6, out=a)
    evaluate(config)
    evaluate(replace(config, out=b, limit=4))
    table = compared(a, b)
    assert "questions in common" in table and "1.0000" in table
    lines = [line for line in table.splitlines() if line.startswith(("| RASP programs", "| flowcharts"))]
    assert lines and all("| 0.00 [0.00, 0.00] |" in line for line in lines)
    facts = json.loads((b / "results.json").read_text())
    (b / "results.json").write_text(json.dumps(facts | {"grader": 0}))
    with pytest.raises(InputError, match="two versions of the grader"):
        compared(a, b)
    (b / "results.json").unlink()
    with pytest.raises(InputError, match=r"no results\.json"):
        compared(a, b)


def test_components_of_an_operation_are_taken_away_beside_others(bench: Bench) -> None:
    cases, examples = cases_of(bench, 6)
    assert cases and set(examples) == {case.index for case in cases}
    for case in cases:
        compiled = compile_program(bench.examples[case.index].subject.program)
        assert as_compiled(compiled, bench.targets[case.index])
        assert not set(case.own) & set(case.others)
        assert sorted(p.kind for p in case.own) == sorted(p.kind for p in case.others)
        of = {c for c, nodes in owners(compiled).items() if any(n.op == case.operation for n in nodes)}
        heads = {(c.layer, c.start) for c in of if c.kind == "head"}
        assert {(p.layer, p.index) for p in case.own if p.kind == "head"} == heads
    for rise in localisation(bench, 2):
        assert rise.difference.mean == pytest.approx(rise.own.mean - rise.others.mean, abs=1e-6) and 0 < rise.p <= 1


def test_a_target_that_is_not_as_compiled_is_not_taken_for_it(bench: Bench) -> None:
    i = next(i for i, e in enumerate(bench.examples) if e.subject.kind == "rasp")
    compiled, target = compile_program(bench.examples[i].subject.program), bench.targets[i]
    name = "unembed.W_U"
    changed = replace(target, weights=dict(target.weights) | {name: target.weights[name] * 1.01})
    assert as_compiled(compiled, target) and not as_compiled(compiled, changed)


def test_source_and_pairs_reach_the_base_without_its_adapter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once for all questions about a target: the answers are those of the whole prompts."""
    seen = list[tuple[str, bool]]()
    lora = next(m for m in bench.oracle.reader.model.modules() if isinstance(m, LoraLayer))
    real = bench.oracle.reader.read_words

    def read_words(contexts: Sequence[str]) -> Prefix:
        seen.extend((context, bool(lora.disable_adapters)) for context in contexts)
        return real(contexts)

    monkeypatch.setattr(bench.oracle.reader, "read_words", read_words)
    for name, start in ((SOURCE, "Program: "), ("black box, 4 pairs", "")):
        seen.clear()
        said = conditions_of(EvalConfig(pairs=(4,)))[name](bench)
        told = [a for a in bench.asked if bench.subject(a).program is not None]
        assert len(told) == sum(s is not None for s in said) and all(off for _, off in seen)
        assert len(seen) == len({a.index for a in told}) and all(context.startswith(start) for context, _ in seen)
        contexts = [
            source_context(bench.subject(a).text) if name == SOURCE else pair_contexts(bench, 4)[a.index] for a in told
        ]
        with bench.oracle.reader.base_as_it_is(), torch.no_grad():
            whole = bench.oracle.answer([a.question.text for a in told], None, contexts=[c or "" for c in contexts])
        assert [s.text for s in said if s is not None] == [a.text for a in whole]
    assert all(1 <= context.count(" -> ") <= 4 for context, _ in seen)
    assert not lora.disable_adapters


def test_the_asked_input_is_never_among_the_pairs(bench: Bench) -> None:
    contexts = pair_contexts(bench, 64)
    for asked in bench.asked:
        if asked.question.family == "output":
            context = contexts[asked.index]
            assert context is not None and f"\n{asked.question.detail} -> " not in "\n" + context


def test_a_seed_is_a_report(zoo: Zoo, folder: Path) -> None:
    config = config_of(zoo, folder, limit=3, pairs=(2,), questions_per_target=2, edits=1)
    one, other = evaluate(config), evaluate(config)
    assert one == other
    assert [r.question for r in evaluate(replace(config, seed=3)).rows] != [r.question for r in one.rows]
