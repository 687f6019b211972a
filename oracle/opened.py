"""A target that an oracle has read once, for any number of questions about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from oracle.explain import Dissection, Explanation
from oracle.stand_ins import StandIns
from oracle.trials import Draft
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
        self.oracle = oracle
        self.names = StandIns(target.vocab, keep=oracle.reads_words)
        """Plain names for its labels, and the way there and back."""
        self.target = replace(target, vocab=self.names.vocab)
        """The target under these names."""
        self.evidence = oracle.look_at(self.target)
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
        rows, shown = self.prefix.rows([0] * len(asked)), [self.evidence] * len(asked)
        answers = self.oracle.answer(list(map(self.names.inward, asked)), rows, samples, seed, evidence=shown)
        if explain:
            found = [self.dissection.explain(answer.question, answer.text, answer.trial) for answer in answers]
            answers = [replace(a, explanation=each) for a, each in zip(answers, found, strict=True)]
        return [self._outward(answer, question) for answer, question in zip(answers, asked, strict=True)]

    def explain(self, question: str, answer: str | None = None) -> Explanation:
        """As `oracle.explain.explain`; the first call reads the target once for each of its parts."""
        if answer is None:
            found = self.ask(question, explain=True)[0].explanation
            assert found is not None
            return found
        found = self.dissection.explain(self.names.inward(question), self.names.inward(answer))
        return replace(found, question=question, answer=answer)

    @cached_property
    def dissection(self) -> Dissection:
        """The target without each of its parts."""
        return Dissection(self.oracle, self.target)

    def _outward(self, answer: Answer, question: str) -> Answer:
        """An answer in the target's own names."""
        name, draft, rests, trial = self.names.outward, answer.draft, answer.explanation, answer.trial
        return replace(
            answer,
            question=question,
            text=name(answer.text),
            samples=tuple(map(name, answer.samples)),
            draft=None if draft is None else self._draft_outward(draft),
            trial=None if trial is None else replace(trial, about=name(trial.about)),
            result=name(answer.result),
            explanation=None if rests is None else replace(rests, question=question, answer=name(rests.answer)),
        )

    def _draft_outward(self, draft: Draft) -> Draft:
        """A draft, and the others that are likely, in the target's own names."""
        others = tuple(map(self._draft_outward, draft.others))
        return replace(draft, text=self.names.outward(draft.text), others=others)
