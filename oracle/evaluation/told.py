"""Conditions that tell the base in words what it would otherwise have to read from weights: the same language model,
without its adapter, given the program's source or some inputs with the target's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from oracle.evaluation.bench import Asked, Bench, Said
from oracle.facts import Subject
from oracle.subjects import even_inputs
from oracle.template import source_context
from zoo.target import Target

BATCH_TOKENS = 65_536
"""Tokens of the prompts that are answered at once."""
ROOM = 200
"""Tokens that are kept for question and answer."""
Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""An input and the target's answer to it, as names."""


def source(bench: Bench) -> list[Said | None]:
    """The program's source: the ceiling. Nothing is told of a target without a program."""
    texts = [bench.subject(asked).text for asked in bench.asked]
    return _said(bench, [source_context(text) if text else None for text in texts], "source in context")


def black_box(n: int) -> Callable[[Bench], list[Said | None]]:
    """The condition of `n` input-output pairs."""

    def told(bench: Bench) -> list[Said | None]:
        return _said(bench, pair_contexts(bench, n), f"{n} pairs")

    return told


def pair_contexts(bench: Bench, n: int) -> list[str | None]:
    """What is told of each question's target: `n` pairs, or as many as the base has room for; never the asked input."""
    room = getattr(bench.oracle.reader.model.config, "max_position_embeddings", 2048) - ROOM
    known = {
        i: pairs_of(e.subject, t, n, bench.seed + i)
        for i, (e, t) in enumerate(zip(bench.examples, bench.targets, strict=True))
    }
    return [_context(known[asked.index], asked, bench, room) for asked in bench.asked]


def pairs_of(subject: Subject, target: Target, n: int, seed: int) -> list[Pair]:
    """`n` different inputs, drawn evenly, with what the target answers (fewer where there are hardly more).

    None of a target without a program."""
    if subject.program is None or not n:
        return []
    drawn = even_inputs(subject.program, 4 * n, np.random.default_rng(seed))
    inputs = list(dict.fromkeys(drawn))[:n]
    return list(zip(inputs, map(tuple, target.answers(target.encode(inputs))), strict=True))


def _context(pairs: Sequence[Pair], asked: Asked, bench: Bench, room: int) -> str | None:
    """The pairs as text; None for a target that has no program to tell of."""
    if bench.subject(asked).program is None:
        return None
    lines = [f"{' '.join(x)} -> {' '.join(y)}" for x, y in pairs if " ".join(x) != asked.question.detail]
    if not lines:
        return ""
    ends = np.cumsum([len(ids) for ids in bench.oracle.reader.tokenizer([f"{line}\n" for line in lines])["input_ids"]])
    return "".join(f"{line}\n" for line in lines[: int(np.searchsorted(ends, room))])


@torch.no_grad()
def _said(bench: Bench, contexts: Sequence[str | None], label: str) -> list[Said | None]:
    """Answers behind contexts, long and short ones apart; None where there is none."""
    reader, said = bench.oracle.reader, list[Said | None]([None] * len(contexts))
    told = {i: context for i, context in enumerate(contexts) if context is not None}
    order = sorted(told, key=lambda i: len(told[i]))
    with reader.base_as_it_is(), tqdm(total=len(order), desc=label, leave=False) as bar:
        while order:
            longest = len(reader.tokenizer(told[order[-1]])["input_ids"]) + ROOM
            size = max(1, min(64, BATCH_TOKENS // longest))
            part, order = order[-size:], order[:-size]
            questions = [bench.asked[i].question.text for i in part]
            found = bench.oracle.answer(questions, None, contexts=[told[i] for i in part])
            for i, answer in zip(part, found, strict=True):
                said[i] = Said(answer.text, answer.confidence)
            bar.update(len(part))
    return said
