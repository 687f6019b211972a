"""Transcripts as HTML: each question with the truth and what was said, from own weights and under two controls."""

from __future__ import annotations

from collections.abc import Sequence

from oracle.calibration import SURE
from oracle.evaluation.conditions import OWN
from oracle.evaluation.page_text import escaped, lines
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row
from oracle.evaluation.tables import NAMES, SPLITS
from oracle.evaluation.transcripts import Drawn, Exchange, Transcript, drawn_of

SIZED = {"rasp": "operation", "flowchart": "condition"}


def transcripts(report: Report) -> str:
    """Targets drawn under the report's seed, with all their answers."""
    drawn = drawn_of(report)
    parts = [f"<p>{_how(report, drawn)}</p>", *map(_target, drawn.at_random)]
    if drawn.failed:
        parts += [
            "<h3>Wrong answers</h3>",
            f"<p>No answer above is wrong. So here are {len(drawn.failed)} targets more, drawn at random from those "
            "with a wrong answer.</p>",
            *map(_target, drawn.failed),
        ]
    return "\n".join(parts)


def _how(report: Report, drawn: Drawn) -> str:
    """How they were drawn, and how many answers are wrong here and in the whole report."""
    own = [r for r in report.rows if r.condition == OWN]
    here = [e for t in drawn.at_random for e in t.exchanges]
    return (
        f"{len(drawn.at_random)} of {len({r.target for r in own})} targets, drawn at random under the report's seed "
        f"({escaped(drawn.seed)}); nobody chose them. Of their {len(here)} answers from own weights "
        f"{sum(t.wrong for t in drawn.at_random)} are wrong; in the whole report, of {len(own)}, "
        f"{sum(not r.correct for r in own)}. The truth is one right answer; others may be right too."
    )


def _target(transcript: Transcript) -> str:
    row = transcript.exchanges[0].own
    size = f"{_count(row.size, SIZED[row.kind])}, " if row.kind in SIZED else ""
    like = f"{NAMES.get(row.kind, row.kind)}, {size}{_count(row.n_layers, 'layer')}, width {row.d_model}"
    split = SPLITS.get(row.split, row.split) + (f", part {row.part}" if row.part else "")
    told = "\n".join(map(_exchange, transcript.exchanges))
    return (
        f'<article class="target"><h3>{escaped(transcript.target)}</h3>\n'
        f'<p class="soft">{escaped(f"{like}; {split}")}</p>\n{told}\n</article>'
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _exchange(exchange: Exchange) -> str:
    own, beside = exchange
    boxes = [_box("truth", "truth", own.truth, []), *(_answer(r) for r in (own, *beside))]
    wide = " program" if own.family == "program" else ""
    asked = f'<p class="question">{escaped(own.question)}</p>'
    return f'{asked}\n<div class="answers{wide}">\n' + "\n".join(boxes) + "\n</div>"


def _answer(row: Row) -> str:
    """What was said under one condition, and whether it is right."""
    verdict = "right" if row.correct else "wrong"
    told = [f"<strong>{verdict}</strong>"]
    if row.condition == OWN:
        told.append(f"confidence {row.confidence:.2f}" + ("" if row.confidence >= SURE else " (abstains: best guess)"))
    if row.family == "program" and row.parsed and not row.correct:
        told.append(f"agrees on {row.agreement:.0%} of inputs")
    told += [] if row.parsed else ["not in the form asked for"]
    told += [f"of {escaped(row.donor)}"] if row.donor else []
    told += ["right about that one"] if row.of_donor else []
    return _box(f"{verdict} own" if row.condition == OWN else verdict, row.condition, row.answer, told)


def _box(classes: str, name: str, text: str, told: Sequence[str]) -> str:
    """`told` is HTML already."""
    shown = f"<pre>{lines(text)}</pre>" if text else '<p class="soft">(nothing)</p>'
    return f'<div class="answer {classes}"><p>{"; ".join([escaped(name), *told])}</p>{shown}</div>'
