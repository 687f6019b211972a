"""The verbs `zoo ...` where they differ from a plain build: growth, repair, engines, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle import cli

TOML = """
compiled = 1
trained = 2
untrained = 2
chunk = 2
flowcharts = { vocab_size = 3, n_answers = 3, max_seq_len = 3 }
training = { steps = 5, batch = 8, eval_inputs = 64 }
"""


@pytest.fixture
def build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, list[str]]:
    """A zoo built by the command line, and the command."""
    (tmp_path / "zoo.toml").write_text(TOML)
    command = ["zoo", "build", str(tmp_path / "zoo.toml"), "--out", str(tmp_path / "zoo"), "--workers", "1"]
    assert cli.main(command) == 0
    capsys.readouterr()
    return tmp_path / "zoo", command


def test_a_damaged_zoo_is_repaired(build: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    zoo, _ = build
    path = zoo / "shards" / "untrained-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    (zoo / "index.parquet").unlink()
    assert cli.main(["zoo", "verify", str(zoo)]) == 2
    assert "zoo verify --repair" in capsys.readouterr().err
    assert cli.main(["zoo", "verify", str(zoo), "--repair"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{zoo}: made again: untrained-00000, index.parquet\n")
    assert "are sound" in out
    assert err == ""
    assert cli.main(["zoo", "verify", str(zoo), "--repair"]) == 0
    assert capsys.readouterr().out.startswith(f"{zoo}: made again: nothing\n")


def test_a_zoo_grows_by_its_size(build: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    zoo, command = build
    assert cli.main([*command, "--size", "2"]) == 0
    assert "made 5, duplicates " in capsys.readouterr().out
    assert cli.main(command) == 2
    assert "compiled 2 -> 1; trained 4 -> 2; untrained 4 -> 2" in capsys.readouterr().err
    assert cli.main(["zoo", "verify", str(zoo)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "--address auto: expected --engine ray with it"),
        (["--engine", "slurm"], "slurm"),
        (["--workers", "0"], "--workers 0: expected at least 1"),
        (["--size", "1000001"], "size = 1000001.0"),
        (["--seed", "9"], "seed 0 -> 9"),
    ],
)
def test_mistakes_are_one_line(
    build: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    _, command = build
    assert cli.main([*command, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
