"""The command line: help without torch, one line and exit status 2 for every mistake, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle import cli, cli_verbs, console
from oracle.cli_parse import UsageError, split_verb
from tracr_tasks.errors import InputError

ALL_VERBS = (
    "quickstart",
    "compile",
    "zoo build",
    "zoo show",
    "zoo verify",
    "base",
    "train",
    "ask",
    "decompile",
    "eval",
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*args: object) -> tuple[int, str, str]:
        status = cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def target_dir(tmp_path: Path) -> Path:
    """A saved target with random weights."""
    import torch

    from tracr_tasks.transformer import TargetConfig, shapes
    from zoo.target import Target, Vocab

    config = TargetConfig(4, 1, 2, 2, 4, n_ctx=4, d_vocab=4, d_vocab_out=2, pad_token=1)
    weights = {name: torch.randn(shape) for name, shape in shapes(config).items()}
    Target(config, weights, Vocab(("BOS", "PAD", "a", "b"), ("yes", "no"))).save(tmp_path / "target")
    return tmp_path / "target"


def is_one_error(status: int, out: str, err: str) -> bool:
    return (status, out) == (2, "") and err.count("\n") == 1 and err.startswith("weight-oracle: error: ")


def test_help_lists_the_verbs(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert all(f"  {verb} " in out for verb in ALL_VERBS)
    assert run()[1] == out


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_help_of_a_verb(run: Run, verb: str) -> None:
    status, out, err = run(*verb.split(), "--help")
    assert (status, err) == (0, "")
    assert f"usage: weight-oracle {verb} " in out


def test_help_of_a_group(run: Run) -> None:
    status, out, _ = run("zoo", "--help")
    assert status == 0
    assert "zoo build" in out and "train" not in out


def test_version(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0
    assert out.split()[0] == "weight-oracle" and out.split()[1][0].isdigit()


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["ask", "--help"], ["zoo", "build", "--help"], ["trian"]])
def test_help_and_mistakes_import_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from oracle.cli import main; status = main(sys.argv[1:]);"
        "print([n for n in ('torch', 'transformers', 'numpy', 'pyarrow') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], ["'trian'", "train", "weight-oracle --help"]),
        (["zoo"], ["build", "show", "verify"]),
        (["zoo", "biuld"], ["zoo build"]),
        (["--quickstart"], ["quickstart"]),
        (["ask", "x", "--jsn"], ["--jsn", "--json", "weight-oracle ask --help"]),
        (["train", "--zoo", "z", "--out", "o", "--learning-rate=3"], ["--learning-rate"]),
        (["train", "--zoo", "z", "--out", "o", "--lr", "fast"], ["--lr", "'fast'"]),
        (["train"], ["missing --zoo, --out"]),
        (["eval", "--zoo"], ["--zoo"]),
        (["ask"], ["missing TARGET"]),
        (["zoo", "show", "a", "b"], ["b"]),
    ],
)
def test_wrong_usage_is_one_line(run: Run, args: list[str], words: list[str]) -> None:
    status, out, err = run(*args)
    assert is_one_error(status, out, err)
    assert [word for word in words if word not in err] == []


@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_any_words_give_a_verb_or_a_usage_error(args: list[str]) -> None:
    try:
        verb, rest = split_verb(args, ALL_VERBS)
    except UsageError as error:
        assert "weight-oracle --help" in str(error)
    else:
        assert [*verb.split(), *rest] == args


@given(st.text(st.characters(), max_size=3000))
def test_one_line_is_printable_and_short(text: str) -> None:
    line = console.one_line(text)
    assert line.isprintable() or not line
    assert len(line) <= console.MAX_LINE


@pytest.mark.parametrize("spoil", ["missing", "file", "empty", "pickle", "not a target", "config"])
def test_bad_target_is_one_line_that_names_it(run: Run, target_dir: Path, spoil: str) -> None:
    weights, ran = target_dir / "model.safetensors", target_dir / "ran"
    name = "model.safetensors"
    if spoil == "missing":
        target_dir, name = target_dir.with_name("nowhere"), "nowhere"
    elif spoil == "file":
        target_dir, name = target_dir / "config.json", "config.json"
    elif spoil == "empty":
        weights.write_bytes(b"")
    elif spoil == "pickle":
        weights.write_bytes(pickle.dumps(Payload(ran)))
    elif spoil == "not a target":
        weights.unlink()
        name = "target"
    else:
        (target_dir / "config.json").write_text('{"d_model": 3')
        name = "config.json"
    status, out, err = run("ask", target_dir, "What does this model compute?")
    assert is_one_error(status, out, err)
    assert name in err
    assert not ran.exists()


class Payload:
    """Leaves a mark if it is ever unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_bad_zoo_is_one_line_that_names_it(run: Run, tmp_path: Path) -> None:
    for args in (["zoo", "show"], ["zoo", "verify"]):
        status, out, err = run(*args, tmp_path / "nowhere")
        assert is_one_error(status, out, err)
        assert "nowhere" in err
    status, out, err = run("ask", f"{tmp_path}#3")
    assert is_one_error(status, out, err)
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("", ["question 1", "empty"]),
        (" \n", ["empty"]),
        ("x" * 10_001, ["10,001", "10,000"]),
        ("what \udcff", ["UTF-8", "\\udcff"]),
    ],
)
def test_bad_question_is_refused_before_anything_is_read(run: Run, question: str, words: list[str]) -> None:
    status, out, err = run("ask", "nowhere", question)
    assert is_one_error(status, out, err)
    assert [word for word in words if word not in err] == []


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), max_size=3))
def test_questions_stay_as_they_are(questions: list[str]) -> None:
    try:
        checked = cli_verbs.checked_questions(tuple(questions))
    except InputError:
        assert any(not question.strip() for question in questions)
    else:
        assert checked == (questions or ["What does this model compute?"])


PROGRAM = """vocab = {0, 1, 2}
max_seq_len = 3
attention = bidirectional
v1 = select(tokens, tokens, ==)
out = selector_width(v1)
"""


def test_compile_writes_a_target_that_computes_the_program(run: Run, tmp_path: Path) -> None:
    program, out = tmp_path / "same.rasp", tmp_path / "target"
    program.write_text(PROGRAM)
    status, printed, err = run("compile", program, "--out", out)
    assert (status, err) == (0, "")
    assert printed.startswith(f"{out}: n_layers ")
    assert {path.name for path in out.iterdir()} >= {"config.json", "model.safetensors", "vocab.json"}

    from zoo.target import Target

    target = Target.load(out)
    assert target.answers(target.encode([["0", "1", "0"], ["2"]])) == [["2", "1", "2"], ["1"]]


def test_compile_takes_vocabulary_and_length_from_options(run: Run, tmp_path: Path) -> None:
    program, out = tmp_path / "p.rasp", tmp_path / "target"
    program.write_text("out = map(x + 1, tokens)\n")
    status, _, err = run("compile", program, "--out", out, "--vocab", "3", "5", "--max-seq-len", 2)
    assert (status, err) == (0, "")
    assert json.loads((out / "vocab.json").read_text())["input"] == ["BOS", "PAD", "3", "5"]
    assert cli_verbs.token_value("0.5") == 0.5
    assert cli_verbs.token_value("-3") == -3
    assert cli_verbs.token_value("a1") == "a1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["does not exist"]),
        (b"", []),
        (b"\xff\xfe", ["UTF-8"]),
        (
            PROGRAM.replace("tokens, ==", "nothing, ==").encode() + b"v9 = frobnicate(tokens)\n",
            ["line 4", "line 6", "nothing"],
        ),
    ],
)
def test_bad_program_is_one_line_that_names_the_file(
    run: Run, tmp_path: Path, text: bytes | None, words: list[str]
) -> None:
    program, out = tmp_path / "bad.rasp", tmp_path / "target"
    if text is not None:
        program.write_bytes(text)
    status, printed, err = run("compile", program, "--out", out)
    assert is_one_error(status, printed, err)
    assert [word for word in ["bad.rasp", *words] if word not in err] == []
    assert not out.exists()


def test_a_zoo_is_built_shown_verified_and_asked_about(run: Run, tmp_path: Path, fake_oracle: list[Any]) -> None:
    from zoo.store import Zoo

    zoo = tmp_path / "zoo"
    status, out, err = run("zoo", "build", "tiny", "--out", zoo, "--workers", 1, "--seed", 5, "--size", 0.5)
    assert (status, err) == (0, "")
    rows = list(Zoo.open(zoo))
    first, made, pace = out.splitlines()
    assert first == f"{zoo}: {len(rows)} targets" and made.split(",")[0] == f"  made {len(rows)}"
    assert "targets/s" in pace
    status, out, err = run("zoo", "show", zoo)
    assert (status, err) == (0, "")
    assert "compiled" in out
    status, out, err = run("zoo", "verify", zoo)
    assert (status, err) == (0, "")
    assert f"{len(rows)} targets" in out
    assert run("ask", f"{zoo}#{rows[0].id}")[0] == 0
    assert fake_oracle[2].vocab.input == rows[0].input_names
    status, out, err = run("ask", f"{zoo}#nobody")
    assert is_one_error(status, out, err)
    assert "nobody" in err

    shard = next((zoo / "shards").glob("*.safetensors"))
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    status, out, err = run("zoo", "verify", zoo)
    assert status == 2
    assert shard.name in out
    assert err.count("\n") == 1 and str(zoo) in err


@pytest.fixture
def fake_oracle(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for the reader: what it was asked, as (folder of the oracle, target) rows."""
    from oracle.oracle import Answer, WeightOracle

    seen: list[Any] = []

    class Fake:
        def searching(self, search: int | None) -> Fake:
            seen.append(search)
            return self

        def open(self, target: Any) -> Fake:
            seen.append(target)
            return self

        def ask(self, questions: list[str], samples: int, seed: int, *, explain: bool = False) -> list[Answer]:
            trust, text = {"q2": 0.25}, "line 1\n\x1b[31mline 2"
            drawn = (*["x\x1b"] * seed, *[text] * samples)[:samples]
            return [Answer(question, text, trust.get(question, 0.75), (), drawn) for question in questions]

    def from_pretrained(path: Path | None = None) -> Fake:
        seen.append(path)
        return Fake()

    monkeypatch.setattr(WeightOracle, "from_pretrained", from_pretrained)
    return seen


def test_ask_prints_question_answer_and_confidence(run: Run, target_dir: Path, fake_oracle: list[Any]) -> None:
    status, out, err = run("ask", target_dir)
    assert (status, err) == (0, "")
    assert out == "What does this model compute?\n  line 1\n  \\x1b[31mline 2\n  confidence 0.75\n"
    assert fake_oracle[:2] == [None, None]
    assert fake_oracle[2].vocab.input == ("BOS", "PAD", "a", "b")
    assert run("ask", target_dir, "q2")[1].endswith("confidence 0.25 (abstains: this is its best guess)\n")


def test_ask_json(run: Run, target_dir: Path, fake_oracle: list[Any]) -> None:
    status, out, err = run("ask", target_dir, "q1", "q2", "--json", "--oracle", "mine", "--search", 7)
    assert (status, err) == (0, "")
    trust = {"q1": (0.75, False), "q2": (0.25, True)}
    drawn: dict[str, Any] = {"agreement": None, "alternatives": [], "draft": None, "certified": False, "tried": None}
    drawn |= {"slip": "", "support": None}
    answers = [
        {"question": q, "answer": "line 1\n\x1b[31mline 2", "confidence": confidence, "abstains": abstains} | drawn
        for q, (confidence, abstains) in trust.items()
    ]
    assert json.loads(out) == {"target": str(target_dir), "answers": answers}
    assert fake_oracle[:2] == ["mine", 7]


def test_ask_shows_what_else_was_sampled(run: Run, target_dir: Path, fake_oracle: list[Any]) -> None:
    status, out, err = run("ask", target_dir, "--samples", 4, "--seed", 1)
    assert (status, err) == (0, "")
    assert out.endswith("  confidence 0.75\n  in 25% of the samples:\n    x\\x1b\n")
    (answer,) = json.loads(run("ask", target_dir, "--samples", 4, "--seed", 1, "--json")[1])["answers"]
    assert answer["agreement"] == 0.75 and answer["alternatives"] == [["x\x1b", 0.25]]
    for n in (-1, 257):
        assert is_one_error(*run("ask", target_dir, "--samples", n))


def boom(error: BaseException) -> Callable[[object], None]:
    def run_verb(config: object) -> None:
        raise error

    return run_verb


def verb_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    verb = cli_verbs.VERBS["quickstart"]
    monkeypatch.setitem(cli_verbs.VERBS, "quickstart", type(verb)(verb.summary, verb.config, boom(error)))


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("a\nb"), 2, "weight-oracle: error: a b\n"),
        (PermissionError(13, "Permission denied", "/zoo"), 2, "weight-oracle: error: /zoo: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(143), 143, ""),
    ],
)
def test_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    verb_that_raises(monkeypatch, error)
    assert run("quickstart") == (status, "", message)


def test_debug_shows_the_traceback_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    verb_that_raises(monkeypatch, InputError("reason"))
    _, _, err = run("quickstart", "--debug")
    assert err.startswith("Traceback") and err.endswith("weight-oracle: error: reason\n")
    monkeypatch.setenv("WEIGHT_ORACLE_DEBUG", "1")
    assert run("quickstart")[2].startswith("Traceback")


def test_our_own_bugs_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    verb_that_raises(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("quickstart")


def test_sigterm_leaves_143_after_cleaning_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def wait_for_signal(config: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.monotonic()  # Python delivers the signal between two of its instructions
        finally:
            cleaned.append(True)

    verb = cli_verbs.VERBS["quickstart"]
    monkeypatch.setitem(cli_verbs.VERBS, "quickstart", type(verb)(verb.summary, verb.config, wait_for_signal))
    assert run("quickstart") == (143, "", "")
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_reader_of_the_output_goes_away() -> None:
    code = "from oracle.cli import main; import sys; sys.exit(main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_bars_and_advice_stay_out_of_a_pipe() -> None:
    code = (
        "import os, sys; from oracle import console; before = dict(os.environ)\n"
        "with console.quiet_libraries():\n"
        "    import tqdm; list(tqdm.tqdm(range(3))); os.system('echo $HF_HUB_DISABLE_PROGRESS_BARS')\n"
        "assert dict(os.environ) == before"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("TQDM_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_markdown_is_plain_when_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console.say_markdown("| a | b |\n|---|---|\n| [x] | 1 |")
    assert stream.getvalue() == "| a | b |\n|---|---|\n| [x] | 1 |\n"
