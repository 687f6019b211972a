"""Answers as HTML. Names, questions, answers and errors are anybody's words: all of them stay text."""

from __future__ import annotations

import base64

from oracle.app.catalogue import KINDS, Entry
from oracle.app.service import Asked, Judged, Look, Rests
from oracle.console import SLIPPED
from oracle.evaluation.page_text import escaped, lines
from oracle.grade import Grade
from oracle.part_questions import has_parts
from tracr_tasks.errors import WeightOracleError
from zoo.files import shown
from zoo.flowchart import Flowchart
from zoo.tree import Tree

TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
"""Characters that a template language on the way to the screen might take for its own."""
LONGEST_ERROR = 600


def text(words: object) -> str:
    """One line of anybody's words."""
    return escaped(words).translate(TEMPLATE)


def block(words: str) -> str:
    """Several lines of anybody's words."""
    return f"<pre>{lines(words).translate(TEMPLATE)}</pre>"


def notice(error: WeightOracleError) -> str:
    """What is wrong with what somebody asked for or uploaded, in one line."""
    line = shown(" ".join(str(error).split()), LONGEST_ERROR)
    return f'<p class="wo-notice" role="alert">{text(line)}</p>'


def shape(look: Look) -> str:
    """Shape and circuits of a target."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in look.facts)
    return f'<dl class="wo-facts">{rows}</dl>{_pictures(look)}'


def _pictures(look: Look) -> str:
    if not look.pictures:
        return '<p class="wo-soft">It has no heads, so no circuits to draw.</p>'
    drawn, there = look.drawn
    some = f"the first {drawn} of {there} heads" if drawn < there else f"all {there} heads" if there > 1 else "its head"
    first, *others = (
        f'<img alt="Heat map of QK and OV circuits" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for png in look.pictures
    )
    more = f"<details><summary>more heads</summary>{others[0]}</details>" if others else ""
    return (
        f'<figure class="wo-circuits">{first}{more}<figcaption>Circuits of {some} in the token basis, along the direct '
        "path. QK: the score that a key (column) gets from a query (row). OV: what attending to a label (row) adds to "
        "an output (column). @1 is position 1. Red is positive, blue negative.</figcaption></figure>"
    )


def answers(asked: Asked) -> str:
    """The answer about a target, beside that about another one, then truth and program."""
    own = _card("From its own weights", asked.own, "own")
    other = "" if asked.other is None else _card("From another target's weights", asked.other, "other", asked)
    program = _program(asked.entry)
    return (
        f'<p class="wo-question">{text(asked.question)}</p><div class="wo-cards">{own}{other}</div>'
        f"{_truth(asked)}{program}"
    )


def _card(title: str, judged: Judged, kind: str, beside: Asked | None = None) -> str:
    said = judged.said
    verdict = _verdict(judged.grade, "right", "wrong")
    parts = [f"<h3>{title}</h3>", f'<p class="wo-soft">{text(_name(said.key))}</p>', block(said.text or "(no answer)")]
    abstains = "" if said.sure else " <strong>abstains</strong>: this is its best guess"
    parts.append(
        f'<p>confidence <strong class="wo-confidence">{said.confidence:.2f}</strong>{abstains}</p>'
        f'<div class="wo-meter"><span style="width:{100 * min(1.0, max(0.0, said.confidence)):.0f}%"></span></div>'
    )
    if verdict:
        parts.append(f'<p class="wo-verdict">{verdict}</p>')
    if beside is not None:
        parts += _about_other(beside, judged)
    if said.draft is not None:
        known = "certified: it has these weights" if said.certified else f"probability {said.draft_probability:.2f}"
        tried = f'<p class="wo-soft">tried with it: {text(said.tried)}</p>' if said.tried else ""
        slipped = f'<p class="wo-soft">{text(SLIPPED)}</p>' if said.slipped else ""
        inside = block(said.draft) + tried + slipped
        parts.append(f"<details><summary>the draft that it was shown ({known})</summary>{inside}</details>")
    return f'<section class="wo-card wo-{kind}">{"".join(parts)}</section>'


def _about_other(asked: Asked, judged: Judged) -> list[str]:
    """What is to be seen in the answer about another target: its own truth, and that it is no answer about this one."""
    out = []
    if judged.truth is not None and judged.truth != asked.own.truth:
        out.append(f'<p class="wo-soft">true of that one:</p>{block(judged.truth)}')
    if asked.mistaken is not None:
        verdict = _verdict(asked.mistaken, "would be right too", "would be wrong")
        out.append(f'<p class="wo-mistaken">about the first target it {verdict}</p>')
    return out


def _name(key: str) -> str:
    return "your upload" if key.startswith("upload-") else key


def _verdict(grade: Grade | None, right: str, wrong: str) -> str:
    """Right or wrong, and for a program on how many inputs."""
    if grade is None:
        return ""
    said = right if grade.correct else wrong
    partly = f", the same on {grade.agreement:.0%} of inputs" if 0 < grade.agreement < 1 else ""
    return f'<strong class="wo-{"right" if grade.correct else "wrong"}">{said}</strong>{partly}'


def _truth(asked: Asked) -> str:
    if asked.own.truth is None:
        why = (
            "nobody told the program of an upload" if asked.entry.subject is None else "the question is in other words"
        )
        return f'<p class="wo-truth wo-soft">Truth: not known here ({why}), so nothing is graded.</p>'
    return f'<div class="wo-truth"><h3>Truth</h3>{block(asked.own.truth)}</div>'


def _program(entry: Entry) -> str:
    """The program of a target as a diagram, where it is known."""
    subject = entry.subject
    if subject is None or subject.program is None:
        return ""
    if isinstance(subject.program, Flowchart):
        shown_as, source = f'<div class="wo-tree">{tree(subject.program.root)}</div>', subject.program.mermaid()
    else:
        shown_as, source = _lines_of_program(entry)
    mermaid = f"<details><summary>as a Mermaid diagram</summary>{block(source)}</details>" if source else ""
    return (
        f'<div class="wo-program"><h3>Program of {text(_name(entry.key))} '
        f'<span class="wo-soft">({KINDS[subject.kind]}, {text(subject.regime)})</span></h3>{shown_as}{mermaid}</div>'
    )


def tree(node: Tree) -> str:
    """A flowchart as nested boxes: a question, then what follows on yes and on no."""
    if isinstance(node, str):
        return f'<div class="wo-leaf">answer {text(node)}</div>'
    return (
        f'<div class="wo-node">{text(node.condition.text())}?</div><ul>'
        f'<li><span class="wo-yes">yes</span>{tree(node.yes)}</li>'
        f'<li><span class="wo-no">no</span>{tree(node.no)}</li></ul>'
    )


def _lines_of_program(entry: Entry) -> tuple[str, str]:
    """A RASP program, with what computes each line where the target is what it compiles to, and its Mermaid text."""
    subject = entry.subject
    assert subject is not None
    if not has_parts(subject):
        return block(subject.text), ""
    from tracr_tasks.compiler.compile import compile_program
    from tracr_tasks.diagram import mermaid
    from tracr_tasks.explanation import program_lines

    compiled = compile_program(subject.program)
    told = [line.rpartition("# ")[::2] for line in program_lines(compiled)[3:]]  # a line and what is known of it
    rows = ((code, note) if code else note.partition(": ")[::2] for code, note in told)  # inputs have no line
    notes = "".join(f"<dt>{text(code)}</dt><dd>{text(note)}</dd>" for code, note in rows)
    return f'<dl class="wo-lines">{notes}</dl>', mermaid(compiled)


def parts(found: Rests) -> str:
    """Bars of how much the loss on an answer rises without each part of a target, and with a random part added."""
    control = [] if found.control is None else [("random part", found.control)]
    rows = [(name, rise, "") for name, rise in found.parts] + [(name, rise, " wo-control") for name, rise in control]
    top = max((rise for _, rise, _ in rows), default=0.0)
    bars = "".join(
        f'<div class="wo-bar{kind}"><span class="wo-part">{text(name)}</span><span class="wo-track"><span '
        f'style="width:{100 * max(0.0, rise) / top if top > 0 else 0:.1f}%"></span></span>'
        f'<span class="wo-rise">{rise:+.2f}</span></div>'
        for name, rise, kind in rows
    )
    said = "" if found.control is None else " Grey: the largest rise when a random head or neuron is added instead."
    return (
        '<div class="wo-parts"><h3>What the answer rests on</h3><p class="wo-soft">Nats by which the loss on the '
        f"answer rises when the target is read without this part.{said}</p>{bars}</div>"
    )
