"""Answers: what a reader says to prompts, what it tried with a draft before, and how far that is to be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from oracle.calibration import SURE
from oracle.explain import Explanation
from oracle.reader import Prefix, Reader
from oracle.trials import Draft, Trial, meant, requested, result_of, slipped, told


@dataclass(frozen=True)
class Answer:
    """An answer about a target."""

    question: str
    text: str
    confidence: float
    """Probability that it is right, from 0 to 1; of an oracle that was not calibrated, that the reader gives to these
    very words."""
    log_probs: tuple[float, ...]
    """Of its tokens, the end token included, in nats; of those that say what is to be tried too."""
    samples: tuple[str, ...] = ()
    """Answers drawn from the reader's own distribution, if any were asked for."""
    draft: Draft | None = None
    """The program that the reader was shown beside the weight tokens, if it was: written by a small decoder from the
    same weights."""
    trial: Trial | None = None
    """What the reader tried with the draft before it answered, if it did."""
    result: str = ""
    """What came out of that."""
    slip: str = ""
    """What the reader said of the program where that is not its draft, which stands in its place (`trials.slipped`)."""
    support: float | None = None
    """Share of the flowcharts that are likely of the target, by their probability, about which the answer is right too
    (support.py); None where none were weighed."""
    explanation: Explanation | None = None
    """Which layers, heads and neurons it rests on, if that was asked for."""

    @property
    def tried(self) -> str:
        """What the reader tried and what came out, in a line; empty if it tried nothing."""
        return "" if self.trial is None else f"{self.trial.text} -> {self.result}"

    @property
    def agreement(self) -> float | None:
        """Share of the samples that are this very answer; None without any."""
        return self.samples.count(self.text) / len(self.samples) if self.samples else None

    @property
    def alternatives(self) -> tuple[tuple[str, float], ...]:
        """Other answers among the samples with their shares, the most frequent first."""
        counts = Counter(text for text in self.samples if text != self.text)
        return tuple((text, n / len(self.samples)) for text, n in counts.most_common())

    @property
    def sure(self) -> bool:
        """Whether it is more likely right than wrong; else the oracle abstains, and the text is its best guess."""
        return self.confidence >= SURE


def said_to(
    reader: Reader, prompts: Sequence[str], prefix: Prefix | None, drafts: Sequence[Draft | None], *, tries: bool
) -> list[Answer]:
    """What a reader says to each prompt, behind its row of a prefix that was made with these drafts; the confidence and
    the question are left open. Where it `tries` what it asks for, it is told what came out, and answers then."""
    said = reader.generate(prompts, prefix)
    rows = zip(said.texts, said.log_probs, drafts, strict=True)
    answers = [_answer(text, log_probs, draft) for text, log_probs, draft in rows]
    if tried := _tried(enumerate(said.texts), drafts) if tries else []:
        behind = [prompts[i] + told(trial, result, reader.special) for i, trial, result in tried]
        then = reader.generate(behind, None if prefix is None else prefix.rows([i for i, *_ in tried]))
        for (i, trial, result), text, log_probs in zip(tried, then.texts, then.log_probs, strict=True):
            both = (*answers[i].log_probs, *log_probs)
            answers[i] = replace(answers[i], text=meant(text, result), log_probs=both, trial=trial, result=result)
    return answers


def _answer(text: str, log_probs: tuple[float, ...], draft: Draft | None) -> Answer:
    """What a reader said, before anything is tried."""
    said = Answer("", text, 0.0, log_probs, draft=draft)
    return replace(said, text=draft.text, slip=text) if draft is not None and slipped(text, draft) else said


def drawn_to(
    reader: Reader,
    prompts: Sequence[str],
    prefix: Prefix | None,
    drafts: Sequence[Draft | None],
    n: int,
    seed: int,
    *,
    tries: bool,
) -> list[tuple[str, ...]]:
    """`n` answers to each prompt from the reader's own distribution, each with a trial of its own."""
    drawn = [list(texts) for texts in reader.sample(prompts, prefix, n, seed)]
    flat = [(i, text) for i, texts in enumerate(drawn) for text in texts]
    if tried := _tried(enumerate(text for _, text in flat), [drafts[i] for i, _ in flat]) if tries else []:
        owners = [flat[place][0] for place, *_ in tried]
        behind = [
            prompts[i] + told(trial, result, reader.special)
            for i, (_, trial, result) in zip(owners, tried, strict=True)
        ]
        then = reader.sample(behind, None if prefix is None else prefix.rows(owners), 1, seed + 1)
        for (place, _, result), i, (text,) in zip(tried, owners, then, strict=True):
            drawn[i][place % n] = meant(text, result)
    return [tuple(texts) for texts in drawn]


def _tried(said: Iterable[tuple[int, str]], drafts: Sequence[Draft | None]) -> list[tuple[int, Trial, str]]:
    """What is to be tried, by its place, and what comes out of it."""
    wanted = [(i, trial) for i, text in said if (trial := requested(text)) is not None]
    return [(i, trial, result_of(trial, drafts[i])) for i, trial in wanted]
