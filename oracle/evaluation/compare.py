"""Two reports beside each other, on the questions that both asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oracle.evaluation.conditions import OWN
from oracle.evaluation.folder import RESULTS
from oracle.evaluation.report import GIVEN_AWAY
from oracle.evaluation.rows import ANSWERS, Row, read_rows
from oracle.evaluation.tables import NAMES
from oracle.statistics import clustered_mean, holm, paired_p
from tracr_tasks.errors import InputError
from zoo.files import read_json, shown
from zoo.legible.studies.report import markdown

MUST_BE_EQUAL = {"zoo": "zoos", "grader": "versions of the grader"}
MAX_BYTES = 1 << 28
Key = tuple[str, str, str]


def compared(a: Path, b: Path) -> str:
    """A Markdown table of answers from own weights: one row a kind of target and family, B minus A with its interval
    and p (paired by question, clustered by target, Holm over the table).

    Raises:
        InputError: a folder without a whole report, reports of two zoos or two versions of the grader, or no question
            that both asked.
    """
    facts = [_facts(folder) for folder in (a, b)]
    for field, what in MUST_BE_EQUAL.items():
        if facts[0].get(field) != facts[1].get(field):
            told = " and ".join(shown(str(each.get(field))[:16]) for each in facts)
            raise InputError(f"{shown(a, 200)}, {shown(b, 200)}: reports on two {what} ({told}) cannot be compared")
    one, other = (_answers(folder) for folder in (a, b))
    both = [key for key in one if key in other]
    if not both:
        raise InputError(f"{shown(a, 200)}, {shown(b, 200)}: no question in common; expected the same seed and splits")
    return _table(one, other, both, facts)


def _facts(folder: Path) -> dict[str, Any]:
    if not (folder / RESULTS).is_file():
        raise InputError(f"{shown(folder, 300)}: no {RESULTS}; expected a report that `weight-oracle eval` finished")
    found: dict[str, Any] = read_json(folder / RESULTS, MAX_BYTES)
    return found


def _answers(folder: Path) -> dict[Key, Row]:
    rows = [r for r in read_rows(folder / ANSWERS) if r.condition == OWN]
    return {(r.target, r.family, r.question): r for r in rows}


def _table(one: dict[Key, Row], other: dict[Key, Row], both: list[Key], facts: list[dict[str, Any]]) -> str:
    cells = {(kind, "") for kind in NAMES} | {(one[key].kind, one[key].family) for key in both}
    rows, p = list[list[str]](), dict[str, float]()
    for kind, family in sorted(cells):
        keys = [k for k in both if one[k].kind == kind and (k[1] == family if family else k[1] != GIVEN_AWAY)]
        if not keys:
            continue
        ids = [key[0] for key in keys]
        values = [[float(found[key].correct) for key in keys] for found in (one, other)]
        difference = [y - x for x, y in zip(*values, strict=True)]
        p[f"{kind}/{family}"] = paired_p(difference, ids)
        means = [str(clustered_mean(each, ids)) for each in (*values, difference)]
        rows.append([NAMES[kind], family or f"all but {GIVEN_AWAY}", str(len(keys)), *means])
    adjusted = holm(p)
    table = [[*row, f"{adjusted[name]:.4f}"] for row, name in zip(rows, p, strict=True)]
    told = "; ".join(f"{name}: oracle {str(each.get('oracle'))[:16]}" for name, each in zip("AB", facts, strict=True))
    return f"{told}. {len(both)} questions in common.\n\n" + markdown(
        ["targets", "question", "n", "A", "B", "B minus A", "p (Holm)"], table
    )
