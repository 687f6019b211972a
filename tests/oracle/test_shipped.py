"""The oracle that ships with the package: small, readable without trust, and it does read weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oracle.bases import ASSETS
from oracle.config import Effort, QuickstartConfig
from oracle.evaluation.conditions import NOTHING, OWN, SWAPPED
from oracle.evaluation.losses import GAP, program_losses
from oracle.oracle import WeightOracle
from oracle.quickstart import quickstart
from oracle.subjects import Example, example_of
from oracle.symmetry import random_gauge
from tracr_tasks import sample_compiled
from zoo.compiled import target_of
from zoo.split import draw_of_splits, split_of

N_TARGETS = 32
SEED = 77_000


@pytest.fixture(scope="module")
def shipped() -> WeightOracle:
    return WeightOracle.from_pretrained()


@pytest.fixture(scope="module")
def unseen(shipped: WeightOracle) -> list[Example]:
    """Compiled programs of the test split: no oracle was trained on these functions."""
    found = []
    for i in range(N_TARGETS):
        seed = SEED + 1000 * i
        compiled = draw_of_splits(sample_compiled, lambda c: split_of(c.program.function_hash()), seed, ("test",))
        target = target_of(compiled)
        target = replace(target, weights=random_gauge(target.config, target.weights, i))
        found.append(example_of(str(i), target, compiled.program, "compiled", shipped.reader, i))
    return found


def test_what_ships_is_small_and_holds_no_pickle() -> None:
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 32 << 20
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}


def test_loss_is_lower_with_the_targets_own_weights(shipped: WeightOracle, unseen: list[Example]) -> None:
    drafts = shipped.drafts(unseen, Effort(search=20))
    found = program_losses(shipped, unseen, [*range(1, len(unseen)), 0], 0, drafts)
    losses = {each.condition: each.nats for each in found if each.kind == "rasp"}
    assert losses[GAP].low > 0.5
    assert losses[OWN].mean < min(losses[SWAPPED].mean, losses[NOTHING].mean)


def test_the_same_function_in_other_weights_gets_the_same_answers(shipped: WeightOracle) -> None:
    question = "What does this model compute?"
    for seed in range(4):
        target = target_of(sample_compiled(seed))
        other = replace(target, weights=random_gauge(target.config, target.weights, seed))
        assert [a.text for a in shipped.ask(target, question)] == [a.text for a in shipped.ask(other, question)]


def test_long_answers_that_go_on_alone_are_what_they_would_be(
    shipped: WeightOracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = shipped.open(target_of(sample_compiled(0)))
    questions = ["Does it use aggregate?", "What does this model compute?", "Does it use map?", "Decompile the model."]
    answers = []
    for short in (3, 1000):
        monkeypatch.setattr("oracle.reader.SHORT", short)
        answers.append(opened.ask(questions))
    assert min(len(a.log_probs) for a in answers[0]) <= 3 < max(len(a.log_probs) for a in answers[0])
    for one, other in zip(*answers, strict=True):
        assert one.text == other.text and one.log_probs == pytest.approx(other.log_probs, abs=1e-3)


def test_quickstart_prints_answers_beside_truth_and_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = quickstart(QuickstartConfig(n_compiled=2, n_trained=2, show=1, out=tmp_path / "zoo"))
    out = capsys.readouterr().out
    assert all(word in out for word in ("truth", "confidence", OWN, SWAPPED, NOTHING, "compiled-", "trained-"))
    assert {row.condition for row in report.rows} == {OWN, SWAPPED, NOTHING}
