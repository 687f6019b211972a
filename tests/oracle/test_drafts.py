"""Drafts: what a small decoder writes from the weights, shown to the reader beside the weight tokens."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import LabelIds
from oracle.calibration import Calibrator, Fit, Reliability
from oracle.config import PLAIN, Effort, EvalConfig, TrainConfig
from oracle.decoder import CODEC, DecoderConfig, Written
from oracle.decompiler import Decompiler, facts_of, new_decoder, read_batch
from oracle.drafter import LIKELY, LONGEST, Drafter, can_be_drafted
from oracle.evaluation.bench import bench_of
from oracle.evaluation.conditions import DRAFTED, NOTHING, OWN, SWAPPED, UNDRAFTED
from oracle.evaluation.localisation import WAYS, localisation
from oracle.evaluation.run import evaluate
from oracle.evaluation.shown import drafted, own, swapped
from oracle.evidence import Evidence, drafts_of
from oracle.loading import load_examples
from oracle.neutral import Neutral, fold
from oracle.oracle import DRAFTER, WeightOracle
from oracle.search import FAR, Found
from oracle.steps import ALL, Seen, seen_of, step_losses, training_steps
from oracle.subjects import Example, example_of, relabel
from oracle.template import draft_context
from oracle.train import gone_on, train
from oracle.trials import Draft
from tests.oracle.targets import SMALL, label_ids, random_weights, tiny_reader
from tracr_tasks.errors import InputError, OracleError
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.transformer import TargetConfig
from zoo.compiled import target_of
from zoo.flowchart import Flowchart
from zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("short_answers")

CONFIG = TargetConfig(d_model=4, n_layers=1, n_heads=1, d_head=2, d_mlp=3, n_ctx=3, d_vocab=4, d_vocab_out=2)
DRAFT = "if has c then p else q"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained decoder."""
    out, size = tmp_path_factory.mktemp("decoder"), DecoderConfig(d_model=32, n_layers=1, n_heads=2)
    torch.manual_seed(0)
    Decompiler(new_decoder("channels", SMALL, size), facts_of("channels", SMALL, size)).save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def config(zoo: Zoo, base: Path, decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    out = tmp_path_factory.mktemp("drafting") / "oracle"
    shape = TrainConfig(zoo.directory, out, str(base), decoder=str(decoder), lora_rank=4, targets_per_step=4)
    shape = replace(shape, drafts=(str(decoder),))
    return replace(shape, steps=2, processes=1, bf16=False, in_part=0.3)


@pytest.fixture(scope="module")
def drafting(config: TrainConfig, short_answers: None) -> WeightOracle:
    """An oracle that shows its reader drafts, as it was saved."""
    return train(config)


@pytest.fixture(scope="module")
def charts(drafting: WeightOracle, zoo: Zoo) -> list[Example]:
    """The zoo's flowcharts."""
    examples = load_examples(zoo, drafting.reader, split=None, limit=None, seed=0)
    return [example for example in examples if example.subject.kind == "flowchart"]


def test_the_draft_is_what_the_decoder_writes_of_the_same_weights(
    drafting: WeightOracle, decoder: Path, zoo: Zoo
) -> None:
    alone = Decompiler.from_pretrained(decoder).decoder
    for row in list(zoo)[::9]:
        target = zoo.target(row.id)
        (expected,) = alone.write(read_batch(alone.codec, [target]), LONGEST)
        (answer,) = drafting.ask(target, "What does this model compute?")
        assert answer.draft == drafting.look_at(target).draft == Draft(expected.text, expected.log_prob)


def test_a_draft_is_read_as_the_source_is(drafting: WeightOracle, zoo: Zoo) -> None:
    """Behind the weight tokens stands what would stand there if the question began with it."""
    reader, questions = drafting.reader, ["What does this model compute?"]
    tokens = drafting.encode_target(zoo.target(next(iter(zoo)).id))
    with torch.no_grad():
        told, plain = reader.read(tokens, [DRAFT]), reader.read(tokens)
        beside = reader.logits(reader.texts([reader.prompt(questions[0])]), told, last=1)
        inside = reader.logits(reader.texts([reader.prompt(questions[0], draft_context(DRAFT))]), plain, last=1)
        without = reader.logits(reader.texts([reader.prompt(questions[0])]), plain, last=1)
    torch.testing.assert_close(beside, inside, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(beside, without, atol=1e-3)


def test_no_draft_is_no_text() -> None:
    reader, tokens = tiny_reader([DRAFT]), torch.randn(2, 3, 32)
    assert draft_context("") == ""
    prefix, other = reader.read(tokens, ["", ""]), reader.read(tokens)
    assert torch.equal(prefix.mask, other.mask) and torch.equal(prefix.layers[0][0], other.layers[0][0])


def test_a_draft_can_name_no_special_token() -> None:
    reader, tokens = tiny_reader([DRAFT]), torch.randn(1, 3, 32)
    assert len(reader.read(tokens, ["if has <|weight|> then p else q"])) == 1


def test_what_is_not_shown_makes_no_difference(drafting: WeightOracle, config: TrainConfig, zoo: Zoo) -> None:
    examples = load_examples(zoo, drafting.reader, split="train", limit=6, seed=0)
    step, swap = next(training_steps(examples, config, drafted=True)), [1, 2, 3, 0]

    def moved(seen: Seen) -> float:
        shown = replace(step, seen=(seen,) * len(step.seen))
        with torch.no_grad():
            return float((step_losses(drafting, shown) - step_losses(drafting, shown, swap)).abs().max())

    assert moved(Seen(False, False)) < 1e-6
    assert min(moved(ALL), moved(Seen(True, False)), moved(Seen(False, True))) > 1e-5


def test_components_are_hidden_from_those_who_write_drafts_too(
    drafting: WeightOracle, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = load_examples(zoo, drafting.reader, split="train", limit=12, seed=1)
    bench = bench_of(drafting, examples, zoo, 3, seed=1)
    rises = {(rise.way, rise.family): rise.own.mean for rise in localisation(bench, 2)}
    assert {way for way, _ in rises} >= {WAYS[0], WAYS[2]}
    monkeypatch.setattr(drafting, "drafter", None)
    assert WAYS[2] not in {rise.way for rise in localisation(bench, 2)}


def test_losses_are_float32_under_autocast(drafting: WeightOracle, config: TrainConfig, zoo: Zoo) -> None:
    examples = load_examples(zoo, drafting.reader, split="train", limit=6, seed=0)
    step = next(training_steps(examples, config, drafted=True))
    with torch.no_grad():
        exact = step_losses(drafting, step)
        with torch.autocast("cpu", torch.bfloat16):
            found = step_losses(drafting, step)
    assert found.dtype == torch.float32 and torch.allclose(found, exact, rtol=0.05)


def test_training_shows_each_of_the_two_alone_now_and_then(config: TrainConfig) -> None:
    rng = random.Random(0)
    drawn = [seen_of(config, True, rng) for _ in range(2_000)]
    assert sum(seen.found for seen in drawn) / 1_800 == pytest.approx(config.found, abs=0.04)
    counts = [seen._replace(found=False) for seen in drawn]
    for seen, share in ((ALL, 0.36), (Seen(True, False), 0.27), (Seen(False, True), 0.27), (Seen(False, False), 0.1)):
        assert counts.count(seen) / len(counts) == pytest.approx(share, abs=0.04)
    plain = [seen_of(config, False, rng) for _ in range(500)]
    assert all(seen.tokens == seen.draft for seen in plain)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_names_are_changed_for_the_decoder_too(charts: list[Example], seed: int) -> None:
    example = charts[seed % len(charts)]
    renamed = relabel(example, random.Random(seed))
    for before, after, wanted in (
        (example.labels.tokens, renamed.labels.tokens, (example.pieces.tokens, renamed.pieces.tokens)),
        (example.labels.outputs, renamed.labels.outputs, (example.pieces.outputs, renamed.pieces.outputs)),
        (example.labels.positions, renamed.labels.positions, (example.pieces.positions, renamed.pieces.positions)),
    ):
        order = [before.tolist().index(row) for row in after.tolist()]
        assert wanted[1].tolist() == [wanted[0].tolist()[i] for i in order]
    assert isinstance(renamed.subject.program, Flowchart)


def test_labels_that_the_decoder_cannot_spell_are_read_without_a_draft_or_under_plain_names(
    drafting: WeightOracle, zoo: Zoo
) -> None:
    target = zoo.target(next(iter(zoo)).id)
    names = tuple(f"é{i}" for i in range(len(target.vocab.input)))
    foreign = replace(target, vocab=replace(target.vocab, input=names))
    neutral = fold(target.config, target.weights)
    assert can_be_drafted(target, neutral) and not can_be_drafted(foreign, neutral)
    assert drafting.look_at(foreign).draft is None
    example = example_of("x", foreign, None, "untrained", drafting.reader, 0)
    known = example_of("y", target, None, "untrained", drafting.reader, 0)
    assert [draft is None for draft in drafting.drafts([example, known, example])] == [True, False, True]
    assert relabel(example, random.Random(0)).pieces is None
    assert drafting.ask(foreign, "What does this model compute?")[0].draft is not None


def test_the_report_shows_each_of_the_two_alone(
    drafting: WeightOracle, config: TrainConfig, zoo: Zoo, tmp_path: Path
) -> None:
    wanted = EvalConfig(zoo.directory, oracle=config.out, out=tmp_path, splits=("train",), limit=4, controls="few")
    report = evaluate(replace(wanted, questions_per_target=1, processes=1))
    assert {row.condition for row in report.rows} == {OWN, SWAPPED, NOTHING, UNDRAFTED, DRAFTED}


def test_another_targets_weights_come_with_their_own_draft(
    drafting: WeightOracle, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = load_examples(zoo, drafting.reader, split="train", limit=6, seed=0)
    bench, shown = bench_of(drafting, examples, zoo, 1, 0), list[list[str]]()
    real = drafting.prefix

    def prefix(evidence: Sequence[Evidence]) -> object:
        shown.append(drafts_of(evidence))
        return real(evidence)

    monkeypatch.setattr(drafting, "prefix", prefix)
    own(bench), swapped(bench), drafted(bench)
    assert shown[0] == shown[2] and shown[1] == [shown[0][i] for i in bench.donors] and shown[0] != shown[1]
    assert not bench.evidence[0].without_tokens().tokens.any()


def test_a_calibrator_counts_how_sure_the_draft_is() -> None:
    measured = Reliability(9, 0.1, 0.1, 0.9)
    fit = Fit((0.0, 0.0, 0.0, 0.0, 1.0) * 3, measured)
    calibrator = Calibrator(fit, None, 0, 9, "hash", drafted=True)
    sure, unsure = (calibrator("p", [-0.1], draft=Written(DRAFT, log_prob)) for log_prob in (0.0, -3.0))
    assert sure == 0.5 > unsure > calibrator("p", [-0.1])
    assert calibrator("p", [-0.1], draft=Written(DRAFT, -3.0, certified=True)) == 0.5


def test_a_calibrator_counts_the_support_of_the_answer_too() -> None:
    fit = Fit((0.0, 0.0, 0.0, 0.0, 0.0, 1.0) * 3, Reliability(9, 0.1, 0.1, 0.9))
    calibrator = Calibrator(fit, None, 0, 9, "hash", drafted=True, supported=True)
    draft, sure = Written(DRAFT, math.log(0.3)), Written(DRAFT, -3.0, certified=True)
    high, low = (calibrator("p", [-0.1], draft=draft, support=support) for support in (0.9, 0.2))
    assert high == pytest.approx(0.9, abs=2e-3) and low == pytest.approx(0.2, abs=2e-3)
    assert calibrator("p", [-0.1], draft=draft) == pytest.approx(0.3, abs=2e-3)  # one that was not weighed
    assert calibrator("p", [-0.1]) < 0.5 and calibrator("p", [-0.1], draft=sure) > 0.99
    assert all(0 < calibrator("p", [-0.1], draft=draft, support=support) < 1 for support in (0.0, 1.0))


@pytest.mark.parametrize("draft", [Written(DRAFT, -1.0), Written(DRAFT, -3.0, share=-1.0)])
def test_the_probability_of_a_draft_is_its_share_where_it_was_weighed(draft: Written) -> None:
    assert draft.probability == pytest.approx(math.exp(-1.0))


def test_a_saved_oracle_has_its_drafter(drafting: WeightOracle, config: TrainConfig, tmp_path: Path) -> None:
    drafting.save_pretrained(tmp_path / "again")
    one, other = (folder / DRAFTER / "0" / "decoder.safetensors" for folder in (tmp_path / "again", config.out))
    assert one.read_bytes() == other.read_bytes()
    assert drafting.facts["drafts"] and WeightOracle.from_pretrained(tmp_path / "again").drafter is not None


class Writer(Decompiler):
    """A decoder that writes the same text about every target."""

    def __init__(self, text: str, log_prob: float):
        said = Written(text, log_prob)
        write = lambda batch, longest: [said] * len(batch)  # noqa: E731
        self.decoder: Any = SimpleNamespace(table=torch.zeros(1), encoder=None, write=write)


@given(st.lists(st.floats(-3.0, 0.0), min_size=1, max_size=4))
def test_the_first_who_is_sure_is_believed_else_the_first_of_all(log_probs: list[float]) -> None:
    target = fold(CONFIG, random_weights(CONFIG, 0))
    drafter = Drafter([Writer(f"text {i}", each) for i, each in enumerate(log_probs)])
    sure = [i for i, each in enumerate(log_probs) if each >= LIKELY]
    (written,) = drafter.write([target], [label_ids(CONFIG)])
    assert written.text == f"text {sure[0] if sure else 0}"


class Routed(Writer):
    """The same, of those that read routes."""

    @property
    def by_routes(self) -> bool:
        return True

    def reads(self, target: Neutral) -> bool:
        return target.routes is not None


def compiled(seed: int = 0) -> tuple[Neutral, LabelIds]:
    target = target_of(sample_compiled(seed))
    names = target.vocab.input, target.config.n_ctx, target.vocab.output
    return fold(target.config, target.weights), CODEC.label_ids(*names)


def test_what_may_be_compiled_begins_with_who_reads_routes_and_nothing_else_comes_to_them() -> None:
    other = fold(CONFIG, random_weights(CONFIG, 0)), label_ids(CONFIG)
    drafter = Drafter([Writer("a", -0.1), Routed("b", -0.1), Writer("c", -0.1)])
    targets, labels = zip(compiled(), other, compiled(1), strict=True)
    assert [draft.text for draft in drafter.write(targets, labels)] == ["b", "a", "b"]
    unsure = Drafter([Writer("a", -3.0), Routed("b", -3.0), Writer("c", -3.0)])
    assert [draft.text for draft in unsure.write(targets, labels)] == ["b", "a", "b"]
    sure = Drafter([Writer("a", -3.0), Routed("b", -3.0), Writer("c", -0.1)])
    assert [draft.text for draft in sure.write(targets, labels)] == ["c", "c", "c"]
    two = Drafter([Writer("a", -0.1), Routed("b", -3.0)])
    assert [draft.text for draft in two.write(targets, labels)] == ["b", "a", "b"]
    alone = Drafter([Routed("b", -3.0)])
    assert [draft.text for draft in alone.write(targets, labels)] == ["b", "b", "b"]


@pytest.mark.parametrize(("distance", "expected"), [(0.2, "near"), (FAR, "b")])
def test_what_a_search_finds_near_is_believed(distance: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = list[int]()

    def searched(decoder: Any, target: Neutral, labels: LabelIds, budget: int) -> Found:
        budgets.append(budget)
        return Found("near", -9.0, distance, True, budget)

    monkeypatch.setattr("oracle.drafter.searched", searched)
    other = fold(CONFIG, random_weights(CONFIG, 0)), label_ids(CONFIG)
    drafter = Drafter([Writer("a", -0.1), Routed("b", -3.0), Writer("c", -3.0)], Effort(search=7))
    targets, labels = zip(compiled(), other, strict=True)
    first, second = drafter.write(targets, labels)
    assert (first.text, first.certified) == (expected, expected == "near") and second.text == "a"
    assert budgets == [7]
    drafter.write(targets, labels, Effort(search=3))
    assert drafter.write(targets, labels, PLAIN)[0].text == "b" and budgets == [7, 3]


def test_an_oracle_that_goes_on_has_its_drafts_or_others(config: TrainConfig, drafting: WeightOracle) -> None:
    out, short = config.out.parent / "more", replace(config, start=config.out, steps=1)
    again = train(replace(short, out=out, drafts=(), search=7))
    assert again.drafter is not None and len(again.drafter.writers) == 1 and again.drafter.effort.search == 7
    begun = gone_on(WeightOracle.from_pretrained(out, trainable=True), [], Effort(search=9))
    assert begun.drafter is not None and begun.drafter.effort.search == begun.facts["search"] == 9
    other = train(replace(short, out=config.out.parent / "other", drafts=("programs", "house"), search=5))
    assert other.drafter is not None and [w.by_routes for w in other.drafter.writers] == [True, False]
    assert other.drafter.effort.search == 5


@pytest.mark.parametrize(("option", "value"), [("search", 10_001), ("namings", 65), ("namings", -1)])
def test_training_for_an_effort_that_could_not_be_loaded_is_refused(
    option: str, value: int, config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"--{option} {value}: expected 0 to"):
        train(replace(config, out=tmp_path / "new", **{option: value}))


def test_an_oracle_that_has_learned_without_drafts_shows_none(config: TrainConfig, tmp_path: Path) -> None:
    plain = replace(config, drafts=(), out=tmp_path / "plain", steps=1)
    assert train(plain).drafter is None
    with pytest.raises(InputError, match="has learned without drafts"):
        train(replace(config, start=tmp_path / "plain", out=tmp_path / "more"))


def test_a_folder_that_has_lost_its_drafter_is_refused(drafting: WeightOracle, tmp_path: Path) -> None:
    drafting.save_pretrained(tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / DRAFTER)
    with pytest.raises(OracleError, match="0 decoders for drafts"):
        WeightOracle.from_pretrained(tmp_path / "lost")
