"""Conditions that tell the base in words what it would otherwise have to read from weights: the same language model,
without its adapter, given the program's source or some inputs with the target's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from tqdm import tqdm

from oracle.evaluation.bench import BATCH, Bench, Said
from oracle.facts import Subject
from oracle.oracle import Answer
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
    texts, nest = [e.subject.text for e in bench.examples], bench.oracle.reader.nested
    return _said(bench, [source_context(text, nest) if text else None for text in texts], "source in context")


def black_box(n: int) -> Callable[[Bench], list[Said | None]]:
    """The condition of `n` input-output pairs."""

    def told(bench: Bench) -> list[Said | None]:
        return _said(bench, pair_contexts(bench, n), f"{n} pairs")

    return told


def pair_contexts(bench: Bench, n: int) -> list[str | None]:
    """What is told of each target: `n` pairs, or as many as the base has room for; never an input that is asked about.
    None for a target that has no program."""
    room = getattr(bench.oracle.reader.model.config, "max_position_embeddings", 2048) - ROOM
    asked: dict[int, set[str]] = {}
    for each in bench.asked:
        asked.setdefault(each.index, set()).add(each.question.detail)
    found = list[str | None]()
    for i, (example, target) in enumerate(zip(bench.examples, bench.targets, strict=True)):
        pairs = [(x, y) for x, y in pairs_of(example.subject, target, n, bench.seed + i) if " ".join(x) not in asked[i]]
        found.append(None if example.subject.program is None else _context(pairs, bench, room))
    return found


def pairs_of(subject: Subject, target: Target, n: int, seed: int) -> list[Pair]:
    """`n` different inputs, drawn evenly, with what the target answers (fewer where there are hardly more).

    None of a target without a program."""
    if subject.program is None or not n:
        return []
    full = "history" in subject.labels  # it has learned from inputs of full length alone
    drawn = even_inputs(subject.program, 4 * n, np.random.default_rng(seed), full)
    inputs = list(dict.fromkeys(drawn))[:n]
    return list(zip(inputs, map(tuple, target.answers(target.encode(inputs))), strict=True))


def _context(pairs: Sequence[Pair], bench: Bench, room: int) -> str:
    """The pairs as text."""
    lines = [f"{' '.join(x)} -> {' '.join(y)}\n" for x, y in pairs]
    if not lines:
        return ""
    ends = np.cumsum([len(ids) for ids in bench.oracle.reader.tokenizer(lines)["input_ids"]])
    return "".join(lines[: int(np.searchsorted(ends, room))])


@torch.no_grad()
def _said(bench: Bench, contexts: Sequence[str | None], label: str) -> list[Said | None]:
    """Answers behind the context of each target, long and short ones apart; None where there is none."""
    asked: dict[int, list[int]] = {}
    for place, each in enumerate(bench.asked):
        if contexts[each.index] is not None:
            asked.setdefault(each.index, []).append(place)
    told = {i: contexts[i] or "" for i in asked}
    order, said = sorted(asked, key=lambda i: len(told[i])), list[Said | None]([None] * len(bench.asked))
    with bench.oracle.reader.base_as_it_is(), tqdm(total=len(order), desc=label, leave=False) as bar:
        while order:
            longest = len(bench.oracle.reader.tokenizer(told[order[-1]])["input_ids"]) + ROOM
            n = max(1, min(BATCH, BATCH_TOKENS // longest) // max(len(asked[i]) for i in order))
            part, order = order[-n:], order[:-n]
            places = [place for i in part for place in asked[i]]
            for place, answer in zip(places, _answers(bench, places, told), strict=True):
                said[place] = Said(answer.text, answer.confidence)
            bar.update(len(part))
    return said


def _answers(bench: Bench, places: Sequence[int], told: Mapping[int, str]) -> list[Answer]:
    """Answers to the questions at some places; a context is read once for all questions about its target, where the
    base has no chat template that puts both into one turn."""
    oracle, owners = bench.oracle, [bench.asked[place].index for place in places]
    questions, contexts = [bench.asked[place].question.text for place in places], [told[i] for i in owners]
    if oracle.reader.chat or not any(contexts):
        return oracle.answer(questions, None, contexts=contexts)
    of = list(dict.fromkeys(owners))
    prefix = oracle.reader.read_words([told[i] for i in of])
    return oracle.answer(questions, prefix.rows([of.index(i) for i in owners]))
