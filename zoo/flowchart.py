"""Flowcharts: yes/no questions about the input sequence that lead to one answer token.

The canonical text is one line, as in `if pos 3 is c then p else if has a then q else r` (tree.py has the grammar).
Sequences always have the full length `max_seq_len`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

import numpy as np
from jaxtyping import Int

from tracr_tasks.errors import ProgramError, Reason
from zoo.conditions import At, AtLeast, Condition, TokenIds, renamed
from zoo.tree import KEYWORDS, Question, Tree, indented_lines, mermaid_lines, tree_text, walk

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
        """A Mermaid diagram of it."""
        lines = ["flowchart TD"]
        mermaid_lines(self.root, lines, count())
        return "\n".join(lines)

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
        out = np.zeros(len(ids), dtype=np.int64)
        _branches(self.root, ids, index, np.ones(len(ids), dtype=bool), out, 0)
        return out

    def leaves(self) -> list[str]:
        """Answers in the order of the text, one a branch."""
        return [node for node in walk(self.root) if isinstance(node, str)]

    def conditions(self) -> list[Condition]:
        """Questions in the order of the text."""
        return [node.condition for node in walk(self.root) if isinstance(node, Question)]

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
            ProgramError: a mapping leads outside the vocabulary, the answers or the length.
        """
        token, answer, position = tokens or {}, answers or {}, positions or {}

        def go(node: Tree) -> Tree:
            if isinstance(node, str):
                return answer.get(node, node)
            condition = renamed(node.condition, lambda t: token.get(t, t), lambda p: position.get(p, p))
            return Question(condition, go(node.yes), go(node.no))

        return replace(self, root=go(self.root))

    def function_hash(self) -> str:
        """16 hex digits: sha256 of the vocabulary, the length and the answers (as strings) on `input_ids`."""
        ids = input_ids(len(self.vocab), self.max_seq_len)
        digest = hashlib.sha256(repr(("flowchart", self.vocab, self.max_seq_len)).encode())
        digest.update("\n".join(np.array(self.answers, dtype=object)[self.run_batch(ids)]).encode())
        return digest.hexdigest()[:16]

    def structure_hash(self) -> str:
        """16 hex digits, equal for two flowcharts that differ only in the names of tokens, answers and positions."""
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


def _branches(
    tree: Tree, ids: TokenIds, index: Mapping[str, int], here: np.ndarray, out: np.ndarray, first: int
) -> int:
    """Write the numbers of the leaves below `tree`, from `first`, to the rows `here`; the next free number."""
    if isinstance(tree, str):
        out[here] = first
        return first + 1
    holds = tree.condition.holds_batch(ids, index)
    middle = _branches(tree.yes, ids, index, here & holds, out, first)
    return _branches(tree.no, ids, index, here & ~holds, out, middle)


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
        condition = node.condition
        if condition.token not in chart.vocab:
            yield f"token {condition.token!r} is not one of {', '.join(chart.vocab)}"
        if isinstance(condition, At) and not 1 <= condition.position <= chart.max_seq_len:
            yield f"position {condition.position} is not in 1 to {chart.max_seq_len}"
        if isinstance(condition, AtLeast) and not 2 <= condition.count <= chart.max_seq_len:
            yield f"count {condition.count} is not in 2 to {chart.max_seq_len}"


def _name_problems(field: str, names: Sequence[str]) -> Iterator[str]:
    if not names:
        yield f"{field} is empty"
    if len(set(names)) != len(names):
        yield f"{field} names one token twice"
    for name in names:
        if name in KEYWORDS or name in ("BOS", "PAD") or name.split() != [name] or not name.isprintable():
            yield f"{field}: {name!r} cannot be a token (a keyword, BOS, PAD, empty, or with spaces)"
