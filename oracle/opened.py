"""A target that an oracle has read once, for any number of questions about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from oracle.explain import Dissection, Explanation
from zoo.target import Target

if TYPE_CHECKING:
    from oracle.oracle import Answer, WeightOracle


class OpenTarget:
    """What the reader has made of a target's weights: each question costs no more than its answer.

    The oracle and the target must not change meanwhile.
    """

    @torch.no_grad()
    def __init__(self, oracle: WeightOracle, target: Target):
        """Read the target; it is never run.

        Raises:
            InputError: it is larger than the oracle reads.
        """
        self.oracle, self.target = oracle, target
        self.evidence = oracle.look_at(target)
        """All that the reader is shown."""
        self.prefix = oracle.prefix([self.evidence])
        """What it makes of it, one row."""

    def ask(
        self, questions: str | Sequence[str], samples: int = 0, seed: int = 0, *, explain: bool = False
    ) -> list[Answer]:
        """As `WeightOracle.ask`."""
        asked = [questions] if isinstance(questions, str) else list(questions)
        if not asked:
            return []
        rows, drafts = self.prefix.rows([0] * len(asked)), [self.evidence.draft] * len(asked)
        answers = self.oracle.answer(asked, rows, samples, seed, drafts=drafts)
        return [replace(a, explanation=self.explain(a.question, a.text)) for a in answers] if explain else answers

    def explain(self, question: str, answer: str | None = None) -> Explanation:
        """As `oracle.explain.explain`; the first call reads the target once for each of its parts."""
        return self.dissection.explain(question, self.ask(question)[0].text if answer is None else answer)

    @cached_property
    def dissection(self) -> Dissection:
        """The target without each of its parts."""
        return Dissection(self.oracle, self.target)
