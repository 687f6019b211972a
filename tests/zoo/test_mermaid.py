from __future__ import annotations

import re
from collections import Counter

from hypothesis import given

from tests.zoo.charts import ANSWERS, LENGTH, VOCAB, chart_of, trees
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.tree import Question, Tree, walk


@given(trees)
def test_each_node_is_declared_once_and_has_its_arrows(tree: Tree) -> None:
    first, *lines = chart_of(tree).mermaid().splitlines()
    assert first == "flowchart TD" and chart_of(tree).mermaid().splitlines()[1:] == lines
    declared = [found[1] for line in lines if (found := re.match(r"    (n\d+)[({]", line))]
    arrows = [found.groups() for line in lines if (found := re.fullmatch(r"    (n\d+) -->\|(yes|no)\| (n\d+)", line))]
    nodes = list(walk(tree))
    assert declared == [f"n{i}" for i in range(len(nodes))]
    assert len(declared) + len(arrows) == len(lines)
    assert sorted(target for _, _, target in arrows) == sorted(declared[1:])
    questions = [name for name, node in zip(declared, nodes, strict=True) if isinstance(node, Question)]
    assert Counter((a, w) for a, w, _ in arrows) == Counter((q, w) for q in questions for w in ("yes", "no"))


@given(trees)
def test_the_diagram_leads_to_the_answers_of_the_text(tree: Tree) -> None:
    chart = chart_of(tree)
    labels = re.findall(r'(n\d+)(?:\(\[|\{)"(.*)"', chart.mermaid())
    arrows = {(a, w): b for a, w, b in re.findall(r"(n\d+) -->\|(yes|no)\| (n\d+)", chart.mermaid())}
    label, node = dict(labels), chart.root
    at = "n0"
    while isinstance(node, Question):  # always to the no side, whose number depends on the size of the yes side
        at, node = arrows[at, "no"], node.no
    assert label[at] == node


def test_known_diagram() -> None:
    chart = parse_flowchart("if pos 3 is c then p else if first in {a, b} then q else r", VOCAB, ANSWERS, LENGTH)
    assert chart.mermaid() == "\n".join(
        [
            "flowchart TD",
            '    n0{"pos 3 is c?"}',
            '    n1(["p"])',
            "    n0 -->|yes| n1",
            '    n2{"first in #123;a, b#125;?"}',
            '    n3(["q"])',
            "    n2 -->|yes| n3",
            '    n4(["r"])',
            "    n2 -->|no| n4",
            "    n0 -->|no| n2",
        ]
    )


def test_special_characters_are_escaped() -> None:
    names = ('"', "<b>", "#lt;", "a]", "%%", "`x`", "[a](b)")
    text = "if has {} then {} else if has {} then {} else {}".format(*names[:5])
    lines = Flowchart(parse_flowchart(text, names, names, 3).root, names, names, 3).mermaid().splitlines()
    labels = [found[1] for line in lines if (found := re.search(r'"(.*)"', line))]
    assert len(labels) == 5
    assert not any(set(re.sub(r"#\w+;", "", label)) & set('"<>#;[]{}%`&*_') for label in labels)
