"""The report of `study anchoring`: its table with intervals, and findings in words that are computed from the rows."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.legible.studies.anchoring_arms import ANCHORED, CASES, CONTROL, SHUFFLED, Case
from zoo.legible.studies.anchoring_figures import SIDES, names, of
from zoo.legible.studies.configs import AnchoringStudyConfig
from zoo.legible.studies.report import Row, Summary, markdown, summary

COLUMNS = {
    "accuracy": "accuracy",
    "alignment": "alignment",
    "margin": "margin",
    "cosine": "cosine to difference",
    "auroc": "AUROC",
    "grading": "grading R2",
    "probe": "probe",
}
REMOVED = {
    "axis": "axis removed",
    "labels": "labels' direction removed",
    "difference": "difference removed",
    "random": "random removed",
}
KNOWN = 0.9
"""Cosine to the difference in means from which on an axis counts as known in advance."""
COST = 0.02
"""Accuracy that an anchor may cost."""
FLAT = 0.3
"""Margin up to which shuffled labels count as flat: the cosine of random axes in 32 dimensions varies by 0.18."""
SELECTIVE = 3.0
"""How many times what is lost elsewhere must be lost on the concept, beside intervals that do not overlap."""
FELT = 0.1
"""Accuracy whose loss counts as the concept's removal."""


def text_of(rows: Sequence[Row], config: AnchoringStudyConfig) -> str:
    """table.md."""
    seeds = len(names(rows, "seed"))
    shares = {row["case"]: f"{row['labels']} of {row['inputs']} inputs" for row in rows}
    late = ", ".join(
        f"'{case.name}' has {case.longer * config.steps} steps and is pulled from step {late_step(case, config)} on"
        for case in CASES
        if case.begin
    )
    head = (
        f"Anchored concepts: {config.steps} steps, {seeds} seeds, one axis a seed; labels on "
        + ", ".join(f"{share} ({case})" for case, share in shares.items())
        + f". `{ANCHORED}`: pull {config.strength:g}, anti-anchor {config.anti_anchor:g}, repulsion "
        f"{config.separate:g}; {late}; the other arms differ from it in what their names say. Means with 95% "
        "bootstrap intervals over seeds. `removed` columns: accuracy lost on the concept / elsewhere when a direction "
        "is removed from the anchored state. `labels' direction` is the difference in means that the anchor's labels "
        "give, `difference` the one of all inputs."
    )
    parts = [head, *(["A smoke run: the figures mean nothing."] if config.smoke else [])]
    for case in names(rows, "case"):
        state = next(row["state"] for row in rows if row["case"] == case)
        parts += [f"**{case}** (state {state})", _table(rows, case)]
    return "\n\n".join([*parts, "**Findings**", "\n".join(f"- {each}" for each in findings(rows))])


def late_step(case: Case, config: AnchoringStudyConfig) -> int:
    """The first step that pulls."""
    return round(case.begin * case.longer * config.steps) + 1


def findings(rows: Sequence[Row]) -> list[str]:
    """What the rows say to each question, case by case, whichever way it went."""
    return [_in_case(rows, case) for case in names(rows, "case")] + [_ablations(rows), _exclusive(rows)]


def _table(rows: Sequence[Row], case: str) -> str:
    lines = []
    for arm in names([row for row in rows if row["case"] == case], "arm"):
        cells = {field: summary(of(rows, field, case=case, arm=arm)) for field in COLUMNS}
        lost = [
            " / ".join(summary(of(rows, f"lost_{name}_{side}", case=case, arm=arm)).text() for side in SIDES)
            for name in REMOVED
        ]
        lines.append([arm, *(cell.text(3 if field == "accuracy" else 2) for field, cell in cells.items()), *lost])
    return markdown(["arm", *COLUMNS.values(), *REMOVED.values()], lines)


def _in_case(rows: Sequence[Row], case: str) -> str:
    """Known in advance? at what cost? selective? controls flat?"""
    mean = {field: _mean(rows, field, case, ANCHORED) for field in ("cosine", "margin", "cost")}
    on, elsewhere = (_mean(rows, f"lost_axis_{side}", case, ANCHORED) for side in ("on", "elsewhere"))
    control, shuffled = (_mean(rows, "margin", case, arm) for arm in (CONTROL, SHUFFLED))
    known = "is known in advance" if mean["cosine"].mean >= KNOWN else f"falls short of {KNOWN}"
    dear = "within" if mean["cost"].mean <= COST else "more than"
    flat = "flat" if abs(shuffled.mean) <= FLAT else "not flat"
    return (
        f"{case}: the axis {known} (cosine {mean['cosine'].text(3)}, margin {mean['margin'].text()}; control margin "
        f"{control.text()}; shuffled labels {shuffled.text()}: {flat}). It costs {100 * mean['cost'].mean:.1f} points "
        f"of accuracy, {dear} the {100 * COST:.0f} allowed. Removing it costs {on.text()} on the concept and "
        f"{elsewhere.text()} elsewhere: {_removed(on, elsewhere)}."
    )


def _removed(on: Summary, elsewhere: Summary) -> str:
    if on.mean < FELT:
        return "the network hardly needs the axis, its answers lie in what is left of the state"
    if on.mean < SELECTIVE * elsewhere.mean:
        return "not selective"
    return "selective" if on.low > elsewhere.high else "not surely selective, the intervals overlap"


def _ablations(rows: Sequence[Row]) -> str:
    """What each change of the method does, over all concepts."""
    arms = [arm for arm in names(rows, "arm") if arm not in (CONTROL, SHUFFLED)]
    said = [
        f"{arm} cosine {_over(rows, 'cosine', arm):.2f}, margin {_over(rows, 'margin', arm):.2f}, axis removed "
        f"{_over(rows, 'lost_axis_on', arm):.2f}/{_over(rows, 'lost_axis_elsewhere', arm):.2f}, accuracy "
        f"{_over(rows, 'accuracy', arm):.3f}"
        for arm in arms
    ]
    return "Means over concepts (axis removed: concept/elsewhere): " + "; ".join(said) + "."


def _exclusive(rows: Sequence[Row]) -> str:
    """Does a direction found afterwards remove more?"""
    axis, few, after = (_over(rows, f"lost_{name}_on", ANCHORED) for name in ("axis", "labels", "difference"))
    verdict = (
        "more than the known axis: anchoring is selective, not exclusive"
        if after > axis + 0.02
        else "no more than the known axis"
    )
    return (
        f"A direction found afterwards from all inputs removes {verdict} ({after:.2f} against {axis:.2f} on the "
        f"concept, over all concepts); one found from the same few labels removes {few:.2f}."
    )


def _mean(rows: Sequence[Row], field: str, case: str, arm: str) -> Summary:
    return summary(of(rows, field, case=case, arm=arm))


def _over(rows: Sequence[Row], field: str, arm: str) -> float:
    return summary(of(rows, field, arm=arm)).mean
