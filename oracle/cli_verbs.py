"""The verbs of the command line: the options of each as a frozen dataclass, and the call that does it.

Every verb is a documented Python function elsewhere; a `run_*` here imports it, calls it and prints the outcome.
This module imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from oracle.app.config import APP_VERBS
from oracle.cli_ask import ASK_VERBS, load_target
from oracle.cli_ask import DEFAULT_QUESTION as DEFAULT_QUESTION
from oracle.cli_ask import checked_questions as checked_questions
from oracle.cli_completion import COMPLETION_VERBS
from oracle.cli_parse import Verb, nearest
from oracle.cli_study import STUDY_VERBS
from oracle.cli_zoo import ZOO_VERBS
from oracle.config import (
    BaseConfig,
    CalibrateConfig,
    EvalConfig,
    QuestionsConfig,
    QuickstartConfig,
    TrainConfig,
)
from tracr_tasks.errors import InputError, ProgramError

MAX_RUNS = 1_000
"""Of `decompile --runs`."""

if TYPE_CHECKING:
    from oracle.decoder import Written
    from tracr_tasks.compiler.compile import CompiledProgram


@dataclass(frozen=True)
class CompileConfig:
    """Compile a RASP program to a transformer: DIR gets config.json, model.safetensors and vocab.json."""

    program: tyro.conf.Positional[Path]
    """File with the program, one assignment a line; or the name of a program of the library, such as hist."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the target. With --explain it may be left out; nothing is written then."""
    explain: bool = False
    """Print the program with the heads and neurons that compute each line, and a Mermaid diagram."""
    set: tuple[str, ...] = ()
    """Parameters of a program of the library, as NAME=VALUE: offset=2, pattern=a,b,c, pairs="[('(', ')')]"."""
    vocab: tuple[str, ...] | None = None
    """Input tokens, in place of those of the file's header or of the library."""
    max_seq_len: int | None = None
    """Longest input without BOS, in place of that of the file's header or of the library."""


@dataclass(frozen=True)
class LibraryConfig:
    """List the programs that `compile` knows by name, with their parameters and an example of each."""


@dataclass(frozen=True)
class DecompileConfig:
    """Write the programs that targets compute, from their weights alone, by a small decoder without a language model.

    Two decoders ship: one has learned from trained flowcharts of one or two questions, one from compiled RASP programs.
    Of other targets they write the likeliest of these, and the probability is no measure of being right about them.
    """

    targets: tyro.conf.Positional[tuple[str, ...]]
    """Folders of targets, or ZOO#ID for one target of a zoo."""
    json: bool = False
    """Print one JSON object a target: {"target", "program", "probability", "certified", "runs", "fits"}."""
    decoder: Path | None = None
    """Folder of the decoder; those that ship with the package if not given."""
    search: int = 0
    """Compile up to so many RASP programs for a target that may be a compiled one, and compare their weights with the
    target's: a program whose weights are these up to symmetries is certified. A second takes some fifty of them."""
    namings: int = 0
    """Weigh likely flowcharts against each other under so many other names of the labels (8 are as many as the oracle
    that ships asks for): the probability is then the share of the one that is written."""
    runs: int = 0
    """Run a target of which a flowchart is written on so many inputs, to choose among the texts that its weights make
    likely: four tell them apart. Without, no target is ever run."""


def run_decompile(config: DecompileConfig) -> None:
    """`decompile`: `oracle.programs.decompile`.

    Raises:
        InputError: no target is named, or a search, namings or runs out of range.
    """
    if not config.targets:
        raise InputError("decompile: no target; expected the folder of one at least, or ZOO#ID")
    targets = [load_target(name) for name in config.targets]
    if not 0 <= config.runs <= MAX_RUNS:
        raise InputError(f"--runs {config.runs}: expected 0 to {MAX_RUNS} inputs")
    from oracle.console import say
    from oracle.decompiler import Decompiler
    from oracle.programs import decompile

    decoders = None if config.decoder is None else [Decompiler.from_pretrained(config.decoder)]
    found = decompile(targets, config.search, decoders, config.runs, config.namings)
    for name, written in zip(config.targets, found, strict=True):
        if config.json:
            facts = {"program": written.text, "probability": written.probability, "certified": written.certified}
            print(json.dumps({"target": name, **facts, "runs": written.runs, "fits": written.fits}))
        else:
            say(f"{name} ({_trust(written)})\n{indent(written.text, '    ')}")


def _trust(written: Written) -> str:
    """What speaks for a text."""
    if written.certified:
        return "certified: compiled, it has these weights"
    if not written.fits:
        return f"fits badly: run on {written.runs} inputs, the target answers as none of the likely texts"
    return f"probability {written.probability:.2f}" + (f", run on {written.runs} inputs" if written.runs else "")


def token_value(text: str) -> int | float | str:
    """A token of `--vocab` as the program means it: a number if it is written as one, else the text."""
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]+\.[0-9]+", text) else text


def parameter(text: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE: a number, a word, several of them with commas, or a Python literal in brackets.

    Raises:
        InputError: there is no `=`, or the brackets do not hold a literal.
    """
    name, mark, value = text.partition("=")
    if not mark or not name.isidentifier():
        raise InputError(f"--set {text}: NAME=VALUE was expected")
    if value[:1] in ("[", "(", "'", '"'):
        try:
            return name, ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise InputError(f"--set {text}: the value is not a literal such as ('a', 'b') or [('(', ')')]") from None
    return name, tuple(map(token_value, value.split(","))) if "," in value else token_value(value)


def compiled_program(config: CompileConfig) -> CompiledProgram:
    """The program in the file, or the library's program of that name where there is no such file, compiled.

    Raises:
        InputError: there is neither.
        ProgramError: the program is refused; every reason with its line.
    """
    vocab = None if config.vocab is None else [token_value(text) for text in config.vocab]
    if config.program.is_file():
        if config.set:
            raise InputError(
                f"--set {config.set[0]}: {config.program} is a file, and only programs of the library have it"
            )
        from tracr_tasks.compiler.text import compile_text
        from zoo.compiled import program_text

        return compile_text(program_text(config.program), vocab, config.max_seq_len)
    from tracr_tasks.compiler.compile import compile_program
    from tracr_tasks.library import library_names, library_program

    name, names = str(config.program), library_names()
    if name in names:
        parameters = dict(map(parameter, config.set))
        return compile_program(library_program(name, vocab, config.max_seq_len, **parameters))
    state = "is not a file" if config.program.exists() else "does not exist"
    hint = nearest(name, names) or (f": {', '.join(names)}" if name.isidentifier() else "")
    expected = f"a RASP program, one assignment a line, or the name of a program of the library{hint}"
    raise InputError(f"{name}: {state}; expected {expected}")


def run_compile(config: CompileConfig) -> None:
    """`compile`: `tracr_tasks.compile_program`, `zoo.Target.save` and `tracr_tasks.explain`.

    Raises:
        InputError: nothing is asked for, there is no such program, or it is refused; the message has every reason.
    """
    if config.out is None and not config.explain:
        raise InputError("compile: neither --out nor --explain; expected --out DIR to save the target, or --explain")
    from oracle.console import say
    from zoo.compiled import target_of

    try:
        compiled = compiled_program(config)
    except ProgramError as error:
        raise InputError(f"{config.program}: {error}") from error
    if config.out is not None:
        target_of(compiled).save(config.out)
        names = ("n_layers", "d_model", "n_heads", "d_head", "d_mlp")
        say(f"{config.out}: {', '.join(f'{name} {getattr(compiled.config, name)}' for name in names)}")
    if config.explain:
        from tracr_tasks.diagram import mermaid
        from tracr_tasks.explanation import explain

        say(f"{explain(compiled)}\n\ndiagram\n\n```mermaid\n{mermaid(compiled)}\n```")


def run_library(config: LibraryConfig) -> None:
    """`library`: `tracr_tasks.library.catalogue`."""
    from oracle.console import say_markdown
    from tracr_tasks.library import catalogue

    say_markdown(catalogue())


def run_quickstart(config: QuickstartConfig) -> None:
    """`quickstart`: `oracle.quickstart.quickstart`, which prints as it goes."""
    import torch

    from oracle.quickstart import quickstart

    torch.set_num_threads(1)  # its models are tiny: two threads gain nothing, and starve beside other work
    quickstart(config)


def run_base(config: BaseConfig) -> None:
    """`base`: `oracle.base.pretrain`; prints what the model gets right with the source in its context."""
    from oracle.base import pretrain
    from oracle.console import say

    folder = pretrain(config)
    reached = json.loads((folder / "base_config.json").read_text())["source_in_context"]
    say(f"{folder}: right answers with the source in the context")
    say("\n".join(f"  {family} {share:.2f}" for family, share in reached.items()))


def run_train(config: TrainConfig) -> None:
    """`train`: `oracle.train.train`; prints the losses on val targets at the end."""
    from oracle.console import say
    from oracle.train import train

    last = train(config).facts["history"][-1]
    say(f"{config.out}: {last['step']} steps; loss on the right program, nats a token, and share exact")
    losses = [(name, value) for name, value in last.items() if name not in ("minutes", "step")]
    say("\n".join(f"  {name} {value:.3f}" for name, value in losses))


def run_eval(config: EvalConfig) -> None:
    """`eval`: `oracle.evaluation.run.evaluate`, or `oracle.evaluation.compare.compared`; prints the tables."""
    from oracle.console import say_markdown, say_note

    if config.compare is not None:
        from oracle.evaluation.compare import compared

        say_markdown(compared(*config.compare))
        return
    from oracle.evaluation.run import evaluate
    from oracle.evaluation.tables import tables_of

    say_markdown(tables_of(evaluate(config, say_note)))


def run_questions(config: QuestionsConfig) -> None:
    """`questions`: `oracle.dataset.write_questions`."""
    from oracle.console import say
    from oracle.dataset import load_questions, write_questions

    file = write_questions(config)
    say(f"{file}: {load_questions(file).num_rows} questions")


def run_calibrate(config: CalibrateConfig) -> None:
    """`calibrate`: `oracle.calibrate.calibrate`; prints how good the confidence is on targets left out of the fit."""
    from oracle.calibrate import calibrate
    from oracle.console import say

    found = calibrate(config)
    say(f"confidence on targets left out of the fit: {found.plain.measured}")
    if found.sampled is not None:
        say(f"with the agreement of {found.samples} samples: {found.sampled.measured}")


VERBS = {
    "quickstart": Verb(
        "make new models, ask about them, compare with truth and controls", QuickstartConfig, run_quickstart
    ),
    "compile": Verb("compile a RASP program to a transformer's weights; explain them", CompileConfig, run_compile),
    "library": Verb("list the RASP programs that compile knows by name", LibraryConfig, run_library),
    **ZOO_VERBS,
    **STUDY_VERBS,
    "questions": Verb("write questions about a zoo as a table for datasets", QuestionsConfig, run_questions),
    **ASK_VERBS,
    **APP_VERBS,
    "decompile": Verb("write a target's program from its weights alone", DecompileConfig, run_decompile),
    "base": Verb("pretrain the house language model", BaseConfig, run_base),
    "train": Verb("train an oracle on a zoo", TrainConfig, run_train),
    "calibrate": Verb("fit an oracle's confidence to what it gets right", CalibrateConfig, run_calibrate),
    "eval": Verb("measure an oracle on unseen targets, beside its controls", EvalConfig, run_eval),
    **COMPLETION_VERBS,
}
"""Every command, in the order of the help text."""
