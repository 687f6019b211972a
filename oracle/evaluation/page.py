"""The page of a report: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oracle.evaluation.conditions import OWN
from oracle.evaluation.figures import DRAWINGS
from oracle.evaluation.page_style import CSS
from oracle.evaluation.page_text import escaped, from_markdown
from oracle.evaluation.page_transcripts import transcripts
from oracle.evaluation.page_words import meaning_of
from oracle.evaluation.report import Report
from oracle.evaluation.tables import NAMES

TITLE = "Evaluation of a weight oracle"
LEAD = (
    "An oracle reads the weights of a model that it has not seen and answers questions about it. Here are the same "
    "questions under every condition, graded by running something: programs are compared by what they do, a proposed "
    "input is given to the model."
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for this page: nothing from elsewhere, and no scripts."""
FACTS = {
    "version": "weight-oracle",
    "grader": "version of the grader",
    "oracle": "oracle, sha256",
    "zoo": "zoo, content hash",
    "targets": "targets",
    "contamination": "contamination",
}


def page(report: Report, tables: str, figures: Mapping[str, Path]) -> str:
    """The whole page; the same report, tables and figures give the same text.

    Args:
        tables: Markdown, of `tables_of`.
        figures: names and PNG files, of `draw`.

    Raises:
        OSError: a figure that cannot be read.
    """
    sections = {
        "measured": ("What was measured", _measured(report)),
        "tables": ("Tables", from_markdown(tables)),
        "figures": ("Figures", "\n".join(_figures(figures))),
        "transcripts": ("Transcripts", transcripts(report)),
    }
    kept = {name: section for name, section in sections.items() if section[1]}
    links = " ".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in kept.items())
    body = "\n".join(f'<section id="{n}">\n<h2>{title}</h2>\n{text}\n</section>' for n, (title, text) in kept.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{TITLE}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<header>\n<h1>{TITLE}</h1>\n<p>{LEAD}</p>\n"
        f"<nav>{links}</nav>\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _measured(report: Report) -> str:
    """Facts of the report, its options, and what its conditions are."""
    facts = {FACTS.get(k, k): v for k, v in report.facts.items() if k != "options"}
    own = [r for r in report.rows if r.condition == OWN]
    by_kind = {NAMES.get(k, k): len({r.target for r in own if r.kind == k}) for k in report.kinds}
    facts["targets by kind"] = ", ".join(f"{number} {kind}" for kind, number in by_kind.items())
    facts["answers"] = f"{len(report.rows)}, of them {len(own)} from own weights"
    meanings = {condition: meaning_of(condition) for condition in report.conditions}
    folded = [
        f"<details><summary>{title}</summary>{_list(told)}</details>"
        for title, told in (("Options", report.facts.get("options", {})), ("What each condition is", meanings))
        if told
    ]
    return "\n".join([_list(facts), *folded])


def _list(told: Mapping[str, Any]) -> str:
    return f"<dl>{''.join(f'<dt>{escaped(k)}</dt><dd>{escaped(_plain(v))}</dd>' for k, v in told.items())}</dl>"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "all"
    return "not given" if value is None else str(value).removeprefix("contamination: ")


def _figures(figures: Mapping[str, Path]) -> Iterator[str]:
    """Each drawing that there is, those of two kinds of targets beside each other; then figures of other names."""
    left = dict(figures)
    for drawing in DRAWINGS:
        named = {name: kind for name, kind in drawing.names() if name in left}
        images = [_image(left.pop(n), ", ".join(filter(None, (drawing.title, kind)))) for n, kind in named.items()]
        if images:
            yield _figure(drawing.title, images, drawing.caption)
    for name, path in left.items():
        yield _figure(name, [_image(path, name)], "")


def _figure(title: str, images: list[str], caption: str) -> str:
    alone = ' class="alone"' if len(images) == 1 else ""
    return (
        f'<h3>{escaped(title)}</h3>\n<figure{alone}><div class="sheets">\n' + "\n".join(images) + "\n</div>"
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def _image(path: Path, alt: str) -> str:
    """A PNG as part of the page, with the size that its header gives."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    source = base64.b64encode(data).decode()
    return f'<img src="data:image/png;base64,{source}" width="{width}" height="{height}" alt="{escaped(alt)}">'
