"""Text from a zoo, a model or a table as HTML: it stays text, whatever is written in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from oracle.evaluation.conditions import OWN
from zoo.files import shown

LONGEST = 4_000
"""Characters of a text that are shown."""
NUMBER = re.compile(r"-?[0-9.,]+%?( \[-?[0-9.]+, -?[0-9.]+\])?")


def escaped(text: object) -> str:
    """One line of text; control, direction and other invisible characters are written out."""
    return html.escape(shown(text, LONGEST))


def lines(text: str) -> str:
    """Text of several lines, for `pre`."""
    return "\n".join(map(escaped, text[:LONGEST].split("\n")))


def from_markdown(text: str) -> str:
    """The Markdown of our own tables as HTML: headings from the second level on, tables, paragraphs, bold and code.

    A heading of the first level is left out: it is the page's own. There are no links, images or tags: what looks like
    one is text.
    """
    blocks = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    return "\n".join(filter(None, map(_block, blocks)))


def _block(block: str) -> str:
    if block.startswith("|"):
        return _table(block.split("\n"))
    if level := len(block) - len(block.lstrip("#")):
        place = min(level + 1, 6)
        return f"<h{place}>{_inline(block[level:].strip())}</h{place}>" if level > 1 else ""
    if re.fullmatch(r"\*\*[^*\n]+\*\*", block):
        return f"<h4>{escaped(block[2:-2])}</h4>"
    return f"<p>{_inline(block)}</p>" if block else ""


def _table(source: Sequence[str]) -> str:
    """A table in a box of its own, which scrolls where the window is narrow."""
    head, *body = ([cell.strip() for cell in row.strip().strip("|").split("|")] for row in source)
    rows = [row for row in body if not all(re.fullmatch(":?-+:?", cell) for cell in row)]
    names = "".join(f'<th scope="col">{_inline(name)}</th>' for name in head)
    cells = "\n".join(_row(row, head) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(", ".join(head[:2]))}"><table>'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{cells}\n</tbody></table></div>"
    )


def _row(row: Sequence[str], head: Sequence[str]) -> str:
    """A row of a table: the words before the first number name it."""
    named = len(list(takewhile(_is_name, row)))
    marked = ' class="own"' if row[0] == OWN else ""
    return f"<tr{marked}>{''.join(_cells(row, head, max(1, named)))}</tr>"


def _is_name(cell: str) -> bool:
    return bool(cell) and not NUMBER.fullmatch(cell)


def _cells(row: Sequence[str], head: Sequence[str], named: int) -> Iterator[str]:
    for i, cell in enumerate(row):
        if i < named:
            yield f'<th scope="row">{_inline(cell)}</th>'
            continue
        classes = ["n"] * bool(NUMBER.fullmatch(cell)) + ["own"] * (i < len(head) and head[i] == OWN)
        marked = f' class="{" ".join(classes)}"' if classes else ""
        yield f"<td{marked}>{_inline(cell)}</td>"


def _inline(text: str) -> str:
    """Bold and code in a line of text."""
    safe = " ".join(map(escaped, text.split("\n")))
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
