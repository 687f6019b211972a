"""A step of training: targets, named anew, questions about each, and the loss of the right answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.config import TrainConfig
from oracle.loading import batches_of
from oracle.oracle import WeightOracle
from oracle.questions import Question, draw
from oracle.reader import TextBatch
from oracle.subjects import Example, relabel


class Seen(NamedTuple):
    """What the reader is shown of a target."""

    tokens: bool
    draft: bool


ALL, NOTHING = Seen(True, True), Seen(False, False)


@dataclass(frozen=True)
class Step:
    """Questions of one step: which target each is about, and what it sees of it."""

    examples: tuple[Example, ...]
    owner: tuple[int, ...]
    questions: tuple[Question, ...]
    seen: tuple[Seen, ...]
    """What is shown of each target."""

    def texts(self, oracle: WeightOracle, chosen: Sequence[int]) -> TextBatch:
        """Prompts and answers of some of the questions as a batch of token ids."""
        asked = [self.questions[i] for i in chosen]
        return oracle.reader.texts([oracle.reader.prompt(q.text) for q in asked], [q.truth for q in asked])

    def by_length(self) -> list[list[int]]:
        """Places of the shorter half of the questions, and of the longer one: so little is padding."""
        order = sorted(range(len(self.questions)), key=lambda i: len(self.questions[i].text + self.questions[i].truth))
        half = len(order) // 2
        return [part for part in (order[:half], order[half:]) if part]


def training_steps(
    examples: Sequence[Example],
    config: TrainConfig,
    rank: int = 0,
    n_ranks: int = 1,
    first: int = 0,
    *,
    drafted: bool = False,
) -> Iterator[Step]:
    """Endless training steps from number `first` on, of an oracle that shows drafts or does not.

    A step depends on the seed, its number and the rank alone, and those of several ranks have other targets, names and
    questions.
    """
    batches = batches_of(examples, config.targets_per_step, random.Random(config.seed), rank, n_ranks)
    for index, batch in enumerate(islice(batches, first, None), first):
        rng = random.Random(f"{config.seed}/{rank}/{index}")
        named = [relabel(example, rng) for example in batch] if config.relabel else batch
        asked = [(i, q) for i, e in enumerate(named) for q in draw(e.subject, config.questions_per_target, rng)]
        owner, questions = zip(*asked, strict=True)
        yield Step(tuple(named), owner, questions, tuple(seen_of(config, drafted, rng) for _ in named))


def seen_of(config: TrainConfig, drafted: bool, rng: random.Random) -> Seen:
    """What a training shows of a target: mostly all, else nothing; or, if there are drafts, one of the two."""
    if rng.random() < config.no_weights:
        return NOTHING
    part = rng.random() if drafted else 1.0
    return Seen(tokens=part >= config.in_part, draft=not config.in_part <= part < 2 * config.in_part)


def step_losses(oracle: WeightOracle, step: Step, swap: Sequence[int] | None = None) -> Float[Tensor, " question"]:
    """Mean loss (nats a token) of every answer; `swap` gives each target another one's weights.

    The weights of a target are read once for all questions about it.
    """
    tokens = oracle.read([e.neutral for e in step.examples], [e.labels for e in step.examples])
    order = range(len(step.examples)) if swap is None else swap
    shown = torch.tensor([seen.tokens for seen in step.seen], device=tokens.device)
    written = ["" if draft is None else draft.text for draft in oracle.drafts(step.examples)]
    drafts = [written[i] if seen.draft else "" for i, seen in zip(order, step.seen, strict=True)]
    prefix = oracle.reader.read(tokens[list(order)] * shown[:, None, None], drafts)
    losses, any_seen = torch.zeros(len(step.questions), device=tokens.device), [any(seen) for seen in step.seen]
    for chosen in step.by_length():
        texts, owner = step.texts(oracle, chosen), [step.owner[i] for i in chosen]
        loss = oracle.reader.answer_loss(texts, prefix.rows(owner, [any_seen[i] for i in owner])).float()
        losses[chosen] = loss.sum(1) / (texts.labels >= 0).sum(1)
    return losses
