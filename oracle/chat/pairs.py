"""What is seen of a target as a black box: some random inputs with its answers."""

from __future__ import annotations

import random
from collections.abc import Sequence

from oracle.chat.exam import Examinee
from zoo.target import Target

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""An input and the target's answer to it, by the names of the tokens."""
MAX_ROUNDS = 20
"""Draws for each input that is wanted: where there are hardly more inputs than that, some may not come up."""


def input_tokens(target: Target) -> tuple[str, ...]:
    """Tokens that stand in inputs: all but BOS and PAD."""
    return target.vocab.input[2:] if target.config.default_prepend_bos else target.vocab.input


def input_lengths(examinee: Examinee) -> range:
    """Lengths of inputs: 2 to the longest for a compiled RASP program, the longest alone for any other target."""
    longest, subject = examinee.row.max_seq_len, examinee.subject
    varies = subject.kind == "rasp" and "history" not in subject.labels
    return range(min(2, longest), longest + 1) if varies else range(longest, longest + 1)


def random_pairs(examinee: Examinee, n: int, seed: int) -> list[Pair]:
    """`n` different inputs, of random length and then of random tokens, with the target's own answers; fewer where
    there are hardly more inputs. They depend on the seed and the target, and on nothing else."""
    rng, found = random.Random(f"{seed}/{examinee.row.id}/pairs"), dict[tuple[str, ...], None]()
    tokens, lengths = input_tokens(examinee.target), input_lengths(examinee)
    for _ in range(MAX_ROUNDS * n):
        if len(found) == n:
            break
        found[tuple(rng.choices(tokens, k=rng.choice(lengths)))] = None
    answers = examinee.target.answers(examinee.target.encode(list(found)))
    return [(names, tuple(answer)) for names, answer in zip(found, answers, strict=True)]


def without(pairs: Sequence[Pair], asked: str, n: int) -> list[Pair]:
    """The first `n` pairs whose input is not the one that is asked about."""
    return [pair for pair in pairs if " ".join(pair[0]) != asked][:n]
