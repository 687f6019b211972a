"""`weight-oracle compile`: what it takes as a program, what it writes, and the view that `--explain` prints."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle import cli

PROGRAM = """vocab = {'a', 'b', 'c'}
max_seq_len = 3
attention = bidirectional
v1 = select(indices, indices, k + 1 == q)
v2 = aggregate(v1, tokens, default='before the first token')
out = map({'a': '[red]x[/red]', 'b': ':smile:', 'c': '<b>', 'before the first token': 'none'}, v2)
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process and an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> tuple[int, str, str]:
        status = cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "p.rasp"
    path.write_text(PROGRAM)
    return path


def view(name: str) -> str:
    """What is printed for a program of the library."""
    from tracr_tasks import compile_program, explain, library_program, mermaid

    compiled = compile_program(library_program(name))
    return f"{explain(compiled)}\n\ndiagram\n\n```mermaid\n{mermaid(compiled)}\n```\n"


def is_one_error(status: int, out: str, err: str) -> bool:
    return (status, out) == (2, "") and err.count("\n") == 1 and err.startswith("weight-oracle: error: ")


def test_explaining_writes_nothing(run: Run, tmp_path: Path) -> None:
    assert run("compile", "hist", "--explain") == (0, view("hist"), "")
    assert list(tmp_path.iterdir()) == []


def test_the_view_has_its_sections(run: Run) -> None:
    _, out, _ = run("compile", "hist", "--explain")
    assert re.findall(r"(?m)^\w+$", out) == ["program", "layers", "sizes", "diagram"]
    assert out.count("```mermaid\nflowchart ") == 1 and out.endswith("\n```\n")


def test_a_target_is_written_and_explained(run: Run, tmp_path: Path) -> None:
    from zoo.target import Target

    status, out, err = run("compile", "reverse", "--out", "reverse", "--explain")
    assert (status, err) == (0, "")
    first, _, rest = out.partition("\n")
    assert first.startswith("reverse: n_layers ")
    assert rest == view("reverse")
    target = Target.load(tmp_path / "reverse")
    assert target.answers(target.encode([["a", "b", "c"]])) == [["c", "b", "a"]]
    # The folder has the library program's name now, and does not hide it.
    assert run("compile", "reverse", "--explain")[1] == view("reverse")


def test_without_out_and_explain_there_is_nothing_to_do(run: Run) -> None:
    status, out, err = run("compile", "hist")
    assert is_one_error(status, out, err)
    assert "--out" in err and "--explain" in err


def test_a_file_comes_before_a_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hist").write_text("vocab = {0, 1}\nmax_seq_len = 2\nout = map(x + 1, tokens)\n")
    status, out, _ = run("compile", "hist", "--explain")
    assert status == 0
    assert "out = map(x + 1, tokens)" in out


def test_vocabulary_and_length_of_a_library_program(run: Run) -> None:
    status, out, _ = run("compile", "hist", "--explain", "--vocab", "3", "x", "--max-seq-len", 2)
    assert status == 0
    assert "    vocab = {3, 'x'}\n    max_seq_len = 2\n" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["hits"], ["hits", "does not exist", "did you mean hist?"]),
        (["qqqqqqqq"], ["qqqqqqqq", "hist", "reverse", "sort"]),
        (["no/such.rasp"], ["no/such.rasp", "does not exist"]),
        (["."], ["is not a file"]),
        (["hist", "--vocab", "BOS"], ["hist: ", "BOS"]),
        (["hist", "--vocab", "a", "a"], ["hist: ", "twice"]),
    ],
)
def test_mistakes_are_one_line(run: Run, args: list[str], words: list[str]) -> None:
    status, out, err = run("compile", *args, "--explain")
    assert is_one_error(status, out, err)
    assert [word for word in words if word not in err] == []


class Terminal(io.StringIO):
    """Standard output that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_changes_nothing(run: Run, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, piped, _ = run("compile", program, "--explain")
    assert status == 0
    assert max(map(len, piped.splitlines())) > 100
    assert "'[red]x[/red]'" in piped and "':smile:'" in piped
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert cli.main(["compile", str(program), "--explain"]) == 0
    assert re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()) == piped


def test_parameters_of_a_library_program(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("compile", "shift_by", "--explain", "--set", "offset=2")
    assert status == 0 and "select(indices, indices, k + 2 == q)" in out
    status, out, _ = run("compile", "detect_pattern", "--out", "t", "--set", "pattern=a,b")
    assert status == 0 and (tmp_path / "t" / "model.safetensors").exists()
    assert run("compile", "dyck", "--explain", "--set", "pairs=[('(', ')')]")[0] == 0


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("offset", "NAME=VALUE was expected"),
        ("of=2", "no parameter 'of'; its parameters are offset=1"),
        ("offset=a", "a whole number was expected"),
        ("offset=[(", "not a literal"),
        ("offset=__import__('os')", "a whole number was expected"),
    ],
)
def test_a_wrong_parameter_is_one_line(run: Run, given: str, part: str) -> None:
    status, out, err = run("compile", "shift_by", "--explain", "--set", given)
    assert is_one_error(status, out, err) and part in err


def test_a_file_has_no_parameters(run: Run, program: Path) -> None:
    status, out, err = run("compile", program, "--explain", "--set", "a=1")
    assert is_one_error(status, out, err) and "is a file" in err


def test_every_reason_in_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.rasp"
    path.write_text("vocab = {'BOS', 'a'}\nmax_seq_len = 3\n\nv1 = map(1 / x, indices)\nv2 = map(x, v9)\nout = v1\n")
    status, out, err = run("compile", path, "--out", "t")
    assert is_one_error(status, out, err) and not (tmp_path / "t").exists()
    assert all(part in err for part in ("'BOS'", "line 4: '1 / x' is not defined for 0", "line 5: unknown name 'v9'"))


def test_the_library_is_listed(run: Run) -> None:
    from tracr_tasks.library import library_names

    status, out, _ = run("library")
    assert status == 0 and all(f"`{name}`" in out for name in library_names())
