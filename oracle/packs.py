"""Texts that the house model is pretrained on: a program, and questions about it that do not see each other.

    Program: ... | Question: ...  Answer: ...<eos> | Question: ...  Answer: ...<eos>

Each program is read once for several questions; a mask keeps these apart, and each begins at the same position, so that
each reads as it will alone. Answers count by the root of their length, so that a word does not drown in copied
programs; other tokens little: nobody can guess which input is asked about. Texts of like length come together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from oracle.config import BaseConfig
from oracle.phrasings import phrasings
from oracle.questions import Subject, ask, families_of
from oracle.reader import Reader, earlier
from oracle.template import behind, source_context

EMPHASIS = {
    "program": 0.6,
    "first": 0.5,
    "output": 6.0,
    "mentions": 1.5,
    "rule": 3.0,
    "trigger": 6.0,
    "rare": 4.0,
    "regime": 0.2,
}
"""Families that are asked about more or less often than `questions.families_of` says: what has to be worked out is
learned last, and a program's text is only copied."""
POOLED = 12
"""Batches of texts that are sorted by length together."""
PROGRAM, PADDING = 0, -1
"""Parts of a text that are no question; questions are numbered from 1."""


@dataclass
class Text:
    """A program and the questions about it, token by token."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, part: int, first: int, ids: Sequence[int], weights: Sequence[float]) -> None:
        """A part whose first token stands at a position."""
        self.ids += ids
        self.weights += weights
        self.parts += [part] * len(ids)
        self.places += range(first, first + len(ids))


@dataclass(frozen=True)
class Pack:
    """A batch of texts, padded on the right."""

    ids: Int[Tensor, "text pos"]
    weights: Float[Tensor, "text pos"]
    """Of each token in the loss, given those before it; zero for padding and for the first token of a part."""
    parts: Int[Tensor, "text pos"]
    """PROGRAM, the number of a question, or PADDING."""
    places: Int[Tensor, "text pos"]
    """Positions: those of each question go on from the program's."""

    def to(self, device: torch.device) -> Pack:
        """The same on a device."""
        return Pack(*(tensor.to(device) for tensor in (self.ids, self.weights, self.parts, self.places)))

    def seen(self) -> Bool[Tensor, "text pos pos"]:
        """What each token sees: the program, and its own question up to itself."""
        own = (self.parts[:, :, None] == self.parts[:, None]) | (self.parts[:, None] == PROGRAM)
        return own & earlier(self.ids.shape[1], self.ids.device)


def packs(reader: Reader, subjects: Sequence[Subject], config: BaseConfig) -> Iterator[Pack]:
    """Endless batches of at most `batch_tokens` tokens, a share of their texts drills."""
    rng = random.Random(config.seed + 1)
    words = sorted({word for subject in subjects[:500] for word in subject.text.split()})
    names = [word for word in words if len(word) == 1 and word.isalpha()]

    def text() -> Text:
        if rng.random() < config.drills:
            source, asked = drill(words, rng) if rng.random() < 0.5 else lookup(words, names, config.questions, rng)
            return text_of(reader, source, asked, config.context_weight)
        subject = rng.choice(subjects)
        return text_of(reader, subject.text, questions_about(subject, config.questions, rng), config.context_weight)

    while True:
        found, n_tokens = list[Text](), 0
        while n_tokens < POOLED * config.batch_tokens:
            found.append(text())
            n_tokens += len(found[-1].ids)
        batches = list(cut(sorted(found, key=lambda each: len(each.ids)), config.batch_tokens))
        rng.shuffle(batches)
        for batch in batches:
            yield padded(batch, reader.pad_id)


def cut(texts: Sequence[Text], most: int) -> Iterator[list[Text]]:
    """Texts, sorted by length, in batches of at most so many tokens with their padding, and of at least one text."""
    batch = list[Text]()
    for text in texts:
        if batch and len(text.ids) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(text)
    yield batch


def padded(texts: Sequence[Text], pad_id: int) -> Pack:
    """Texts as one batch."""
    width = max(len(text.ids) for text in texts)

    def column(rows: Sequence[Sequence[int | float]], padding: int | float) -> Tensor:
        return torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])

    return Pack(
        column([text.ids for text in texts], pad_id),
        column([text.weights for text in texts], 0.0),
        column([text.parts for text in texts], PADDING),
        column([text.places for text in texts], 0),
    )


def questions_about(subject: Subject, n: int, rng: random.Random) -> list[tuple[str, str]]:
    """`n` questions of random families with their answers."""
    families, weights = zip(*families_of(subject), strict=True)
    often = [weight * EMPHASIS.get(family, 1.0) for family, weight in zip(families, weights, strict=True)]
    questions = [ask(subject, family, rng) for family in rng.choices(families, often, k=n)]
    return [(question.text, question.truth) for question in questions]


def drill(words: Sequence[str], rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """Words of programs in random order, to be repeated: looking things up in the context is learned from these."""
    source = " ".join(rng.sample(words, min(len(words), rng.randint(3, 24))))
    return source, [(rng.choice(phrasings("program", test=False)), source)]


def lookup(words: Sequence[str], names: Sequence[str], n: int, rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """Words of programs in random order, and questions whether names are among them: half of them are."""
    there = rng.sample(names, rng.randint(1, max(1, len(names) // 2)))
    others = [name for name in names if name not in there] or there
    source = [*there, *rng.sample([word for word in words if word not in names], min(len(words) - len(names), 8))]
    rng.shuffle(source)
    asked = list[tuple[str, str]]()
    for _ in range(n):
        name = rng.choice(there if rng.random() < 0.5 else others)
        text = rng.choice(phrasings("mentions", test=False)).format(token=name)
        asked.append((text, "yes" if name in there else "no"))
    return " ".join(source), asked


def text_of(reader: Reader, source: str, asked: Sequence[tuple[str, str]], context_weight: float) -> Text:
    """A program's text and the questions about it."""
    text, program = Text(), reader.tokenizer(source_context(source), add_special_tokens=False)["input_ids"]
    text.add(PROGRAM, 0, program, [0.0, *[context_weight] * (len(program) - 1)])
    for number, (question, answer) in enumerate(asked, 1):
        head, tail = reader.answer_ids(behind(question), answer)
        weights = [0.0, *[context_weight] * (len(head) - 1), *[len(tail) ** -0.5] * len(tail)]
        text.add(number, len(program), [*head, *tail], weights)
    return text
