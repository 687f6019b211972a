"""The Markdown tables of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from oracle.evaluation.conditions import GAUGE, NOTHING, OWN, SOURCE, SWAPPED
from oracle.evaluation.report import GIVEN_AWAY, Report
from oracle.evaluation.trust import abstention, risk_coverage
from oracle.questions import FAMILIES
from oracle.statistics import Interval
from zoo.legible.studies.report import markdown

MAIN = (OWN, SWAPPED, NOTHING, SOURCE)
"""Columns of the table by question."""
NAMES = {"rasp": "RASP programs", "flowchart": "flowcharts", "none": "untrained"}
SPLITS = {"test": "unseen functions", "structure": "unseen structures"}


def tables_of(report: Report) -> str:
    """results.md."""
    parts = ["# Evaluation", _head(report), "## By question", by_question(report)]
    parts += ["## Controls", by_condition(report)]
    for field, title in BROKEN_DOWN.items():
        if len({getattr(r, field) for r in report.chosen(OWN) if r.kind != "none"}) > 1:
            parts += [f"## By {title}", by_group(report, field)]
    if report.follows:
        parts += ["## One rule changed in the weights", by_edit(report)]
    if report.rises:
        parts += ["## Components taken away", by_component(report)]
    return "\n\n".join([*parts, "## Confidence", trust(report)])


def _head(report: Report) -> str:
    facts = report.facts
    told = [
        f"{facts[key]} targets" if key == "targets" else f"{key} {str(facts[key])[:16]}"
        for key in _TOLD
        if key in facts
    ]
    told += [str(facts["contamination"])] if "contamination" in facts else []
    return (
        "; ".join(told) + ". Every target in a random gauge, phrasings never trained on; shares with 95% intervals "
        "clustered by target. A program is right if it computes the same as the true one on every input tried."
    )


BROKEN_DOWN = {
    "split": "split",
    "part": "part of the zoo",
    "regime": "regime",
    "size": "operations or conditions",
    "n_layers": "number of layers",
    "d_model": "width",
}
"""Fields of rows by which answers from own weights are broken down."""
_TOLD = ("targets", "oracle", "zoo", "grader", "version")


def by_question(report: Report) -> str:
    """One row a kind and family, one column for each of `MAIN`; the losses below."""
    columns = [c for c in MAIN if c in report.conditions]
    rows: list[list[str]] = []
    for kind in (k for k in report.kinds if report.chosen(OWN, k)):
        for family in (f for f in FAMILIES if report.chosen(OWN, kind, f)):
            rows.append([NAMES[kind], family, *(_cell(report.accuracy, c, kind, family) for c in columns)])
            if family == "program" and kind != "none":
                agreement = [_cell(report.agreement, c, kind) for c in columns]
                rows.append([NAMES[kind], "program, agreement per input", *agreement])
        rows.append([NAMES[kind], f"all but {GIVEN_AWAY}", *(_cell(report.accuracy, c, kind) for c in columns)])
    for kind in dict.fromkeys(each.kind for each in report.losses):
        losses = [_cell(report.loss, kind, c) for c in columns]
        rows.append([NAMES[kind], "loss on the right program, nats a token", *losses])
    return markdown(["targets", "question", *columns], rows)


def by_condition(report: Report) -> str:
    """One row a condition: programs, all questions, and own weights minus it on the same questions."""
    parts = []
    for kind in (k for k in report.kinds if k != "none"):
        p = report.significance(kind)
        rows = []
        for c in (c for c in report.conditions if report.chosen(c, kind)):
            programs = report.chosen(c, kind, "program")
            cells = [
                str(report.accuracy(c, kind, "program")) if programs else "",
                str(report.agreement(c, kind)) if programs else "",
                f"{sum(r.parsed for r in programs) / len(programs):.2f}" if programs else "",
                str(report.accuracy(c, kind)),
            ]
            rows.append([c, *cells, *([str(report.margin(kind, c)), f"{p[c]:.4f}"] if c in p else ["", ""])])
        head = ["condition", "program right", "agreement per input", "program has the form", "all questions"]
        parts.append(f"**{NAMES[kind]}**\n\n" + markdown([*head, "own weights minus it", "p (Holm)"], rows))
    return "\n\n".join([*parts, *_remarks(report)])


def _remarks(report: Report) -> list[str]:
    """What the table does not hold."""
    out = []
    if (same := report.same_answer()) is not None:
        out.append(f"Answers that are the same, letter for letter, under {GAUGE}: {same}.")
    for kind in (k for k in report.kinds if report.chosen(SWAPPED, k, "program") and k != "none"):
        out.append(
            f"Programs written from another target's weights ({NAMES[kind]}) that are right about that other target: "
            f"{report.of_donor(kind)}; about the target asked for: {report.accuracy(SWAPPED, kind, 'program')}."
        )
    return out + [level for kind in report.kinds if kind != "none" for level in level_with(report, kind)]


def level_with(report: Report, kind: str) -> list[str]:
    """With how many input-output pairs each black box draws level with the weights, over the questions of both."""
    out = []
    for name in ("black box, ", "look-up in "):
        tried = {int(c.removeprefix(name).split()[0]): c for c in report.conditions if c.startswith(name)}
        level = [
            n for n in sorted(tried) if report.differences(tried[n], kind)[0] and report.margin(kind, tried[n]).low <= 0
        ]
        if tried:
            reached = f"with {level[0]} pairs" if level else f"not with {max(tried)} pairs"
            out.append(f"The {name.strip(', ').removesuffix(' in')} draws level on {NAMES[kind]}: {reached}.")
    return out


def by_group(report: Report, field: str) -> str:
    """One row a kind and value of a field, for answers from own weights."""
    rows = []
    for kind in (k for k in report.kinds if k != "none"):
        for shown, values in _groups(sorted({getattr(r, field) for r in report.chosen(OWN, kind)}), field):
            part = report.among(field, values)
            programs = part.chosen(OWN, kind, "program")
            cells = [str(part.accuracy(OWN, kind, "program")), str(part.agreement(OWN, kind))] if programs else ["", ""]
            controls = [str(part.accuracy(c, kind)) for c in (OWN, SWAPPED, NOTHING)]
            rows.append([NAMES[kind], shown, str(len(programs)), *cells, *controls])
    head = ["targets", field, "n", "program right", "agreement per input"]
    return markdown([*head, *(f"all questions, {c}" for c in (OWN, SWAPPED, NOTHING))], rows)


def _groups(values: Sequence[Any], field: str) -> list[tuple[str, list[Any]]]:
    """What makes a row: a value, and of widths, which are as many as there are compiled programs, those between two
    powers of two."""
    if field != "d_model":
        return [(SPLITS.get(str(value), str(value) or "(main)"), [value]) for value in values]
    steps = groupby(values, key=lambda width: (width - 1).bit_length())
    groups = [list(group) for _, group in steps]
    return [(str(g[0]) if len(g) == 1 else f"{g[0]} to {g[-1]}", g) for g in groups]


def by_edit(report: Report) -> str:
    """One row a way of editing and a measure."""
    rows = [
        [f.way, f.measure, str(f.n), str(f.original), str(f.edited), str(f.shift), f"{f.p:.4f}"] for f in report.follows
    ]
    head = ["edit", "measure", "targets", "original: fits it, less the edited program"]
    lead = (
        "The same questions about a target and about a copy in which one rule was changed. An answer that does not "
        "depend on the weights has shift 0; answers that are right about both have shift 1."
    )
    return f"{lead}\n\n" + markdown([*head, "edited: fits it, less the original", "shift", "p"], rows)


def by_component(report: Report) -> str:
    """One row a way of taking components away and a question."""
    rows = [
        [r.way, r.family, str(r.n), str(r.own), str(r.others), str(r.difference), f"{r.p:.4f}"] for r in report.rises
    ]
    head = ["components", "question", "operations", "loss without those that compute it", "without as many others"]
    lead = "Rise of the loss on the right answer, nats a token, when components of a compiled target are taken away."
    return f"{lead}\n\n" + markdown([*head, "difference", "p"], rows)


def trust(report: Report) -> str:
    """How good the confidence is, in words."""
    found, curve = abstention(report), risk_coverage(report)
    lines = [
        f"Confidence in answers from own weights: {report.reliability()}.",
        f"Risk over coverage: mean {curve['area']:.3f}; {curve['at random']:.3f} for an order at random.",
    ]
    names = [name for name in found if name not in ("answers", "stood by") and found[name] is not None]
    shares = "; ".join(f"{name} {found[name]:.2f}" for name in names)
    lines.append(f"Of {found['answers']} answers it stood by {found['stood by']}; {shares}.")
    return "\n\n".join(lines)


def _cell(measure: Callable[..., Interval], *chosen: str) -> str:
    """A measure of the rows that are chosen; empty where there are none."""
    try:
        return str(measure(*chosen))
    except ValueError:
        return ""
