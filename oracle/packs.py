"""Texts that the house model is pretrained on: a program, then questions about it one behind the other.

    Program: ...  Question: ...  Answer: ...<eos>  Question: ...  Answer: ...<eos>

Each program is read once for several questions. Answers count in full, other tokens little: nobody can guess which
input is asked about. Texts of like length come together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oracle.config import BaseConfig
from oracle.phrasings import phrasings
from oracle.questions import Subject, ask, families_of
from oracle.reader import Reader
from oracle.template import from_nothing, from_source

EMPHASIS = {"program": 0.5, "output": 3.0, "trigger": 1.5, "regime": 0.2}
"""Families that are asked about more or less often than `questions.families_of` says: what has to be worked out is
learned last, and a program's text is only copied."""
POOLED = 12
"""Batches of texts that are sorted by length together."""
Text = tuple[list[int], list[float]]
"""Token ids and their weights in the loss."""


@dataclass(frozen=True)
class Pack:
    """A batch of texts, padded on the right."""

    ids: Int[Tensor, "text pos"]
    weights: Float[Tensor, "text pos"]
    """Of each token in the loss; zero for padding."""

    def to(self, device: torch.device) -> Pack:
        """The same on a device."""
        return Pack(self.ids.to(device), self.weights.to(device))


def packs(reader: Reader, subjects: Sequence[Subject], config: BaseConfig) -> Iterator[Pack]:
    """Endless batches of at most `batch_tokens` tokens, a share of their texts drills."""
    rng = random.Random(config.seed + 1)
    words = sorted({word for subject in subjects[:500] for word in subject.text.split()})

    def text() -> Text:
        if rng.random() < config.drills:
            return text_of(reader, *drill(words, rng), config.context_weight)
        subject = rng.choice(subjects)
        return text_of(reader, subject.text, asked(subject, config.questions, rng), config.context_weight)

    while True:
        found, n_tokens = list[Text](), 0
        while n_tokens < POOLED * config.batch_tokens:
            found.append(text())
            n_tokens += len(found[-1][0])
        batches = list(cut(sorted(found, key=lambda each: len(each[0])), config.batch_tokens))
        rng.shuffle(batches)
        for batch in batches:
            yield padded(batch, reader.pad_id)


def cut(texts: Sequence[Text], most: int) -> Iterator[list[Text]]:
    """Texts, sorted by length, in batches of at most so many tokens with their padding, and of at least one text."""
    batch = list[Text]()
    for text in texts:
        if batch and len(text[0]) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(text)
    yield batch


def padded(texts: Sequence[Text], pad_id: int) -> Pack:
    """Texts as one batch."""
    width = max(len(ids) for ids, _ in texts)
    ids, weights = torch.full((len(texts), width), pad_id), torch.zeros(len(texts), width)
    for i, (of_text, its_weights) in enumerate(texts):
        ids[i, : len(of_text)] = torch.tensor(of_text)
        weights[i, : len(of_text)] = torch.tensor(its_weights)
    return Pack(ids, weights)


def asked(subject: Subject, n: int, rng: random.Random) -> list[tuple[str, str]]:
    """`n` questions of random families with their answers."""
    families, weights = zip(*families_of(subject), strict=True)
    often = [weight * EMPHASIS.get(family, 1.0) for family, weight in zip(families, weights, strict=True)]
    questions = [ask(subject, family, rng) for family in rng.choices(families, often, k=n)]
    return [(question.text, question.truth) for question in questions]


def drill(words: Sequence[str], rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """Words of programs in random order, to be repeated: looking things up in the context is learned from these."""
    source = " ".join(rng.sample(words, min(len(words), rng.randint(3, 24))))
    return source, [(rng.choice(phrasings("program", test=False)), source)]


def text_of(reader: Reader, source: str, asked: Sequence[tuple[str, str]], context_weight: float) -> Text:
    """A program's text and the questions about it, as token ids and their weights."""
    ids, weights = list[int](), list[float]()
    for i, (question, answer) in enumerate(asked):
        prompt = from_source(question, source) if i == 0 else from_nothing(question)
        head, tail = (reader.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, f" {answer}"))
        ids += [*head, *tail, reader.eos_id]
        weights += [context_weight] * len(head) + [1.0] * (len(tail) + 1)
    return ids, weights
