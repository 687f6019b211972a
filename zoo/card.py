"""README.md of a zoo: a dataset card, with the front matter that the Hugging Face hub reads. It has no date in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from zoo.chunks import stem_of
from zoo.fields import to_fields
from zoo.files import shown
from zoo.legible.matched import matched_lines
from zoo.legible.recipe import regime_line
from zoo.parts import REGIMES
from zoo.rows import INDEX_FILE, IndexFacts, ZooRow, by_reason, content_hash
from zoo.spec import ZooSpec
from zoo.split import SPLITS, STRUCTURE_SHARE, TEST_SHARE, VAL_SHARE

CARD_FILE = "README.md"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
QUANTILES = (0.0, 0.01, 0.1, 0.5, 1.0)
COLUMNS = {
    "id": "part (if it has one), regime and number",
    "shard": "file in `shards/` with the weights, without its ending",
    "row": "row of the family's matrix in that file",
    "family": "architecture: name of the matrix, and of its entry in `layout.json`",
    "seed": "what everything about this target was drawn from",
    "regime": "how it got its weights: compiled, trained or untrained",
    "kind": "language of the program: rasp, flowchart or none",
    "text": "the program, in its canonical text",
    "program_vocab": "JSON list of the program's input values",
    "input_names": "names of the rows of W_E",
    "output_names": "names of the columns of W_U",
    "max_seq_len": "longest input, BOS not counted",
    "causal": "whether a position sees earlier ones only",
    "function_hash": "equal hashes, equal functions",
    "structure_hash": "the same for all relabellings of a function; empty where it is not defined",
    "split": "train, val, test or structure: a function of the two hashes alone",
    "n_params": "numbers in the row of weights",
    "sha256": "of the row's little-endian float32 bytes",
    "labels": "JSON: accuracy, accuracy by branch, loss, sizes of layers before padding",
    "part": "part of the specification; empty for the one without a name",
}
"""What each column of the index holds."""
WITH_HISTORY = {
    "regime": f"how it got its weights: {', '.join(REGIMES)}",
    "labels": "JSON: accuracy, loss, and as measured: history, probe (accuracy by residual state and variable, beside "
    "the commonest value and the initial weights), anchor, seed",
}
"""What two of them hold where there are targets with a history."""


def card_text(spec: ZooSpec, rows: Sequence[ZooRow], facts: IndexFacts) -> str:
    """The card of a zoo; equal zoos have equal cards."""
    sections = [
        _front_matter(spec, rows),
        f"# Zoo `{shown(spec.name)}`: {len(rows):,} transformers with known programs",
        "Each row of `index.parquet` is one small transformer (a target): what it computes, how it got its weights and "
        "where these lie in `shards/`. It is data to learn to read weights from.",
        "## How it was made",
        "\n".join(_recipes(spec)),
        f"Specification `{spec.hash()}` (`spec.json`), seed {spec.seed}, weight-oracle {package_version()}. "
        f"The same specification gives the same bytes; those of this zoo have the content hash `{content_hash(rows)}`.",
        "## What it holds",
        _counts(rows),
        "\n".join(f"{line}." for line in matched_lines(rows)),
        _losses(facts),
        "## Splits",
        f"By hash, so that zoos made anywhere agree. Of all structures (orbits of relabelling) {STRUCTURE_SHARE:.0%} "
        f"are `structure`; of the other functions {TEST_SHARE:.0%} `test`, {VAL_SHARE:.0%} `val`, the rest `train`.",
        "## Columns",
        _table(("column", "content"), _columns(spec).items()),
        "## Loading",
        _loading(rows),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def package_version() -> str:
    """Of weight-oracle, or "unknown" where it runs without being installed."""
    try:
        return version("weight-oracle")
    except PackageNotFoundError:
        return "unknown"


def _front_matter(spec: ZooSpec, rows: Sequence[ZooRow]) -> str:
    size = next((name for bound, name in SIZES if len(rows) < bound), "1M<n<10M")
    lines = [
        "license: apache-2.0",
        f"pretty_name: {json.dumps('weight-oracle zoo ' + spec.name)}",
        "task_categories:",
        "- other",
    ]
    lines += [
        "tags:",
        "- interpretability",
        "- weight-space-learning",
        "- transformers",
        "size_categories:",
        f"- {size}",
    ]
    lines += ["configs:", "- config_name: default", "  data_files:", "  - split: targets", f"    path: {INDEX_FILE}"]
    return "\n".join(["---", *lines, "---"])


def _recipes(spec: ZooSpec) -> Iterable[str]:
    """One line for each part and regime."""
    for part, regime, count in spec.counts():
        recipe = spec.recipe(part)
        charts, shapes = _settings(recipe.flowcharts), "; ".join(map(_settings, recipe.architectures))
        if recipe.legible is not None:
            about = regime_line(recipe.legible, regime)
            yield f"- **{stem_of(part, regime)}**, {count:,} drawn: {about}{_only(recipe)}."
            continue
        text = {
            "compiled": f"flowcharts ({charts}), written into networks of the trained ones' shape ({shapes})"
            if recipe.compiles == "flowchart"
            else f"random RASP programs, compiled ({_settings(recipe.programs) or 'the sampler as it is'})",
            "trained": f"flowcharts ({charts}), each learned from random weights ({_settings(recipe.training)}) "
            f"by a transformer of its own ({shapes})",
            "untrained": f"random weights and no program ({shapes})",
        }[regime]
        yield f"- **{stem_of(part, regime)}**, {count:,} drawn: {text}{_only(recipe)}."


def _only(recipe: ZooSpec) -> str:
    return "" if recipe.splits == SPLITS else f"; only functions of {' and '.join(recipe.splits)}"


def _columns(spec: ZooSpec) -> dict[str, str]:
    """`COLUMNS`, with the words for targets with a history where there are some."""
    has_history = any(spec.recipe(part).legible is not None for part, _, _ in spec.counts())
    return COLUMNS | (WITH_HISTORY if has_history else {})


def _settings(recipe: Any) -> str:
    """The fields of a recipe that are its own or always given."""
    return ", ".join(f"{name} {value}" for name, value in to_fields(recipe).items())


def _counts(rows: Sequence[ZooRow]) -> str:
    """Targets by regime and split, their sizes, and quantiles of accuracy."""
    groups: dict[tuple[str, str], list[ZooRow]] = {}
    for row in rows:
        groups.setdefault((row.part, row.regime), []).append(row)
    heads = ("", *SPLITS, "all", "numbers", *(f"accuracy, {q:.0%}" for q in QUANTILES), "mean")
    lines = []
    for key, members in groups.items():
        splits = Counter(row.split for row in members)
        sizes = sorted(row.n_params for row in members)
        values = [row.labels["accuracy"] for row in members if "accuracy" in row.labels]
        accuracy = [*np.quantile(values, QUANTILES), np.mean(values)] if values else []
        shown = [f"{value:.4f}" for value in accuracy] or ["-"] * (len(QUANTILES) + 1)
        span = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
        counts = [str(splits[split]) for split in SPLITS]
        lines.append((stem_of(*key), *counts, str(len(members)), span, *shown))
    return _table(heads, lines)


def _losses(facts: IndexFacts) -> str:
    """Targets that are not there, and why."""
    reasons = by_reason(facts.failures)
    parts = [f"{facts.duplicates} left out (their part and regime has their function already)"] * bool(facts.duplicates)
    parts += [f"{number} could not be made: {reason}" for reason, number in reasons.items()]
    return f"Not in the index: {'; '.join(parts)}." if parts else ""


def _loading(rows: Sequence[ZooRow]) -> str:
    first = rows[0].id if rows else "ID"
    return "\n".join(
        [
            "```python",
            "from datasets import load_dataset",
            f'index = load_dataset("parquet", data_files="{INDEX_FILE}", split="train")  # programs and labels',
            "",
            "from zoo import Zoo  # pip install weight-oracle",
            'zoo = Zoo.open(".")',
            f'target = zoo.target("{first}")  # its weights by TransformerLens names, read when asked for',
            f'program = zoo.program("{first}")',
            "```",
        ]
    )


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
