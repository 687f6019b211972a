"""Tables and findings of the study of sparse autoencoders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.legible.autoencoders import KINDS
from zoo.legible.sae_metrics import ENTROPY
from zoo.legible.studies.report import markdown, summary
from zoo.legible.studies.sae_networks import ANEW, INITIAL, KEPT, NULL, TRAINED, VARIANTS
from zoo.legible.studies.sae_separation import COMPARED, GOOD, OTHERS, Separation, group_of, separations

Row = Mapping[str, Any]
NAMES = {
    "explained_variance": "explained variance",
    "cosine": "cosine",
    "l0": "L0",
    "l1": "L1",
    "dead": "dead latents",
    "ce_recovered": "cross-entropy recovered",
    ENTROPY: "token entropy",
    "coverage_tokens": "coverage: token",
    "coverage_indices": "coverage: position",
    "coverage_input": "coverage: inputs",
    "coverage_inner": "coverage: inner variable",
    "coverage_out": "coverage: output",
    "coverage_computed": "coverage: computed",
    "excess_input": "inputs, above twin",
    "excess_inner": "inner variable, above twin",
    "excess_computed": "computed, above twin",
}
"""Of columns, as they are shown."""
SHOWN: tuple[str, ...] = ("explained_variance", "cosine", "l0", "l1", "dead", "ce_recovered", ENTROPY, "coverage_input")
SHOWN += ("coverage_inner", "coverage_out", "excess_input", "excess_computed")
BY_LAYER = ("explained_variance", ENTROPY, "coverage_tokens", "coverage_indices", "coverage_inner", "coverage_out")
SMALL = 0.05
"""A difference between means under this is called small, for metrics between 0 and 1."""


def report(rows: Sequence[Row]) -> str:
    """The text of table.md."""
    main, last = _main(rows), max(row["state"] for row in rows)
    found = separations(rows)
    parts = ["# Sparse autoencoders on trained and random networks", _set_up(rows), "## Findings"]
    parts += ["\n".join(f"- {line}" for line in findings(rows, found))]
    for kind in KINDS:
        parts += [f"## Last state, {kind}", _table(row for row in main if row["kind"] == kind and row["state"] == last)]
    parts += ["## Does a metric tell trained from random networks? (TopK, last state)", _separation_table(rows, found)]
    parts += ["## By layer (TopK)", _layers(main)]
    parts += ["## Programs and norms (TopK, last state)", _programs(rows)]
    parts += ["## Untrained networks by scale and family (TopK, last state)", _untrained(rows)]
    return "\n\n".join(parts)


def findings(rows: Sequence[Row], found: Sequence[Separation]) -> list[str]:
    """What the figures say, in words."""
    told = [each for each in found if each.says()]
    lost = [each for each in found if not each.says()]
    by_name = {each.metric: each for each in found}
    return [
        _accuracies(rows),
        f"Tell trained networks from all random ones (AUROC at least {GOOD:g} against each kind, in one direction): "
        + (", ".join(_with_range(each) for each in told) or "none")
        + ".",
        "Do not: " + (", ".join(_with_range(each) for each in lost) or "none") + ".",
        _close(rows, "explained_variance", by_name),
        _close(rows, "cosine", by_name),
        _values(rows, ENTROPY) + ".",
        _values(rows, "coverage_inner") + "; of the inputs: " + _values(rows, "coverage_input") + ".",
        _wide(rows),
        _deep(rows),
        f"Chance, from Gaussian points under the real labels: inner variable {_mean(rows, 'coverage_inner', NULL)}, "
        f"inputs {_mean(rows, 'coverage_input', NULL)}, token entropy {_mean(rows, ENTROPY, NULL)}.",
    ]


def _set_up(rows: Sequence[Row]) -> str:
    repetitions = len({row["repetition"] for row in rows})
    return (
        f"{len(rows)} autoencoders, {repetitions} seeds; means with 95% bootstrap intervals over seeds. Metrics are of "
        "inputs that no autoencoder was trained on; coverage is the mean over a variable's values of the best single "
        "latent's F1, latent and threshold chosen on other inputs. 'Above twin' is less that of the re-randomised "
        "network of the same seed. L1 is in units of the states' root mean square; token entropy in nats."
    )


def _main(rows: Sequence[Row]) -> list[Row]:
    """The cells that have every kind and layer, usual scale and family."""
    full = next(row for row in rows if row["kind"] != "topk")
    return [
        row
        for row in rows
        if (row["program"], row["norm"]) == (full["program"], full["norm"]) and group_of(row) != OTHERS
    ]


def _text(rows: Iterable[Row], metric: str, digits: int = 2) -> str:
    used = list(rows)
    digits = 3 if metric in ("explained_variance", "cosine") else digits
    return summary([row.get(metric) for row in used], [row["repetition"] for row in used]).text(digits) or "-"


def _table(rows: Iterable[Row]) -> str:
    used = list(rows)
    header = ["variant", *(NAMES[metric] for metric in SHOWN)]
    body = [
        [name, *(_text((row for row in used if row["variant"] == name), metric) for metric in SHOWN)]
        for name in VARIANTS
    ]
    return markdown(header, body)


def _separation_table(rows: Sequence[Row], found: Sequence[Separation]) -> str:
    header = ["metric", TRAINED, ANEW, INITIAL, "trained less re-randomised", "in standard deviations"]
    header += [f"AUROC against {name}" for name in COMPARED]
    body = []
    for each in found:
        used = _topk_last(rows)
        means = [
            _text((row for row in used if group_of(row) == name), each.metric) for name in (TRAINED, ANEW, INITIAL)
        ]
        digits = 3 if each.metric in ("explained_variance", "cosine") else 2
        spread = "-" if math.isnan(each.standardised) else f"{each.standardised:.1f}"
        numbers = [f"{each.auroc[name]:.2f}" for name in COMPARED]
        body.append([NAMES[each.metric], *means, each.gap.text(digits), spread, *numbers])
    return markdown(header, body)


def _layers(main: Sequence[Row]) -> str:
    numbers = sorted({row["state"] for row in main})
    topk = [row for row in main if row["kind"] == "topk"]
    body = [
        [NAMES[metric], name, *(_text(_of(topk, name, state=number), metric) for number in numbers)]
        for metric in BY_LAYER
        for name in VARIANTS
    ]
    return markdown(["metric", "variant", *(f"state {number}" for number in numbers)], body)


def _programs(rows: Sequence[Row]) -> str:
    metrics = ("explained_variance", ENTROPY, "coverage_input", "coverage_inner", "coverage_out")
    used = _topk_last(rows)
    cells = sorted({(row["program"], row["norm"]) for row in used})
    body = [
        [program, norm, name, *(_text(_of(used, name, program=program, norm=norm), metric) for metric in metrics)]
        for program, norm in cells
        for name in (TRAINED, "seeded", INITIAL, ANEW, KEPT)
    ]
    return markdown(["program", "norm", "variant", *(NAMES[metric] for metric in metrics)], body)


def _untrained(rows: Sequence[Row]) -> str:
    metrics = ("explained_variance", "cosine", "l1", "dead", ENTROPY, "coverage_input", "coverage_inner")
    program, norm = _main(rows)[0]["program"], _main(rows)[0]["norm"]
    used = [row for row in _topk_last(rows) if (row["program"], row["norm"]) == (program, norm)]
    used = [row for row in used if row["variant"] == INITIAL]
    pairs = list(dict.fromkeys((row["scale"], row["family"]) for row in used))
    body = [
        [f"{scale:g}", family, *(_text(_of(used, INITIAL, scale=scale, family=family), metric) for metric in metrics)]
        for scale, family in sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    ]
    return markdown(["scale", "family", *(NAMES[metric] for metric in metrics)], body)


def _of(rows: Iterable[Row], variant: str, **columns: Any) -> list[Row]:
    """Rows of a variant with these values in these columns; of the usual scale and family unless they say others."""
    columns = {"scale": 1.0, "family": "normal"} | columns
    return [row for row in rows if row["variant"] == variant and all(row[key] == v for key, v in columns.items())]


def _topk_last(rows: Sequence[Row]) -> list[Row]:
    last = max(row["state"] for row in rows)
    return [row for row in rows if row["kind"] == "topk" and row["state"] == last]


def _mean(rows: Sequence[Row], metric: str, variant: str) -> str:
    used = [row for row in _topk_last(rows) if group_of(row) == variant]
    return f"{summary([row[metric] for row in used]).mean:.{3 if metric == 'explained_variance' else 2}f}"


def _values(rows: Sequence[Row], metric: str) -> str:
    """Means of a metric, variant by variant."""
    names = (TRAINED, "seeded", INITIAL, ANEW, KEPT)
    return f"{NAMES[metric]} " + ", ".join(f"{name} {_mean(rows, metric, name)}" for name in names)


def _with_range(each: Separation) -> str:
    values = sorted(each.auroc.values())
    return f"{NAMES[each.metric]} ({values[0]:.2f} to {values[-1]:.2f})"


def _close(rows: Sequence[Row], metric: str, found: Mapping[str, Separation]) -> str:
    gap = found[metric].gap.mean
    size = "small" if abs(gap) < SMALL else "not small"
    return f"{_values(rows, metric)}; trained less re-randomised {gap:+.3f}, which is {size}."


def _wide(rows: Sequence[Row]) -> str:
    """Untrained networks of all families, by scale."""
    used = [row for row in _topk_last(rows) if row["variant"] == INITIAL]
    wide = {(row["program"], row["norm"]) for row in used if group_of(row) == OTHERS}
    used = [row for row in used if (row["program"], row["norm"]) in wide]
    lines = []
    for metric in ("explained_variance", ENTROPY, "coverage_input", "coverage_inner"):
        means = []
        for scale in sorted({row["scale"] for row in used}):
            values = [row[metric] for row in used if row["scale"] == scale]
            means.append(f"{summary(values).mean:.2f} at scale {scale:g}")
        lines.append(f"{NAMES[metric]} " + ", ".join(means))
    return "Untrained networks, all families together: " + "; ".join(lines) + "."


def _deep(rows: Sequence[Row]) -> str:
    """Coverage by state, trained beside re-randomised."""
    main = [row for row in _main(rows) if row["kind"] == "topk"]
    numbers = sorted({row["state"] for row in main})
    lines = []
    for metric in ("coverage_tokens", "coverage_inner", "coverage_out"):
        for name in (TRAINED, ANEW):
            means = [summary([row[metric] for row in _of(main, name, state=number)]).mean for number in numbers]
            lines.append(f"{NAMES[metric]}, {name}: " + ", ".join(f"{mean:.2f}" for mean in means))
    return "From state 0 to the last: " + "; ".join(lines) + "."


def _accuracies(rows: Sequence[Row]) -> str:
    known = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    return f"Trained and seeded networks answer {min(known):.1%} to {max(known):.1%} of all questions right."
