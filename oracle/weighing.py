"""Likely flowcharts of a target, weighed against each other under several namings of its labels.

A decoder that writes the likeliest piece after piece commits itself to the first thing that it takes for likely, and is
asked under one naming of the labels, though no name means anything. So

    texts that it finds likely -> put together where they compute the same
    -> how likely it finds each under other names of tokens, answers and positions, mean of the logarithms
    -> the likeliest function, and its share of all that is likely

The share is a better sign of what is right than the likelihood of one text: on a structure that it has not learned the
decoder gives a tree of the right questions in the usual order as much as the right one, and under other names another
of the two. Nothing is run; other names are the same weights (naming.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from oracle.batch import LabelIds, collate
from oracle.calibration import FLOOR
from oracle.decoder import WeightDecoder, Written
from oracle.naming import Naming
from oracle.neutral import Neutral
from oracle.search import LONGEST
from oracle.trials import Draft, draft_of
from tracr_tasks.errors import ProgramError
from zoo.branches import draw_each
from zoo.flowchart import Flowchart

TEXTS = 24
"""Likely texts."""
LEAST = math.log(1e-3)
"""Share (its logarithm) from which on a function is one of those that are likely."""
POOL, TO_A_BRANCH = 1_500, 4
"""Random inputs by which functions are told apart, and inputs to each branch of each program beside them."""


def likely_drafts(decoder: WeightDecoder, target: Neutral, pieces: LabelIds) -> list[Draft]:
    """What a decoder finds likely of a target, whose labels' names are given as pieces of `CODEC`, likeliest first."""
    with torch.no_grad():
        batch = collate([target], [pieces]).to(decoder.table.device)
        tokens = decoder.encoder(batch, decoder.table)
    texts = decoder.likeliest(tokens, TEXTS, LONGEST)
    return [draft_of(Written(decoder.codec.decode(text), log_prob), target, pieces) for log_prob, text in texts]


def inputs_for(programs: Sequence[Flowchart], rng: np.random.Generator) -> Int[np.ndarray, "input pos"]:
    """Random inputs, and some to each branch of each program that any input reaches."""
    vocab, length = len(programs[0].vocab), programs[0].max_seq_len
    found = [rng.integers(0, vocab, (POOL, length))]
    for program in programs:
        try:
            found.append(draw_each(program, TO_A_BRANCH, rng))
        except ProgramError:  # too entangled to be counted: the random ones have to do
            continue
    return np.unique(np.concatenate(found), axis=0)


def weighed(decoder: WeightDecoder, target: Neutral, pieces: LabelIds, namings: int, seed: int = 0) -> Draft | None:
    """The draft of the likeliest function under a target's own names and `namings` others, drawn with a seed, with its
    mean log-probability, its `share`, and the drafts of the `others`; None where no likely text is a flowchart.

    Args: a decoder of flowcharts; a folded target, and the names of its labels as pieces of `CODEC`.
    """
    likely = likely_drafts(decoder, target, pieces)
    found = [(draft, draft.program) for draft in likely if isinstance(draft.program, Flowchart)]
    if not found:
        return None
    drafts, programs = zip(*found, strict=True)
    own = np.array([draft.log_prob for draft in drafts])
    renamed = renamed_scores(decoder, target, pieces, programs, namings, random.Random(seed))
    scores = np.maximum(np.concatenate([own[None], renamed]), FLOOR).mean(0)
    functions = functions_of(programs, seed)
    sums = np.array([np.logaddexp.reduce(scores[functions == function]) for function in range(functions.max() + 1)])
    shares = sums - np.logaddexp.reduce(sums)

    def of(function: int) -> Draft:
        text = int(np.where(functions == function, scores, -np.inf).argmax())
        return replace(drafts[text], log_prob=float(scores[text]), share=float(shares[function]))

    best, *others = np.argsort(-shares, kind="stable").tolist()
    return replace(of(best), others=tuple(of(function) for function in others if shares[function] >= LEAST))


def functions_of(programs: Sequence[Flowchart], seed: int) -> Int[np.ndarray, " program"]:
    """Which programs compute the same, as far as the inputs at hand tell: functions counted from 0."""
    inputs = inputs_for(programs, np.random.default_rng(seed))
    said = np.stack([program.run_batch(inputs) for program in programs])
    return np.unique(said, axis=0, return_inverse=True)[1].ravel()


def renamed_scores(
    decoder: WeightDecoder,
    target: Neutral,
    pieces: LabelIds,
    programs: Sequence[Flowchart],
    namings: int,
    rng: random.Random,
) -> Float[np.ndarray, "naming program"]:
    """Log-probabilities (nats) of programs, in canonical text, under other names of a target's labels."""
    moves = not target.causal and all(program.positions_move for program in programs)
    drawn = [Naming.drawn(programs[0], rng, moves) for _ in range(namings)]
    if not drawn:
        return np.zeros((0, len(programs)))
    batch = collate([target] * namings, [naming.labels(pieces) for naming in drawn])
    with torch.no_grad():
        read = decoder.encoder(batch.to(decoder.table.device), decoder.table)
    return np.stack([_scores(decoder, tokens, programs, naming) for tokens, naming in zip(read, drawn, strict=True)])


@torch.no_grad()
def _scores(
    decoder: WeightDecoder, tokens: Float[Tensor, "n d"], programs: Sequence[Flowchart], naming: Naming
) -> Float[np.ndarray, " program"]:
    """Log-probabilities of programs under one naming; `FLOOR` of those that have no text, or too long a one."""
    scores, texts = np.full(len(programs), FLOOR), dict[int, str]()
    for i, program in enumerate(programs):
        try:
            text = naming.flowchart(program).text()
        except ProgramError:  # too entangled to be canonical
            continue
        if len(decoder.codec.encode(text)) < decoder.config.max_len:
            texts[i] = text
    if texts:
        counts = torch.tensor([1 + len(decoder.codec.encode(text)) for text in texts.values()])
        losses = decoder.loss_behind(tokens.expand(len(texts), -1, -1), list(texts.values()))
        scores[list(texts)] = (-losses.cpu() * counts).numpy()
    return scores
