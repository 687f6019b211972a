"""The whole path on a toy scale: zoo, base, training, saving, loading, asking, evaluating."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oracle import calibrate as calibrate_module
from oracle import train as train_module
from oracle.calibrate import calibrate
from oracle.checkpoint import FILE
from oracle.config import CalibrateConfig, TrainConfig
from oracle.grade import Grade
from oracle.loading import load_examples
from oracle.oracle import CONFIG_FILE, WeightOracle
from oracle.preflight import check_gap, preflight
from oracle.subjects import Example, asked_about
from oracle.symmetry import random_gauge
from oracle.train import train
from tests.oracle.targets import SMALL
from tracr_tasks.errors import InputError, OracleError
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("short_answers")


def test_a_saved_oracle_answers_as_the_loaded_one_does(folder: Path, zoo: Zoo) -> None:
    one, other = (WeightOracle.from_pretrained(folder) for _ in range(2))
    target = zoo.target(next(iter(zoo)).id)
    questions = ["What does this model compute?", "Compiled, trained or untrained?"]
    answers = one.ask(target, questions)
    assert answers == other.ask(target, questions)
    assert [a.question for a in answers] == questions and all(0 <= a.confidence <= 1 for a in answers)
    assert one.ask(target, questions[0])[0].question == questions[0]


def test_samples_are_alternatives_of_an_answer_and_change_nothing_else(folder: Path, zoo: Zoo) -> None:
    oracle, target = WeightOracle.from_pretrained(folder), zoo.target(next(iter(zoo)).id)
    question = "What does this model compute?"
    (plain,), (sampled,) = oracle.ask(target, question), oracle.ask(target, question, samples=5, seed=3)
    assert oracle.ask(target, question, samples=5, seed=3) == [sampled]
    assert replace(sampled, samples=()) == plain and len(sampled.samples) == 5
    assert plain.agreement is None and plain.alternatives == ()
    assert sampled.agreement is not None
    assert sampled.agreement + sum(share for _, share in sampled.alternatives) == pytest.approx(1)


def test_the_target_is_never_run(folder: Path, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the target was run")

    monkeypatch.setattr("zoo.target.forward", refuse)
    WeightOracle.from_pretrained(folder).ask(zoo.target(next(iter(zoo)).id), "What does this model compute?")


def test_weights_under_a_random_gauge_get_the_same_tokens(folder: Path, zoo: Zoo) -> None:
    oracle = WeightOracle.from_pretrained(folder)
    for row in list(zoo)[::5]:
        target = zoo.target(row.id)
        other = replace(target, weights=random_gauge(target.config, target.weights, 0))
        tokens, again = oracle.encode_target(target), oracle.encode_target(other)
        assert float((again - tokens).norm() / tokens.norm()) < 1e-2  # what float32 leaves of compiled programs


def test_training_is_repeatable(folder: Path, zoo: Zoo, base: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        zoo.directory, tmp_path, str(base), decoder="none", encoder=SMALL, lora_rank=4, targets_per_step=4
    )
    again = train(replace(config, steps=3, processes=1, bf16=False)).facts["history"]
    assert again == json.loads((folder / CONFIG_FILE).read_text())["history"]


def test_more_than_one_zoo_is_learned_from(
    zoo: Zoo, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = build_zoo(
        replace(named_spec("tiny"), compiled=8, trained=0, untrained=0, seed=5), tmp_path / "more", workers=1
    )
    config = TrainConfig(zoo.directory, tmp_path / "o", str(base), decoder="none", encoder=SMALL, lora_rank=4)
    learned = list[str]()

    def fit(oracle: WeightOracle, examples: Sequence[Example], *others: Any) -> list[dict[str, float]]:
        learned.extend(example.subject.text for example in examples)
        return []

    monkeypatch.setattr(train_module, "fit", fit)
    oracle = train(replace(config, also=(more.directory,), processes=1, bf16=False))
    rows = [(each, row) for each in (zoo, more) for row in each.rows(split="train")]
    programs = [asked_about(each.program(row.id), row.regime, row.labels) for each, row in rows]
    expected = ["" if program is None else program.text() for program in programs]
    assert learned == expected and len(more.rows(split="train")) > 2
    assert (oracle.facts["zoo"], oracle.facts["also"]) == (zoo.content_hash(), [more.content_hash()])


def killed_after(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Training ends in its step number n, as by a kill: nothing runs any more."""
    real, done = train_module.update, []

    def update(*args: Any) -> float:
        done.append(1)
        if len(done) > n:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(train_module, "update", update)


@pytest.mark.parametrize("muon_lr", [0.0, 0.01])
def test_a_training_that_is_killed_goes_on_bit_by_bit(
    folder: Path, zoo: Zoo, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, muon_lr: float
) -> None:
    """With an evaluation, and so a checkpoint, before every step."""
    config = TrainConfig(zoo.directory, tmp_path / "o", str(base), decoder="none", encoder=SMALL, lora_rank=4)
    config = replace(config, targets_per_step=4, steps=3, processes=1, bf16=False, eval_every=0.0, muon_lr=muon_lr)
    undisturbed = folder
    if muon_lr:
        undisturbed = tmp_path / "undisturbed"
        train(replace(config, out=undisturbed))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_after(patch, 2)
        train(config)
    assert (config.out / FILE).is_file()
    with pytest.raises(InputError, match=r"holds a training with lr = 0\.001, expected 0\.002"):
        train(replace(config, lr=0.002))
    train(config)
    assert not (config.out / FILE).exists()
    for name in ("encoder.safetensors", "adapter/adapter_model.safetensors"):
        assert (config.out / name).read_bytes() == (undisturbed / name).read_bytes()
    assert ((folder / name).read_bytes() == (undisturbed / name).read_bytes()) == (not muon_lr)


def test_two_processes_train_one_oracle(zoo: Zoo, base: Path, tmp_path: Path) -> None:
    config = TrainConfig(zoo.directory, tmp_path, str(base), decoder="none", encoder=SMALL, lora_rank=4)
    oracle = train(replace(config, targets_per_step=3, steps=2, processes=2, bf16=False))
    assert oracle.facts["history"][-1]["step"] == 2


def test_as_a_module_it_takes_the_options_and_errors_of_the_command(tmp_path: Path) -> None:
    """What `accelerate launch -m oracle.train` runs in each of its processes."""
    command = [sys.executable, "-m", "oracle.train", "--zoo", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "none" in done.stderr, done.stderr


def test_weight_tokens_may_enter_behind_the_first_layer(zoo: Zoo, base: Path, tmp_path: Path) -> None:
    config = TrainConfig(zoo.directory, tmp_path, str(base), decoder="none", encoder=SMALL, lora_rank=4)
    oracle = train(replace(config, targets_per_step=3, steps=1, processes=1, bf16=False, inject="layer1"))
    assert oracle.reader.inject == oracle.facts["inject"] == "layer1"
    facts = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(facts | {"inject": "layer2"}))
    with pytest.raises(OracleError, match="inject layer2, expected embed or layer1"):
        WeightOracle.from_pretrained(tmp_path)


def test_a_reader_that_does_not_read_is_stopped() -> None:
    blind = {"rasp/own": 1.0, "rasp/swapped": 1.001, "none/own": 0.1, "none/swapped": 0.1}
    check_gap([blind] * 2, 3)
    check_gap([blind, blind | {"rasp/swapped": 1.2}, blind], 3)
    with pytest.raises(InputError, match=r"at most 0\.001 nats a token above that with the own ones in 3 evaluations"):
        check_gap([blind] * 3, 3)


def test_training_leaves_the_precision_of_products_as_it_was(folder: Path) -> None:
    assert torch.get_float32_matmul_precision() == "highest"


def test_training_moves_encoder_and_adapter_and_leaves_the_base(folder: Path, base: Path) -> None:
    oracle = WeightOracle.from_pretrained(folder)
    names = [name for name, _ in oracle.reader.model.named_parameters() if "lora_B" in name]
    assert names and any(bool(oracle.reader.model.get_parameter(name).any()) for name in names)
    assert oracle.facts["base"] == str(base)


def test_another_base_is_refused(folder: Path, base: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    copy = tmp_path / "oracle"
    copy.mkdir()
    facts = json.loads((folder / CONFIG_FILE).read_text()) | {"base": str(tmp_path)}
    (copy / CONFIG_FILE).write_text(json.dumps(facts))
    with pytest.raises(OracleError, match="base has sha256"):
        WeightOracle.from_pretrained(copy)


def test_a_folder_without_an_oracle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match=r"oracle_config\.json"):
        WeightOracle.from_pretrained(tmp_path)


def test_an_encoder_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    facts = json.loads((folder / CONFIG_FILE).read_text())
    facts["encoder"]["n_tokens"] += 1
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / CONFIG_FILE).write_text(json.dumps(facts))
    with pytest.raises(OracleError, match=r"latents has shape \(5, 24\), expected \(6, 24\)"):
        WeightOracle.from_pretrained(copy)


def test_preflight_refuses_tokens_that_carry_nothing(folder: Path, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = WeightOracle.from_pretrained(folder)
    examples = load_examples(zoo, oracle.reader, limit=4)
    preflight(oracle, examples)
    with torch.no_grad():
        oracle.encoder.gain.zero_()
    with pytest.raises(InputError, match="alike"):
        preflight(oracle, examples)
    monkeypatch.setattr(oracle, "encode", lambda examples: torch.randn(len(examples), 2, 2))
    with pytest.raises(InputError, match=r"are the same without L0H0, .*L0N0"):
        preflight(oracle, examples)
    monkeypatch.undo()
    first = examples[0].neutral.layers[0]
    silent = replace(first, W_O=first.W_O.clone().index_fill_(0, torch.tensor([0]), 0.0))  # no part of the function
    with torch.no_grad():
        oracle.encoder.gain.fill_(1.0)
    preflight(oracle, [replace(examples[0], neutral=replace(examples[0].neutral, layers=[silent]))])
    with torch.no_grad():
        oracle.encoder.gain.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        preflight(oracle, examples)


def test_a_calibrated_oracle_keeps_its_calibrator(
    folder: Path, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untrained reader is never right, so its answers are graded by a coin here."""
    copy, rng = shutil.copytree(folder, tmp_path / "copy"), random.Random(0)
    config = CalibrateConfig(zoo.directory, copy, (zoo.directory,), split="train", limit=12, threads=1)
    with pytest.raises(InputError, match="0 right"):
        calibrate(config)
    coin = Grade(parsed=True, exact=True, correct=True, agreement=1.0)
    monkeypatch.setattr(calibrate_module, "grade", lambda *_: replace(coin, correct=rng.random() < 0.5))
    found, oracle = calibrate(config), WeightOracle.from_pretrained(copy)
    assert oracle.calibrator == found and found.zoo.split() == [zoo.content_hash()] * 2
    alone = calibrate(replace(config, also=(), oracle=shutil.copytree(folder, tmp_path / "alone")))
    assert found.number > alone.number > found.number / 3, "another zoo's targets are asked about too"
    target = zoo.target(next(iter(zoo)).id)
    answer = oracle.ask(target, "What does this model compute?")[0]
    assert answer.confidence == found(answer.text, answer.log_probs) and answer.sure == (answer.confidence >= 0.5)
    oracle.save_pretrained(tmp_path / "again")
    assert WeightOracle.from_pretrained(tmp_path / "again").calibrator == found
