"""Completion of verbs, options and values, by the shells themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from oracle import cli
from oracle.cli_parse import options_of
from oracle.cli_verbs import VERBS
from oracle.completion import Known, script

CASES = {
    "weight-oracle as": ["ask"],
    "weight-oracle zoo ": ["build", "show", "verify"],
    "weight-oracle zoo ver": ["verify"],
    "weight-oracle zoo build --eng": ["--engine"],
    "weight-oracle zoo build --engine ": ["local", "ray"],
    "weight-oracle ask target --exp": ["--explain"],
    "weight-oracle ask target --explain --js": ["--json"],
    "weight-oracle train --encoder.n-mix": ["--encoder.n-mix-layers"],
    "weight-oracle completion ": ["bash", "fish", "zsh"],
    "weight-oracle eval --controls f": ["few"],
    "weight-oracle decompile --no-such": [],
}


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The script that the command prints for a shell, in a file."""
    assert cli.main(["completion", request.param]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (tmp_path / "script").write_text(out)
    return tmp_path / "script"


@pytest.mark.parametrize("printed", ["bash"], indirect=True)
def test_bash_completes(printed: Path) -> None:
    for line, wanted in CASES.items():
        words = line.split(" ")
        code = (
            f"source {printed}; COMP_WORDS=({' '.join(w or repr('') for w in words)}); COMP_CWORD={len(words) - 1}; "
            "_weight_oracle; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p weight-oracle"
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        *found, registered = done.stdout.splitlines()
        assert sorted(filter(None, found)) == wanted, line
        assert registered == "complete -o bashdefault -o default -F _weight_oracle weight-oracle"
        assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize("printed", ["fish"], indirect=True)
def test_fish_completes(printed: Path) -> None:
    for line, wanted in CASES.items():
        code = f"source {printed}; complete -C '{line}'"
        done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert sorted(found.split("\t")[0] for found in done.stdout.splitlines() if found) == wanted, line


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("printed", ["zsh"], indirect=True)
def test_zsh_completes(printed: Path) -> None:
    """With its builtins for the terminal in place of a terminal."""
    for line, wanted in CASES.items():
        words = line.split(" ")
        array = " ".join(word or "''" for word in words)
        code = (
            "compdef() { : }; compadd() { shift; print -l -- $@ }; _files() { : }\n"
            "_describe() { print -l -- ${verbs%%:*} }\n"
            f"source {printed}; words=({array}); CURRENT={len(words)}; _weight_oracle"
        )
        done = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        found = [each for each in done.stdout.splitlines() if each.startswith(words[-1])]
        assert (sorted(found), done.stderr) == (wanted, ""), line


def test_every_option_of_every_verb_is_there() -> None:
    known = {name: Known(verb.summary, options_of(name, verb.config)) for name, verb in VERBS.items()}
    for shell in ("bash", "zsh", "fish"):
        text = script(shell, known)
        for each in known.values():
            assert len(each.options) > 0
            for option in each.options:
                assert (f"-l {option[2:]}" if shell == "fish" else option) in text


def test_options_are_those_of_the_help() -> None:
    assert list(options_of("ask", VERBS["ask"].config)) == [
        *("--help", "--samples", "--seed", "--explain", "--interactive", "--json", "--search", "--oracle")
    ]
    assert options_of("zoo build", VERBS["zoo build"].config)["--device"] == ("auto", "cpu", "cuda")


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "bash" in err
