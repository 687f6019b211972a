"""The figures and the page of a report: what is drawn is what was measured, and what a zoo says stays text."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.config import EvalConfig
from oracle.evaluation import figures_style
from oracle.evaluation.conditions import GAUGE, NOTHING, OWN, SOURCE, SWAPPED, conditions_of, lookup_name, pairs_name
from oracle.evaluation.figures import draw
from oracle.evaluation.figures_style import group_of, own_beside, pairs_in, spread
from oracle.evaluation.page import page
from oracle.evaluation.page_text import LONGEST, from_markdown, lines
from oracle.evaluation.page_words import meaning_of
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row
from oracle.evaluation.tables import by_group, tables_of
from oracle.evaluation.transcripts import MORE, NUMBER, Drawn, drawn_of
from zoo.files import shown

FEW = (OWN, SWAPPED, NOTHING)
ALL = (*FEW, GAUGE, "majority", lookup_name(4), lookup_name(16), pairs_name(0), pairs_name(4), pairs_name(16), SOURCE)
HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></div><img src=x onerror=alert(1)>",
    '"><svg onload=1>',
    "![x](http://example.com/x.png)",
    "[x](javascript:alert(1))",
    "</style><style>*{display:none}",
    "&lt;b&gt;",
    "a\u202eb\u0000c",
    "| a | b |\n| --- | --- |",
    "<!--",
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=30))
KNOWN = {*("h2", "h3", "h4", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "strong", "code", "h5", "h6")}


def row(**given: Any) -> Row:
    values: dict[str, Any] = {"target": "t", "kind": "rasp", "regime": "compiled", "split": "test", "part": ""}
    values |= {"size": 3, "n_layers": 2, "d_model": 8, "family": "program", "condition": OWN, "question": "What?"}
    values |= {"detail": "", "truth": "v1 = a\nout = b", "answer": "out = c", "confidence": 0.4, "parsed": True}
    return Row(**(values | {"exact": False, "correct": False, "agreement": 0.3} | given))


def report_of(conditions: Sequence[str], kinds: Sequence[str] = ("rasp", "flowchart"), n: int = 6) -> Report:
    """`n` targets of each kind and of sizes 2 to 4, three questions each; a look-up answers one of them."""
    rng, rows = random.Random(0), []
    for kind in kinds:
        for i in range(n):
            for condition in conditions:
                for family in ("program", "output", "regime"):
                    if condition.startswith("look-up") and family != "output":
                        continue
                    right = rng.random() < 0.5
                    told = {"correct": right, "agreement": 1.0 if right else 0.2, "confidence": rng.random()}
                    told |= {"condition": condition, "family": family, "question": f"{family}?"}
                    rows.append(row(target=f"{kind}-{i}", kind=kind, size=2 + i % 3, **told))
    return Report(tuple(rows), (), {"options": {"seed": 3, "splits": ["test"]}, "targets": n * len(kinds)})


class Parsed(HTMLParser):
    """Tags with their attributes in order, and the text between them."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ((data, None),)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, dict[str, Path], dict[str, Any]]:
    """A report with every condition, its figures, and the matplotlib figures behind them by name."""
    report, seen, real = report_of(ALL), dict[str, Any](), figures_style.figure

    @contextmanager
    def watched(path: Path, width: float, height: float) -> Iterator[Any]:
        with real(path, width, height) as figure:
            seen[path.stem] = figure
            yield figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures_style, "figure", watched)
        return report, draw(report, tmp_path_factory.mktemp("whole")), seen


def segments(axes: Any) -> list[np.ndarray]:
    """The intervals of a panel: ends of lines that were drawn by `hlines` and `vlines`."""
    return [s for c in axes.collections if hasattr(c, "get_segments") for s in c.get_segments()]


def page_of(told: str) -> str:
    """A page of one target with the same text in every place that a zoo, a model or an option fills."""
    places = dict.fromkeys(("target", "part", "split", "question", "truth", "answer", "donor", "detail"), told)
    rows = [row(family=f, condition=c, **places) for f in ("program", "output") for c in (*FEW, "majority")]
    return page(Report(tuple(rows), (), {"zoo": told, "options": {"seed": told, "splits": [told]}}), "", {})


@given(TEXTS)
def test_what_a_zoo_or_a_model_says_stays_text(told: str) -> None:
    found, harmless = Parsed(page_of(told)), Parsed(page_of("x"))
    assert found.tags == harmless.tags
    for line in told.split("\n"):
        assert shown(line, LONGEST) in found.text


@given(TEXTS, TEXTS)
def test_tables_hold_no_tags_but_their_own(cell: str, name: str) -> None:
    table = f"# Title\n\n## {name}\n\n| targets | {name} |\n| --- | --- |\n| {cell} | 0.5 |\n\n{cell}"
    found = Parsed(from_markdown(table))
    assert {tag.removeprefix("/") for tag, _ in found.tags} <= KNOWN
    assert {key for _, attrs in found.tags for key, _ in attrs} <= {"class", "scope", "tabindex", "role", "aria-label"}


@given(st.text())
def test_lines_are_shown_one_by_one_and_cut(text: str) -> None:
    assert Parsed(f"<pre>{lines(text)}</pre>").text.split("\n") == [shown(x, LONGEST) for x in text.split("\n")]
    assert len(lines("a" * 10 * LONGEST)) <= LONGEST


def test_a_table_keeps_its_cells_in_a_box_that_scrolls() -> None:
    report = report_of(FEW)
    found = from_markdown(tables_of(report))
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", found)]
    assert str(report.accuracy(OWN, "rasp", "output")) in cells
    assert found.count("<table>") == found.count('<div class="scroll"') == tables_of(report).count("| --- |\n")
    assert 'class="n own"' in found
    assert "<h3>By question</h3>" in found
    assert "Evaluation" not in found  # the heading of the first level is the page's


def test_widths_share_a_row_between_two_powers_of_two() -> None:
    widths = (8, 9, 12, 16, 17, 32, 40)
    rows = tuple(row(target=f"t{w}", d_model=w, correct=w < 17, condition=c) for w in widths for c in FEW)
    table = by_group(replace(report_of(FEW), rows=rows), "d_model")
    found = [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines()[2:]]
    assert [each[1:3] for each in found] == [["8", "1"], ["9 to 16", "3"], ["17 to 32", "2"], ["40", "1"]]
    assert found[1][3].startswith("1.00") and found[2][3].startswith("0.00")


def test_figures_are_there_exactly_where_there_is_something_to_draw(
    whole: tuple[Report, dict[str, Path], dict[str, Any]], tmp_path: Path
) -> None:
    everything = {f"{name}-{kind}" for name in ("controls", "size", "crossover") for kind in ("rasp", "flowchart")}
    assert set(whole[1]) == everything | {"reliability", "risk-coverage"}
    few = draw(report_of(FEW, ("rasp", "none")), tmp_path)
    assert set(few) == {"controls-rasp", "size-rasp", "reliability", "risk-coverage"}
    alone = tuple(replace(r, size=2, correct=True) for r in report_of((OWN,)).rows)
    assert set(draw(Report(alone, ()), tmp_path)) == {"reliability"}
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["reliability.png"]
    assert draw(Report((), ()), tmp_path) == {}
    assert list((tmp_path / "figures").iterdir()) == []


def test_the_same_report_gives_the_same_bytes(
    whole: tuple[Report, dict[str, Path], dict[str, Any]], tmp_path: Path
) -> None:
    report, first, _ = whole
    again = draw(report, tmp_path)
    assert {name: path.read_bytes() for name, path in again.items()} == {n: p.read_bytes() for n, p in first.items()}
    assert page(report, tables_of(report), again) == page(report, tables_of(report), first)


def test_intervals_lie_in_their_axes_and_nothing_is_cut_off(
    whole: tuple[Report, dict[str, Path], dict[str, Any]],
) -> None:
    for name, figure in whole[2].items():
        assert figure.axes, name
        for axes in figure.axes:
            (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
            ends = np.concatenate([np.zeros((0, 2)), *segments(axes)])
            assert ((ends >= (left, low)) & (ends <= (right, high))).all(), name
        figure.draw_without_rendering()  # lays it out again: while it was saved it had other dots to the inch
        inside = figure.bbox
        for text in figure.findobj(lambda artist: hasattr(artist, "get_text") and bool(artist.get_text())):
            box = text.get_window_extent()
            if text.get_visible() and box.width:
                assert box.x0 >= inside.x0 - 1 and box.x1 <= inside.x1 + 1, f"{name}: {text.get_text()}"
                assert box.y0 >= inside.y0 - 1 and box.y1 <= inside.y1 + 1, f"{name}: {text.get_text()}"


def test_bars_are_the_intervals_of_the_report(whole: tuple[Report, dict[str, Path], dict[str, Any]]) -> None:
    report, _, seen = whole
    agreement, share = seen["controls-flowchart"].axes
    for axes, measure in ((agreement, report.agreement), (share, report.accuracy)):
        ends = [tuple(s[:, 0]) for s in segments(axes) if s[0, 1] == s[1, 1]]
        asked = [c for c in ALL if axes is share or not c.startswith("look-up")]
        assert len(ends) == len(asked)
        for condition in asked:
            found = measure(condition, "flowchart")
            assert (found.low, found.high) in ends
        own = measure(OWN, "flowchart")
        bands = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if p.get_height() == 1.0]
        assert len(bands) == len(asked)
        assert sum(band == pytest.approx((own.low, own.high)) for band in bands) >= len(asked) - 2  # less look-ups


def test_own_weights_stand_beside_a_control_on_its_questions_only() -> None:
    own = [row(target=t, family=f, question=f) for t in "ab" for f in ("program", "output", "uses")]
    control = [replace(r, condition=lookup_name(4)) for r in own if r.family == "output"]
    report = Report((*own, *control), ())
    assert own_beside(report, control) == [r for r in own if r.family == "output"]


def test_a_crossover_is_over_the_same_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right about outputs and wrong about programs: a look-up, which is asked for outputs alone, meets a band at 1."""
    seen, real = [], figures_style.figure

    @contextmanager
    def watched(path: Path, width: float, height: float) -> Iterator[Any]:
        with real(path, width, height) as figure:
            seen.append((path.stem, figure))
            yield figure

    monkeypatch.setattr(figures_style, "figure", watched)
    rows = report_of((OWN, pairs_name(4), lookup_name(4)), ("rasp",)).rows
    draw(Report(tuple(replace(r, correct=r.family == "output") for r in rows), ()), tmp_path)
    every, outputs = dict(seen)["crossover-rasp"].axes
    assert every.get_title(loc="left") == "all 12 questions"
    assert outputs.get_title(loc="left") == "the 6 about an output or an input"
    assert [next(iter(axes.lines[0].get_ydata())) for axes in (every, outputs)] == [0.5, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_labels_are_moved_apart_in_their_order(wanted: list[float]) -> None:
    placed = spread(wanted, 0.1, 1.06)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    assert all(placed[b] - placed[a] >= 0.1 - 1e-9 for a, b in pairwise(order))
    assert max(placed) <= 1.06
    if all(b - a >= 0.1 for a, b in pairwise(sorted(wanted))):
        assert placed == wanted


@given(st.integers(1, 40), st.sets(st.integers(0, 39), max_size=4), st.integers(0, 5))
def test_wrong_answers_are_among_the_transcripts_where_there_are_any(n: int, failures: set[int], seed: int) -> None:
    right = [i not in failures for i in range(n)]
    rows = [row(target=str(i), correct=ok, family=f) for i, ok in enumerate(right) for f in ("output", "program")]
    found = drawn_of(Report(tuple(rows), (), {"options": {"seed": seed}}))
    assert len(found.at_random) == min(NUMBER, len(right))
    assert all([e.own.family for e in t.exchanges] == ["program", "output"] for t in (*found.at_random, *found.failed))
    wrong = [t for t in found.at_random if t.wrong]
    assert len(found.failed) == (0 if wrong else min(MORE, right.count(False)))
    assert all(t.wrong for t in found.failed)


def test_transcripts_are_drawn_by_the_seed_and_not_by_the_order_of_the_rows() -> None:
    report = report_of(FEW, n=30)
    mixed = list(report.rows)
    random.Random(1).shuffle(mixed)
    assert drawn_of(replace(report, rows=tuple(mixed))) == drawn_of(report)
    others = [drawn_of(replace(report, facts={"options": {"seed": seed}})) for seed in range(4)]
    assert len({targets(other) for other in others}) == 4
    # Each target is as likely as any other, whatever is right of it: over many seeds all of them come.
    seen = [set(targets(drawn_of(replace(report, facts={"options": {"seed": seed}})))) for seed in range(40)]
    assert set().union(*seen) == {r.target for r in report.rows}


def test_every_condition_is_explained_and_has_a_place_among_the_bars() -> None:
    names = list(conditions_of(EvalConfig(), drafts=True))
    assert all(meaning_of(name) != name for name in names)
    others = [name for name in names if group_of(name).title == "other methods"]
    assert all(name.startswith(("majority", "nearest", "statistics", "decoder")) for name in others)
    assert [pairs_in(pairs_name(n)) for n in (0, 256)] == [("black box", 0), ("black box", 256)]
    assert pairs_in(lookup_name(16)) == ("look-up", 16)


def targets(found: Drawn) -> tuple[str, ...]:
    return tuple(t.target for t in found.at_random)


def test_a_page_needs_nothing_else_and_shows_what_was_drawn(
    whole: tuple[Report, dict[str, Path], dict[str, Any]],
) -> None:
    report, figures, _ = whole
    found = Parsed(page(report, tables_of(report), figures))
    images = [dict(attrs) for tag, attrs in found.tags if tag == "img"]
    shown_ones = {base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,")) for image in images}
    assert shown_ones == {path.read_bytes() for path in figures.values()}
    assert len({image["alt"] for image in images}) == len(figures)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    assert all((dict(attrs)["href"] or "").startswith("#") for tag, attrs in found.tags if tag == "a")
    verdicts = [
        (r.correct, r.confidence) for r in report.rows if r.condition == OWN and r.target in targets(drawn_of(report))
    ]
    for correct, confidence in verdicts:
        assert f"{'right' if correct else 'wrong'}; confidence {confidence:.2f}" in found.text
    assert "Figures" not in Parsed(page(report, "", {})).text
