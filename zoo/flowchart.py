"""Flowcharts: yes/no questions about the input sequence that lead to one answer token.

The canonical text is one line, as in `if pos 3 is c then p else if has a then q else r` (tree.py has the grammar).
Sequences always have the full length `max_seq_len`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from tracr_tasks.errors import ProgramError, Reason
from zoo.conditions import At, AtLeast, Before, Condition, Equals, FirstIn, LastIn, TokenIds, depends_on_order, renamed
from zoo.tree import KEYWORDS, Question, Tree, indented_lines, leaf_numbers, tree_text, walk

MAX_EXHAUSTIVE = 50_000
"""A set of inputs up to this size is taken whole; a larger one is sampled."""
N_SAMPLED = 4_096
"""Inputs of the function hash where there are too many to take them all."""


@dataclass(frozen=True)
class Flowchart:
    """A decision tree over sequences of `max_seq_len` tokens of `vocab`, with leaves from `answers`.

    Raises:
        ProgramError: a token, answer, position or count that does not fit, with every reason at once.
    """

    root: Tree
    """The first question, or the only answer."""
    vocab: tuple[str, ...]
    """Input tokens, in the order of their ids (BOS and PAD not counted)."""
    answers: tuple[str, ...]
    """Output tokens, in the order of their ids."""
    max_seq_len: int
    """Length of every input sequence."""

    def __post_init__(self) -> None:
        if reasons := [Reason(None, text) for text in _problems(self)]:
            raise ProgramError(reasons)

    def text(self) -> str:
        """Canonical grammar on one line; `parse_flowchart` reads it back."""
        return tree_text(self.root)

    def indented(self) -> str:
        """For people: one question or answer a line, indented by depth."""
        return "\n".join(indented_lines(self.root))

    def mermaid(self) -> str:
        """A Mermaid diagram of it (mermaid.py)."""
        from zoo.mermaid import mermaid

        return mermaid(self.root)

    def run(self, tokens: Sequence[str]) -> list[str]:
        """The answer to one sequence, as a list of one.

        Raises:
            ProgramError: the sequence has another length, or a token outside the vocabulary.
        """
        if len(tokens) != self.max_seq_len or not set(tokens) <= set(self.vocab):
            raise ProgramError(
                [Reason(None, f"input {list(tokens)!r}: expected {self.max_seq_len} tokens of {list(self.vocab)}")]
            )
        node = self.root
        while isinstance(node, Question):
            node = node.yes if node.condition.holds(tokens) else node.no
        return [node]

    def run_batch(self, ids: TokenIds, lengths: Int[np.ndarray, " batch"] | None = None) -> Int[np.ndarray, " batch"]:
        """Answer of each sequence, as an index into `answers`; ids index `vocab`; lengths, if given, are all full."""
        assert ids.shape[1] == self.max_seq_len and (lengths is None or bool((lengths == self.max_seq_len).all()))
        order = np.array([self.answers.index(answer) for answer in self.leaves()], dtype=np.int64)
        return np.asarray(order[self.branch_batch(ids)])

    def branch_batch(self, ids: TokenIds) -> Int[np.ndarray, " batch"]:
        """Which leaf each sequence reaches, counted from 0 in the order of the text."""
        index = {token: i for i, token in enumerate(self.vocab)}
        return leaf_numbers(self.root, lambda condition: condition.holds_batch(ids, index), len(ids))

    def branch_shares(self) -> tuple[float, ...]:
        """Share of all inputs that reaches each leaf, in the order of the text; exact (branches.py)."""
        from zoo.branches import branch_shares

        return branch_shares(self)

    def leaves(self) -> list[str]:
        """Answers in the order of the text, one a branch."""
        return [node for node in walk(self.root) if isinstance(node, str)]

    def conditions(self) -> list[Condition]:
        """Questions in the order of the text."""
        return [node.condition for node in walk(self.root) if isinstance(node, Question)]

    @property
    def positions_move(self) -> bool:
        """Whether positions may be renamed: no condition speaks of first or last."""
        return not any(depends_on_order(condition) for condition in self.conditions())

    def relabel(
        self,
        tokens: Mapping[str, str] | None = None,
        answers: Mapping[str, str] | None = None,
        positions: Mapping[int, int] | None = None,
    ) -> Flowchart:
        """Rename input tokens, answers and positions; names that a mapping lacks stay as they are.

        The order of `vocab` and `answers` stays, so token id i of the result means the i-th name of the same tuples.
        The result is not canonical: canonical.py makes it so.

        Raises:
            ProgramError: a mapping leads outside the vocabulary, the answers or the length, or positions are to move in
                a flowchart that depends on their order.
        """
        token, answer, position = tokens or {}, answers or {}, positions or {}
        if not self.positions_move and any(old != new for old, new in position.items()):
            reason = "its positions cannot be renamed: a condition speaks of first or last"
            raise ProgramError([Reason(None, reason)])

        def go(node: Tree) -> Tree:
            if isinstance(node, str):
                return answer.get(node, node)
            condition = renamed(node.condition, lambda t: token.get(t, t), lambda p: position.get(p, p))
            return Question(condition, go(node.yes), go(node.no))

        return replace(self, root=go(self.root))

    def function_hash(self) -> str:
        """16 hex digits: sha256 of the vocabulary, the length and the answers (as strings) on `input_ids`.

        Where a branch of the canonical form is reached by none of those inputs (there are too many to take them all,
        and the branch is rare), the canonical text is hashed with them.
        """
        ids = input_ids(len(self.vocab), self.max_seq_len)
        digest = hashlib.sha256(repr(("flowchart", self.vocab, self.max_seq_len)).encode())
        digest.update("\n".join(np.array(self.answers, dtype=object)[self.run_batch(ids)]).encode())
        if len(self.vocab) ** self.max_seq_len > len(ids):
            from zoo.canonical import canonical

            small = canonical(self)
            if len(np.unique(small.branch_batch(ids))) < len(small.leaves()):
                digest.update(small.text().encode())
        return digest.hexdigest()[:16]

    def structure_hash(self) -> str:
        """16 hex digits, equal for two flowcharts that differ only in the names of tokens, answers and positions.

        Where a condition depends on the order of positions, their names count.
        """
        from zoo.canonical import structure_text

        return hashlib.sha256(structure_text(self).encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def input_ids(vocab_size: int, max_seq_len: int) -> TokenIds:
    """The inputs that the function hash is taken on, in a fixed order.

    Every sequence, in lexicographic order, where there are at most 50,000; otherwise 4,096 sequences drawn uniformly by
    numpy's PCG64 under the seed (vocab_size, max_seq_len).
    """
    total = vocab_size**max_seq_len
    if total <= MAX_EXHAUSTIVE:
        powers = vocab_size ** np.arange(max_seq_len - 1, -1, -1, dtype=np.int64)
        return np.asarray(np.arange(total, dtype=np.int64)[:, None] // powers % vocab_size)
    rng = np.random.Generator(np.random.PCG64([vocab_size, max_seq_len]))
    return rng.integers(0, vocab_size, (N_SAMPLED, max_seq_len), dtype=np.int64)


def _problems(chart: Flowchart) -> Iterator[str]:
    """Every reason to refuse a flowchart."""
    yield from _name_problems("vocab", chart.vocab)
    yield from _name_problems("answers", chart.answers)
    if chart.max_seq_len < 1:
        yield f"max_seq_len {chart.max_seq_len}: expected at least 1"
    for node in walk(chart.root):
        if isinstance(node, str):
            if node not in chart.answers:
                yield f"answer {node!r} is not one of {', '.join(chart.answers)}"
            continue
        yield from _condition_problems(node.condition, chart)


def _condition_problems(condition: Condition, chart: Flowchart) -> Iterator[str]:
    """Every reason why a condition does not fit."""
    for token in condition.tokens:
        if token not in chart.vocab:
            yield f"token {token!r} is not one of {', '.join(chart.vocab)}"
    match condition:
        case At(position, _):
            yield from _position_problems(position, chart)
        case AtLeast(count, _) if not 2 <= count <= chart.max_seq_len:
            yield f"count {count} is not in 2 to {chart.max_seq_len}"
        case Before(token, other) if token == other:
            yield f"token {token!r} is compared with itself"
        case Equals(position, other_position):
            yield from _position_problems(position, chart)
            yield from _position_problems(other_position, chart)
            if position == other_position:
                yield f"position {position} is compared with itself"
        case FirstIn(tokens) | LastIn(tokens):
            if not tokens:
                yield "a set has no tokens"
            for token in tokens:
                if set(token) & set("{},"):
                    yield f"token {token!r} cannot stand in a set (it has a comma or a brace)"


def _position_problems(position: int, chart: Flowchart) -> Iterator[str]:
    if not 1 <= position <= chart.max_seq_len:
        yield f"position {position} is not in 1 to {chart.max_seq_len}"


def _name_problems(field: str, names: Sequence[str]) -> Iterator[str]:
    if not names:
        yield f"{field} is empty"
    if len(set(names)) != len(names):
        yield f"{field} names one token twice"
    for name in names:
        if name in KEYWORDS or name in ("BOS", "PAD") or name.split() != [name] or not name.isprintable():
            yield f"{field}: {name!r} cannot be a token (a keyword, BOS, PAD, empty, or with spaces)"
