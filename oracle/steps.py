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

from oracle.config import PLAIN, TrainConfig
from oracle.loading import batches_of
from oracle.oracle import WeightOracle
from oracle.questions import Question, draw
from oracle.subjects import Example, relabel
from oracle.trials import Draft, said_about


class Seen(NamedTuple):
    """What the reader is shown of a target."""

    tokens: bool
    draft: bool
    found: bool = False
    """Of a compiled target: the draft is its program, as a search that certifies it would give."""


ALL, NOTHING = Seen(True, True), Seen(False, False)


class Turn(NamedTuple):
    """Something that the reader is to say about a question."""

    question: int
    """Its place in the step."""
    prompt: str
    answer: str


@dataclass(frozen=True)
class Step:
    """Questions of one step: which target each is about, and what it sees of it."""

    examples: tuple[Example, ...]
    owner: tuple[int, ...]
    questions: tuple[Question, ...]
    seen: tuple[Seen, ...]
    """What is shown of each target."""

    def turns(self, oracle: WeightOracle, drafts: Sequence[Draft | None]) -> list[Turn]:
        """All that the reader is to say, the shown draft of each target being given: the answers, and before them what
        it is to try, if it has learned that."""
        found = list[Turn]()
        for i, (owner, question) in enumerate(zip(self.owner, self.questions, strict=True)):
            prompt = oracle.reader.prompt(question.text)
            lessons = [("", question.truth)]
            if oracle.tries:
                lessons = said_about(question, self.examples[owner].subject, drafts[owner], oracle.reader.special)
            found += [Turn(i, prompt + behind, answer) for behind, answer in lessons]
        return found


def halves(turns: Sequence[Turn]) -> list[list[Turn]]:
    """The shorter half of what is said, and the longer one: so little is padding."""
    order = sorted(turns, key=lambda each: len(each.prompt + each.answer))
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
    return Seen(
        tokens=part >= config.in_part,
        draft=not config.in_part <= part < 2 * config.in_part,
        found=drafted and rng.random() < config.found,
    )


def step_losses(
    oracle: WeightOracle,
    step: Step,
    swap: Sequence[int] | None = None,
    written: Sequence[Draft | None] | None = None,
) -> Float[Tensor, " question"]:
    """Mean loss (nats a token) of every answer; `swap` gives each target another one's weights. `written` are the
    drafts of the targets; if they are not given, those that training shows.

    The weights of a target are read once for all questions about it.
    """
    tokens = oracle.read([e.neutral for e in step.examples], [e.labels for e in step.examples])
    order = range(len(step.examples)) if swap is None else swap
    shown = torch.tensor([seen.tokens for seen in step.seen], device=tokens.device)
    written = drafts_shown(oracle, step) if written is None else written
    drafts = [written[i] if seen.draft else None for i, seen in zip(order, step.seen, strict=True)]
    prefix = oracle.reader.read(
        tokens[list(order)] * shown[:, None, None], ["" if d is None else d.text for d in drafts]
    )
    any_seen = [seen.tokens or seen.draft for seen in step.seen]
    losses, counts = (torch.zeros(len(step.questions), device=tokens.device) for _ in range(2))
    for part in halves(step.turns(oracle, drafts)):
        texts = oracle.reader.texts([each.prompt for each in part], [each.answer for each in part])
        owner = [step.owner[each.question] for each in part]
        loss = oracle.reader.answer_loss(texts, prefix.rows(owner, [any_seen[i] for i in owner])).float()
        of = torch.tensor([each.question for each in part], device=tokens.device)
        losses = losses.index_add(0, of, loss.sum(1))
        counts = counts.index_add(0, of, (texts.labels >= 0).sum(1).float())
    return losses / counts


def drafts_shown(oracle: WeightOracle, step: Step) -> list[Draft | None]:
    """The draft of each target of a step, merely written down; of those that are `found` the program itself."""
    subjects, are_found = [e.subject for e in step.examples], [False] * len(step.examples)
    if oracle.drafter is not None:
        compiled = [
            e.pieces is not None and (s.kind, s.regime) == ("rasp", "compiled")
            for e, s in zip(step.examples, subjects, strict=True)
        ]
        are_found = [is_compiled and seen.found for is_compiled, seen in zip(compiled, step.seen, strict=True)]
    left = [e for e, is_found in zip(step.examples, are_found, strict=True) if not is_found]
    written = iter(oracle.drafts(left, PLAIN))
    return [
        Draft(subject.text, 0.0, True, subject.program) if is_found else next(written)
        for subject, is_found in zip(subjects, are_found, strict=True)
    ]
