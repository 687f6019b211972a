"""Changes of one rule of a flowchart: the answer of one branch, or one token that a question names."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tracr_tasks.errors import ProgramError
from zoo.canonical import canonical
from zoo.conditions import Condition, renamed
from zoo.flowchart import Flowchart
from zoo.tree import Question, Tree

Change = tuple[str, Tree]
"""What changes in a part of a tree, and the whole tree after it."""
Around = Callable[[Tree], Tree]
"""From a part of a tree to the whole tree with it."""


def rule_changes(chart: Flowchart, rng: random.Random) -> Iterator[tuple[str, Flowchart]]:
    """Every change of one rule of a canonical flowchart that gives a canonical one of another function.

    Each is the rule before and after, as in `has a -> has c`, and the changed flowchart. They come in a random order in
    which the rules take turns. A change after which branches could be merged, or questions would be in another order,
    is left out: the two texts differ in one name.
    """
    turns = [rng.sample(found, len(found)) for found in _changes_by_rule(chart)]
    rng.shuffle(turns)
    while turns := [found for found in turns if found]:
        for found in turns:
            what, root = found.pop()
            after = replace(chart, root=root)
            if _is_canonical(after) and after.function_hash() != chart.function_hash():
                yield what, after


def _is_canonical(chart: Flowchart) -> bool:
    try:
        return canonical(chart) == chart
    except ProgramError:
        return False


def _changes_by_rule(chart: Flowchart) -> list[list[Change]]:
    """The changes of each question's and each branch's rule."""

    def go(node: Tree, around: Around, path: Sequence[str]) -> Iterator[list[Change]]:
        """Those of a part of the tree, which lies behind some questions."""
        if isinstance(node, str):
            where = f" where {' and '.join(path)}" if path else ""
            yield [(f"{node} -> {other}{where}", around(other)) for other in chart.answers if other != node]
            return
        asked, yes, no = node.condition, node.yes, node.no
        others = _other_conditions(asked, chart.vocab)
        yield [(f"{asked.text()} -> {other.text()}", around(Question(other, yes, no))) for other in others]
        yield from go(yes, lambda tree: around(Question(asked, tree, no)), (*path, asked.text()))
        yield from go(no, lambda tree: around(Question(asked, yes, tree)), (*path, f"not {asked.text()}"))

    return list(go(chart.root, lambda tree: tree, ()))


def _other_conditions(condition: Condition, vocab: Sequence[str]) -> Iterator[Condition]:
    """The condition with one of its tokens replaced by a token that it does not name; none where it names no token."""
    for old in condition.tokens:
        for new in vocab:
            if new not in condition.tokens:
                yield renamed(condition, {**dict(zip(vocab, vocab, strict=True)), old: new}.__getitem__)
