"""Asking: a target read once for many questions, the command line, the conversation, and every kind of target."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import torch
from safetensors.torch import save_file

from oracle import cli, interactive
from oracle.interactive import MAX_LINES, History, history_file
from oracle.oracle import WeightOracle
from tracr_tasks import sample_compiled
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.compiled import target_of
from zoo.store import Zoo
from zoo.target import Target

QUESTIONS = ("What does this model compute?", "Does it use aggregate?", "What is the output on 1 1 2?")
UNWANTED = ("datasets", "pyarrow", "gradio", "ray", "sklearn", "matplotlib")
"""What training, evaluation and the web page need. peft and transformers import accelerate themselves."""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shipped() -> WeightOracle:
    return WeightOracle.from_pretrained()


@pytest.fixture(scope="module")
def target() -> Target:
    return target_of(sample_compiled(3))


@pytest.fixture(scope="module")
def folder(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ask") / "target"
    target.save(out)
    return out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shipped: WeightOracle) -> Run:
    """The command line in this process, with an oracle that is loaded already."""
    monkeypatch.setattr(WeightOracle, "from_pretrained", lambda path=None: shipped)

    def call(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()  # bars of those who made the target
        status = cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def encoded(shipped: WeightOracle) -> Iterator[list[int]]:
    """The batches that the encoder has read."""
    seen: list[int] = []
    handle = shipped.encoder.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    yield seen
    handle.remove()


def test_many_questions_read_a_target_once(shipped: WeightOracle, target: Target, encoded: list[int]) -> None:
    together = shipped.ask(target, QUESTIONS)
    assert encoded == [1]
    opened = shipped.open(target)
    alone = [opened.ask(question)[0] for question in QUESTIONS]
    assert encoded == [1, 1]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.confidence for a in together] == pytest.approx([a.confidence for a in alone], abs=1e-3)
    assert opened.ask([]) == []


def test_samples_come_with_their_shares(shipped: WeightOracle, target: Target) -> None:
    opened = shipped.open(target)
    one, again = (opened.ask(QUESTIONS[0], samples=4, seed=seed)[0] for seed in (1, 1))
    assert one == again and len(one.samples) == 4
    assert sum(share for _, share in one.alternatives) == pytest.approx(1 - (one.agreement or 0))


def test_explain_prints_bars_and_its_control(run: Run, folder: Path) -> None:
    status, out, err = run("ask", folder, QUESTIONS[0], "--explain")
    assert (status, err) == (0, "")
    rows = re.findall(r"(?m)^    (layer 0|head 0\.0|neuron 0\.[01]) +([+-]\d+\.\d\d)(?:  ([\u2588#]+))?$", out)
    assert len(rows) == 4 and [float(rise) for _, rise, _ in rows] == sorted((float(r[1]) for r in rows), reverse=True)
    assert len(rows[0][2]) == 24 >= len(rows[1][2]) >= len(rows[-1][2])
    assert "8 random heads added instead" in out and "8 random neurons added instead" in out


def test_explain_in_json(run: Run, folder: Path, shipped: WeightOracle, target: Target) -> None:
    status, out, err = run("ask", folder, QUESTIONS[0], "--explain", "--json")
    assert (status, err) == (0, "")
    (answer,) = json.loads(out)["answers"]
    parts = shipped.open(target).explain(QUESTIONS[0], answer["answer"]).parts
    assert [(row["name"], row["layer"], row["kind"]) for row in answer["explanation"]] == [
        (part.name, part.layer, part.kind) for part in parts
    ]
    assert [row["rise"] for row in answer["explanation"]] == pytest.approx([part.rise for part in parts], abs=1e-3)
    assert {row["name"] for row in answer["control"]} == {"random head", "random neuron"}
    assert "explanation" not in json.loads(run("ask", folder, "--json")[1])["answers"][0]


def hugging_face(out: Path) -> Path:
    """A random GPT-2 as transformers saves it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=7, n_positions=6, n_embd=8, n_layer=1, n_head=2)).save_pretrained(out)
    return out


LENS = {"d_model": 8, "n_layers": 1, "n_ctx": 6, "d_head": 4, "n_heads": 2, "d_mlp": 5, "d_vocab": 5, "act_fn": "gelu"}
LENS_CONFIG = LENS | {"normalization_type": "LN", "model_name": "custom", "dtype": "torch.float32"}


def state_dict(file: Path, **metadata: str) -> Path:
    """A random state dict as TransformerLens names it."""
    sizes = {name: value for name, value in LENS.items() if name != "act_fn"}
    config = TargetConfig(**sizes, d_vocab_out=5, normalization_type="LN", act_fn="gelu")
    torch.manual_seed(0)
    file.parent.mkdir(exist_ok=True)
    save_file({name: torch.randn(shape) for name, shape in shapes(config).items()}, file, metadata)
    return file


def lens_folder(out: Path) -> Path:
    state_dict(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(LENS_CONFIG))
    return out


def lens_file_in_folder(out: Path) -> Path:
    return lens_folder(out) / "model.safetensors"


def lens_file_with_config_in_it(out: Path) -> Path:
    return state_dict(out / "mine.safetensors", config=json.dumps(LENS_CONFIG))


def lens_file_with_config_beside(out: Path) -> Path:
    (file := state_dict(out / "mine.safetensors")).with_suffix(".json").write_text(json.dumps(LENS_CONFIG))
    return file


def lens_file_and_config_json(out: Path) -> Path:
    file = state_dict(out / "mine.safetensors")
    (out / "config.json").write_text(json.dumps(LENS_CONFIG))
    return file


def lens_folder_with_one_file(out: Path) -> Path:
    return lens_file_with_config_in_it(out).parent


def tracr(out: Path) -> Path:
    """Tracr's own `reverse`, as its users export it."""
    return Path(__file__).parent.parent / "zoo" / "data" / "tracr" / "reverse"


def made_here(out: Path) -> Path:
    target_of(sample_compiled(3)).save(out)
    return out


def file_made_here(out: Path) -> Path:
    return made_here(out) / "model.safetensors"


KINDS = (
    *(hugging_face, lens_folder, lens_file_in_folder, lens_file_with_config_in_it, lens_file_with_config_beside),
    *(lens_file_and_config_json, lens_folder_with_one_file, tracr, made_here, file_made_here),
)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_kind_of_target_is_answered(run: Run, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "x")
    status, out, err = run("ask", path, QUESTIONS[1], "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["target"] == str(path) and [row["question"] for row in found["answers"]] == [QUESTIONS[1]]


def test_a_file_and_its_folder_are_one_target(run: Run, tmp_path: Path) -> None:
    paths = lens_folder(tmp_path / "x"), lens_file_with_config_in_it(tmp_path / "y")
    first, second = (json.loads(run("ask", path, "--json")[1])["answers"] for path in paths)
    assert first == second


def test_a_target_of_a_zoo_is_answered(run: Run, zoo: Zoo) -> None:
    row = next(iter(zoo))
    assert run("ask", f"{zoo.directory}#{row.id}", QUESTIONS[1])[0] == 0


def bad_file(path: Path, how: str) -> str:
    """Spoil a state dict's file; what its error line must say."""
    if how == "no config":
        state_dict(path)
        return "no config, expected that of a HookedTransformer"
    if how == "metadata":
        state_dict(path, config="{")
        return "metadata 'config' is not JSON"
    if how == "list":
        state_dict(path, config="[]")
        return "metadata 'config' is not an object"
    if how == "transformers":
        state_dict(path, config='{"model_type": "gpt2"}')
        return "expected the folder it was saved in"
    if how == "other sizes":
        state_dict(path, config=json.dumps(LENS_CONFIG | {"d_mlp": 6}))
        return "tensor 'blocks.0.mlp.W_in' has shape [8, 5], expected [8, 6]"
    path.write_bytes(b"PK\x03\x04" + bytes(range(64)))
    return "a pickle or zip, refused unread"


@pytest.mark.parametrize("how", ["no config", "metadata", "list", "transformers", "other sizes", "zip"])
def test_a_file_that_cannot_be_read_is_one_line(run: Run, tmp_path: Path, how: str) -> None:
    path = tmp_path / "mine.safetensors"
    wanted = bad_file(path, how)
    status, out, err = run("ask", path)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "mine.safetensors" in err and wanted in err


def test_what_asking_imports() -> None:
    code = (
        "import sys; from oracle import WeightOracle; from zoo.compiled import target_of\n"
        "from tracr_tasks import sample_compiled\n"
        "WeightOracle.from_pretrained().ask(target_of(sample_compiled(3)), 'What does this model compute?')\n"
        f"print([name for name in {UNWANTED} if name in sys.modules])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout == "[]\n"


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys, oracle; print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_help_says_what_the_exit_status_means(run: Run) -> None:
    for args in (("--help",), ("ask", "--help")):
        out = " ".join(run(*args)[1].split())
        assert all(f"{status} " in out[out.index("Exit status") :] for status in (0, 2, 130, 141, 143))


def test_a_conversation_from_a_pipe(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    lines = [QUESTIONS[0], "", "x" * 10_001, "y" * 300_000, "what \udcff", QUESTIONS[1], "exit", "never asked"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    status, out, err = run("ask", folder, "--interactive", "--json")
    assert status == 0
    assert [json.loads(line)["answers"][0]["question"] for line in out.splitlines()] == list(QUESTIONS[:2])
    refused = err.splitlines()
    assert (
        ["10,001" in refused[0], "100,000" in refused[1], "UTF-8" in refused[2]] == [True] * 3 == [True] * len(refused)
    )
    assert encoded == [1]


def test_a_conversation_begins_with_the_questions_that_are_given(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(QUESTIONS[1]))
    out = run("ask", folder, QUESTIONS[0], "--interactive")[1]
    assert [line for line in out.splitlines() if line in QUESTIONS] == list(QUESTIONS[:2])


def test_without_a_terminal_the_default_question_is_asked(run: Run, folder: Path) -> None:
    assert run("ask", folder)[1].startswith(QUESTIONS[0])


def test_the_history_is_ours_alone_and_of_limited_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = history_file()
    assert path == tmp_path / "weight-oracle" / "history"
    path.parent.mkdir()
    path.write_text("".join(f"{i}\n" for i in range(MAX_LINES)))
    path.chmod(0o644)
    history = History(path)
    for line in ("new \x0b line", "what \udcff"):
        history.add(line)
    assert history.lines() == [*map(str, range(2, MAX_LINES)), "new \x0b line", "what \udcff"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [p.name for p in path.parent.iterdir()] == ["history"]
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert history_file() == Path.home() / ".local" / "state" / "weight-oracle" / "history"


def test_a_history_that_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "history")
    history.add("one")
    history.add("two")
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "questions are not remembered" in err


TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


def keep_prompts(terminal: int) -> None:
    """On Ctrl-C the kernel signals first and empties the terminal's output then, which may hold the new prompt."""
    attributes = termios.tcgetattr(terminal)
    attributes[3] |= termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


class Terminal:
    """A command at a terminal of its own; at the end of the `with` it is gone."""

    def __init__(self, *command: str, **env: str):
        self.fd, there = pty.openpty()
        self.unread = ""
        keep_prompts(there)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            **dict.fromkeys(("stdin", "stdout", "stderr"), there),
            env=os.environ | env,
            start_new_session=True,
        )
        os.close(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)

    def type(self, keys: str, until: str) -> str:
        """Type, and wait for a text; all that came up to it."""
        os.write(self.fd, keys.encode())
        end = time.monotonic() + 100
        while until not in self.unread:
            assert time.monotonic() < end, self.unread
            if select.select([self.fd], [], [], 1)[0]:
                self.unread += os.read(self.fd, 1 << 16).decode()
        came, _, self.unread = self.unread.partition(until)
        return came

    def end(self) -> int:
        """Type Ctrl-D; the exit status."""
        os.write(self.fd, b"\x04")
        return self.process.wait(60)


def test_a_conversation_at_a_terminal(folder: Path, tmp_path: Path) -> None:
    """Refused and answered questions, Ctrl-C, the last question again by the upward key, Ctrl-D."""
    program = [sys.executable, "-W", "ignore", "-m", "oracle.cli", "ask", str(folder)]
    prompt = interactive.PROMPT
    with Terminal(*program, XDG_STATE_HOME=str(tmp_path), TERM="xterm", OMP_NUM_THREADS="1") as terminal:
        assert "exit" in terminal.type("", prompt)
        terminal.type("half a line", "half a line")
        time.sleep(0.5)  # a signal is seen by who waits for a key, not by who draws the last one
        terminal.type("\x03", prompt)
        assert "11,000 characters" in terminal.type("x" * 11_000 + "\n", prompt)
        first = terminal.type(QUESTIONS[1] + "\n", prompt)
        again = terminal.type("\x1b[A\n", prompt)
        assert all(QUESTIONS[1] in shown and "confidence" in shown for shown in (first, again))
        assert terminal.end() == 0
    assert History(tmp_path / "weight-oracle" / "history").lines() == ["x" * 11_000, *[QUESTIONS[1]] * 2]
