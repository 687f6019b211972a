"""The decoder as a tool: saved, loaded, asked on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from oracle.cli import main
from oracle.config import EncoderConfig
from oracle.decoder import DecoderConfig, Written
from oracle.decompiler import CONFIG_FILE, WEIGHTS_FILE, Decompiler, facts_of, new_decoder
from tests.oracle.targets import random_weights
from tracr_tasks.errors import InputError, OracleError
from tracr_tasks.transformer import TargetConfig
from zoo.target import Target, Vocab

WEIGHTS = EncoderConfig(4, 4, 8, 8, 4, 16, n_mix_layers=1, d_edge=4, edge_probes=2, n_pool_layers=1, n_tokens=9)
DECODER = DecoderConfig(16, n_layers=1, n_heads=2, max_len=12)
CONFIG = TargetConfig(*(8, 1, 2, 4, 6, 5, 4, 4))


def small(encoder: str = "channels") -> Decompiler:
    torch.manual_seed(0)
    return Decompiler(new_decoder(encoder, WEIGHTS, DECODER), facts_of(encoder, WEIGHTS, DECODER, seed=0))


def target(seed: int) -> Target:
    vocab = Vocab(("BOS", "PAD", "a", "b"), ("p", "q", "r", "s"))
    return Target(CONFIG, {n: w.float() for n, w in random_weights(CONFIG, seed).items()}, vocab)


@pytest.mark.parametrize("encoder", ["routes", "channels", "set"])
def test_what_is_saved_is_what_is_loaded(encoder: str, tmp_path: Path) -> None:
    small(encoder).save_pretrained(tmp_path / "a")
    loaded = Decompiler.from_pretrained(tmp_path / "a")
    loaded.save_pretrained(tmp_path / "b")
    assert (tmp_path / "a" / WEIGHTS_FILE).read_bytes() == (tmp_path / "b" / WEIGHTS_FILE).read_bytes()
    targets = [target(seed) for seed in range(3)]
    assert loaded.facts["seed"] == 0 and loaded.decompile([]) == []
    one_by_one = [loaded.decompile([t])[0] for t in targets]
    for alone, together in zip(one_by_one, loaded.decompile(targets), strict=True):
        assert alone.text == together.text and abs(alone.log_prob - together.log_prob) < 1e-3


def test_the_command_writes_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small().save_pretrained(tmp_path / "decoder")
    target(0).save(tmp_path / "target")
    said = small().decompile([target(0)])[0]
    arguments = ["decompile", str(tmp_path / "target"), "--decoder", str(tmp_path / "decoder")]
    assert main([*arguments, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["target"] == str(tmp_path / "target") and isinstance(row["program"], str)
    assert 0 <= row["probability"] <= 1 and isinstance(said.text, str)
    assert main(arguments) == 0
    assert "probability" in capsys.readouterr().out
    assert main(["decompile"]) == 2
    capsys.readouterr()
    for option, value, message in (
        ("--runs", -1, "expected 0 to 1000 inputs"),
        ("--search", -2, "expected 0 to 10000 programs"),
        ("--namings", 65, "expected 0 to 64 namings"),
    ):
        assert main([*arguments, option, str(value)]) == 2
        out, err = capsys.readouterr()
        assert not out and f"{option} {value}: {message}" in err


def test_the_command_gives_the_share_of_what_was_weighed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target(0).save(tmp_path / "target")
    asked = list[int]()

    def decompile(targets: object, search: int, decoders: object, runs: int, namings: int) -> list[Written]:
        asked.append(namings)
        return [Written("if has a then p else q", -3.0, share=-0.1)]

    monkeypatch.setattr("oracle.programs.decompile", decompile)
    assert main(["decompile", str(tmp_path / "target"), "--namings", "8"]) == 0
    assert "probability 0.90" in capsys.readouterr().out and asked == [8]


def test_the_command_says_on_how_many_inputs_it_ran_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target(0).save(tmp_path / "target")
    said = [
        Written("if has a then p else q", -0.1, runs=3),
        Written("if has a then p else q", -0.1, runs=3, fits=False),
        Written("out = map(x + 1, tokens)", -0.1, certified=True),
    ]
    for text, words in zip(
        said, ("probability 0.90, run on 3 inputs", "fits badly: run on 3", "certified"), strict=True
    ):
        monkeypatch.setattr("oracle.programs.decompile", lambda *_, text=text: [text])
        assert main(["decompile", str(tmp_path / "target"), "--runs", "3"]) == 0
        assert words in " ".join(capsys.readouterr().out.split())
        assert main(["decompile", str(tmp_path / "target"), "--json"]) == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["runs"], row["fits"], row["certified"]) == (text.runs, text.fits, text.certified)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.pop("encoder"), "not what a trained decoder has"),
        (lambda facts: facts.update(encoder="none"), "expected one of routes"),
        (lambda facts: facts["weights"].update(d_token=24), "has shape"),
        (lambda facts: facts["weights"].update(width=24), "not what a trained decoder has"),
    ],
)
def test_other_folders_are_refused(change: object, message: str, tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    facts = json.loads((tmp_path / CONFIG_FILE).read_text())
    change(facts)  # type: ignore[operator]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(facts))
    with pytest.raises(OracleError, match=message):
        Decompiler.from_pretrained(tmp_path)
    with pytest.raises(OracleError, match=CONFIG_FILE):
        Decompiler.from_pretrained(tmp_path / "nothing")


def test_a_target_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle.decompiler.MAX_PARAMETERS", 10)
    with pytest.raises(InputError, match="expected at most 10"):
        small().decompile([target(0)])
