"""The main job in one command: new targets, questions, answers from the weights alone, truth, and controls."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oracle.config import QuickstartConfig
from oracle.decoder import Written
from oracle.decompiler import Decompiler
from oracle.evaluation.bench import bench_of
from oracle.evaluation.conditions import FEW, NOTHING, OWN, SWAPPED
from oracle.evaluation.report import Report
from oracle.evaluation.run import examine
from oracle.grade import grade
from oracle.loading import load_examples
from oracle.oracle import WeightOracle
from oracle.questions import Question
from oracle.subjects import Example
from zoo.build import build_zoo
from zoo.spec import ZooSpec, named_spec
from zoo.target import Target

FAMILIES_SHOWN = 6
"""Questions about each target: one of every family."""


def quickstart(config: QuickstartConfig) -> Report:
    """Make a small zoo that the oracle has never seen, ask about it, print answers beside truth, and the controls."""
    console = Console()
    console.print("[bold]1.[/] Making targets that the oracle has never seen")
    with tempfile.TemporaryDirectory() as scratch:
        zoo = build_zoo(new_spec(config), config.out or Path(scratch) / "zoo", workers=2, progress=True)
        console.print("[bold]2.[/] Loading the oracle that ships with this package")
        oracle = WeightOracle.from_pretrained(config.oracle)
        examples = load_examples(zoo, oracle.reader)
        console.print(f"[bold]3.[/] Asking about {len(examples)} targets, from their weights alone")
        bench = bench_of(oracle, examples, zoo, FAMILIES_SHOWN, config.seed)
        report = examine(bench)
    for kind in ("rasp", "flowchart"):
        for example in [e for e in examples if e.subject.kind == kind][: config.show]:
            show_target(console, example, report)
    show_controls(console, report)
    trained = [(e, t) for e, t in zip(examples, bench.targets, strict=True) if e.subject.kind == "flowchart"]
    if len(trained) > 1:
        console.print("[bold]4.[/] Writing whole programs of the trained ones with the small decoder (`decompile`)")
        show_decoder(console, [e for e, _ in trained], [t for _, t in trained], config.show)
    return report


def new_spec(config: QuickstartConfig) -> ZooSpec:
    """A zoo of compiled programs and trained flowcharts under the seed, of held-out functions only."""
    spec = named_spec("quickstart")
    return replace(spec, compiled=config.n_compiled, trained=config.n_trained, seed=config.seed)


def show_target(console: Console, example: Example, report: Report) -> None:
    """The questions about one target: answer, truth, confidence."""
    rows = [r for r in report.rows if r.target == example.id and r.condition == OWN]
    how = "compiled from a RASP program" if example.subject.kind == "rasp" else "trained on a flowchart"
    table = Table(title=f"{example.id}: {how}", title_justify="left", show_lines=True)
    for column in ("question", "answer from the weights", "truth", "confidence", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        mark = "[green]right[/]" if row.correct else "[red]wrong[/]"
        table.add_row(escape(row.question), escape(row.answer), escape(row.truth), f"{row.confidence:.2f}", mark)
    console.print(table)


def show_controls(console: Console, report: Report) -> None:
    """Accuracy beside the controls, with intervals clustered by target.

    The history of the weights is left out: a target's shape gives it away.
    """
    table = Table(title="Share of right answers (history of the weights left out), 95% intervals", title_justify="left")
    table.add_column("targets")
    for column in FEW:
        table.add_column(column)
    for kind in dict.fromkeys(r.kind for r in report.rows):
        table.add_row(kind, *(str(report.accuracy(condition, kind)) for condition in FEW))
    console.print(table)
    for control in (NOTHING, SWAPPED):
        console.print(f"Own weights minus {control}, on the same questions: [bold]{report.margin(control=control)}[/]")


def show_decoder(console: Console, examples: Sequence[Example], targets: Sequence[Target], show: int) -> None:
    """Programs that the decoder without a language model writes, and how many compute the same as the truth."""
    written = Decompiler.from_pretrained().decompile(targets)
    right = [is_program_of(e, w) for e, w in zip(examples, written, strict=True)]
    table = Table(title="Programs written from the weights", title_justify="left", show_lines=True)
    for column in ("target", "written", "truth", "probability", ""):
        table.add_column(column, overflow="fold")
    for e, w, is_right in list(zip(examples, written, right, strict=True))[:show]:
        mark = "[green]right[/]" if is_right else "[red]wrong[/]"
        table.add_row(e.id, escape(w.text), escape(e.subject.text), f"{w.probability:.2f}", mark)
    console.print(table)
    swapped = [is_program_of(e, w) for e, w in zip(examples, [*written[1:], written[0]], strict=True)]
    n = len(examples)
    console.print(f"Right: [bold]{sum(right)} of {n}[/] from their own weights, {sum(swapped)} of {n} from another's")


def is_program_of(example: Example, written: Written) -> bool:
    """Whether what was written computes the same as the program of an example."""
    return bool(grade(Question("program", "", example.subject.text), written.text, example.subject).correct)
