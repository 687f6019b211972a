"""One text for one function: the smallest tree over the conditions at hand, and a fixed choice among equals.

A flowchart's conditions and those that may say the same (alternatives.py) cut the input space into cells: combinations
of truth values that some input has. The function is a table cell -> answer; every tree over the conditions that gives
the same table is a candidate. The canonical one asks the fewest questions; among those, none that depends on the order
of positions if it can be helped, and then it is the first in the order of `order_of` along the text.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from tracr_tasks.errors import ProgramError, Reason
from zoo.alternatives import alternatives
from zoo.automaton import reachable_cells
from zoo.conditions import At, Condition, Equals, FirstIn, LastIn, depends_on_order, order_of, renamed
from zoo.flowchart import Flowchart
from zoo.search import Mask, Search
from zoo.tree import Question, Tree, tree_text, walk

MAX_QUESTIONS = 12
"""Different conditions of a flowchart up to which its canonical form is searched for."""
MAX_TREES = 100_000
"""Smallest trees up to which the structure is searched for; eight questions that must all be true make 40,320."""
N = TypeVar("N", bound=Hashable)


def canonical(chart: Flowchart) -> Flowchart:
    """The canonical flowchart of the same function: no unreachable or mergeable branch, questions in a fixed order.

    Raises:
        ProgramError: it has more than 12 different conditions, or they are too entangled (see `automaton`).
    """
    search, everything = _search(chart)
    small = replace(chart, root=search.first(everything))
    same = set(small.conditions()) == set(chart.conditions())
    return small if same else canonical(small)  # other conditions may have other alternatives


def minimal_trees(chart: Flowchart) -> list[Tree]:
    """Every tree that `canonical` chooses from by order alone.

    Raises:
        ProgramError: there are more than 100,000, or what `canonical` raises.
    """
    search, everything = _search(chart)
    if (trees := search.count(everything)) > MAX_TREES:
        raise ProgramError([Reason(None, f"{trees} smallest trees, expected at most {MAX_TREES}")])
    return search.trees(everything)


def structure_text(chart: Flowchart) -> str:
    """A text that does not change when tokens, answers or (where `positions_move`) positions are renamed.

    Names are replaced by their order of first use in the text, and the least such text over all minimal trees is taken;
    that set of trees is itself the same under any renaming. See `minimal_trees` for what is raised.
    """
    return min(tree_text(_anonymous(tree)) for tree in minimal_trees(chart))


def _search(chart: Flowchart) -> tuple[Search, Mask]:
    """The search for the chart's smallest trees, their size found, and the set of all cells."""
    own = tuple(sorted(set(chart.conditions()), key=order_of))
    if len(own) > MAX_QUESTIONS:
        raise ProgramError([Reason(None, f"{len(own)} different conditions, expected at most {MAX_QUESTIONS}")])
    others = alternatives(own, chart.vocab, chart.max_seq_len)
    asked = tuple(sorted({*own, *others}, key=order_of))
    columns, everything = _columns(asked, chart.vocab, chart.max_seq_len)
    column = dict(zip(asked, columns, strict=True))
    answers: dict[str, Mask] = {}
    for answer, cells in _answered(chart.root, column, everything):
        answers[answer] = answers.get(answer, 0) | cells
    search = Search({condition: column[condition] for condition in others}, answers)
    size = search.size(everything, len(chart.conditions()))
    assert size is not None, "the alternatives cannot ask what the flowchart asks"
    free = Search({condition: column[condition] for condition in others if not depends_on_order(condition)}, answers)
    return (free if free.size(everything, size) == size else search), everything


@lru_cache(maxsize=65_536)
def _columns(
    conditions: tuple[Condition, ...], vocab: tuple[str, ...], max_seq_len: int
) -> tuple[tuple[Mask, ...], Mask]:
    """For each condition the reachable cells in which it holds; and all reachable cells."""
    cells = reachable_cells(conditions, vocab, max_seq_len)
    columns = tuple(sum(1 << i for i, cell in enumerate(cells) if cell[j]) for j in range(len(conditions)))
    return columns, (1 << len(cells)) - 1


def _answered(tree: Tree, column: dict[Condition, Mask], cells: Mask) -> Iterator[tuple[str, Mask]]:
    """The answer of each leaf that some of the cells reach, with those cells."""
    if not cells:
        return
    if isinstance(tree, str):
        yield tree, cells
        return
    yield from _answered(tree.yes, column, cells & column[tree.condition])
    yield from _answered(tree.no, column, cells & ~column[tree.condition])


def _anonymous(tree: Tree) -> Tree:
    """Rename tokens, answers and positions by the order of their first use; positions not where their order matters."""
    conditions = [node.condition for node in walk(tree) if isinstance(node, Question)]
    tokens = _numbers(group for condition in conditions for group in _token_groups(condition))
    answers = _numbers([node] for node in walk(tree) if isinstance(node, str))
    positions = _numbers(_positions(condition) for condition in conditions)
    if any(depends_on_order(condition) for condition in conditions):
        positions = {position: position - 1 for position in positions}

    def go(node: Tree) -> Tree:
        """The same node under its new names."""
        if isinstance(node, str):
            return f"y{answers[node]}"
        condition = renamed(node.condition, lambda token: f"x{tokens[token]}", lambda at: positions[at] + 1)
        return Question(condition, go(node.yes), go(node.no))

    return go(tree)


def _numbers(groups: Iterable[Sequence[N]]) -> dict[N, int]:
    """Number names by their first use. Those of one group are used at once: the next use decides, and where all uses
    are the same, it does not matter which is which."""
    uses: dict[N, list[int]] = {}
    for i, group in enumerate(groups):
        for name in group:
            uses.setdefault(name, []).append(i)
    return {name: number for number, name in enumerate(sorted(uses, key=uses.__getitem__))}


def _token_groups(condition: Condition) -> Sequence[Sequence[str]]:
    """Tokens in the order in which a condition uses them; those of a set at once."""
    return [condition.tokens] if isinstance(condition, FirstIn | LastIn) else [[token] for token in condition.tokens]


def _positions(condition: Condition) -> Sequence[int]:
    """Positions that a condition names; two that are compared are used at once."""
    match condition:
        case At(position, _):
            return [position]
        case Equals(position, other):
            return [position, other]
    return []
