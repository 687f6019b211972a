"""Conditions without a language model: what is usual, what a similar target does, what a decoder writes.

Each finds a program (or an answer) somewhere and says what is right of that one. They know the references of the bench,
less the target in question.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from oracle.attention import present
from oracle.decompiler import Decompiler
from oracle.evaluation.bench import Asked, Bench, Said, questions_about
from oracle.evaluation.told import Pair, pairs_of
from oracle.evidence import drafts_of
from oracle.facts import Question, Subject
from oracle.grade import parse_like
from oracle.rivals import statistics
from oracle.subjects import Example, subject_of_program
from oracle.truth import truth_about
from tracr_tasks.errors import WeightOracleError
from zoo.target import Target

ENOUGH = 8
"""Questions with the same words in them, from which the usual answer to these very words is taken."""
MATRICES = ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out")
"""Tensors of a layer whose statistics are compared."""
Seen = dict[tuple[str, ...], Counter[tuple[int, str]]]
"""Kind and family, or kind, family and detail -> how often a reference (its place) has a right answer."""
VOTERS = 400
"""References that the statistics reader learns from."""
RIDGE = 0.03
"""Its penalty, in units of the mean square of a feature."""
ALL_FAMILIES = 1_000
"""More questions than there are families."""


def majority(bench: Bench) -> list[Said | None]:
    """The most frequent right answer to such questions: with the same input, token or operation in them if there are
    `ENOUGH`, else of the same family."""
    seen: Seen = {}
    for place, example in enumerate(bench.references):
        for q in questions_about(example.subject, ALL_FAMILIES, bench.seed, bench.oracle.families, example.id):
            for key in ((example.subject.kind, q.family), (example.subject.kind, q.family, q.detail)):
                seen.setdefault(key, Counter())[place, q.truth] += 1
    own = own_places(bench)
    return [_usual(seen, bench.subject(a).kind, a.question, own[a.index]) for a in bench.asked]


def own_places(bench: Bench) -> list[int | None]:
    """The place of each target among the references, if it is one of them."""
    places = {id(example): place for place, example in enumerate(bench.references)}
    return [places.get(id(example)) for example in bench.examples]


def _usual(seen: Seen, kind: str, question: Question, own: int | None) -> Said | None:
    for key in ((kind, question.family, question.detail), (kind, question.family)):
        counts: Counter[str] = Counter()
        for (owner, truth), n in seen.get(key, Counter()).items():
            if owner != own:
                counts[truth] += n
        if counts and (len(key) == 2 or counts.total() >= ENOUGH):
            return Said(max(sorted(counts), key=lambda truth: counts[truth]))
    return None


def nearest(bench: Bench) -> list[Said | None]:
    """What is right of the reference whose mean weight token is nearest: the encoder without the reader."""
    own = torch.stack([_mean(each.tokens) for each in bench.evidence])
    starts = tqdm(range(0, len(bench.references), 32), desc="weights of references", leave=False)
    others = torch.stack([_mean(row) for i in starts for row in bench.oracle.encode(bench.references[i : i + 32])])
    return _said_of_nearest(bench, own, others)


def nearest_statistics(bench: Bench) -> list[Said | None]:
    """What is right of the reference whose tensors have the nearest statistics (seven of each, Unterthiner et al.)."""
    own, others = (torch.stack([_statistics(e) for e in group]) for group in (bench.examples, bench.references))
    return _said_of_nearest(bench, own, others)


def statistics_reader(bench: Bench) -> list[Said | None]:
    """A reader of those statistics that is trained on the references, on the very questions that are asked: ridge
    regression to the answers that are right about each, and the answer with the highest score.

    For an answer that no two references share, such as most programs, that is the answer of one of them.
    """
    voters = voters_of(bench.references, bench.seed)
    features = torch.stack([_statistics(e) for e in voters])
    own, seen = torch.stack([_statistics(e) for e in bench.examples]), dict[tuple[str, str, str], list[str | None]]()
    found = list[Said | None]()
    for asked in tqdm(bench.asked, desc="statistics reader", leave=False):
        subject, question, example = bench.subject(asked), asked.question, bench.examples[asked.index]
        alike = [i for i, e in enumerate(voters) if e.subject.kind == subject.kind and e is not example]
        key = subject.kind, question.family, question.detail
        if key not in seen:
            seen[key] = [truth_about(question, e.subject) if e.subject.kind == subject.kind else None for e in voters]
        found.append(_voted(own[asked.index], features[alike], [seen[key][i] for i in alike]))
    return found


def voters_of(references: Sequence[Example], seed: int) -> list[Example]:
    """The references that the statistics reader learns from: a seeded sample."""
    return random.Random(seed).sample(references, min(VOTERS, len(references)))


def _voted(
    own: Float[Tensor, " feature"], others: Float[Tensor, "reference feature"], answers: Sequence[str | None]
) -> Said | None:
    """The answer with the highest score of a ridge regression from features to answers."""
    told = [i for i, answer in enumerate(answers) if answer is not None]
    if not told:
        return None
    x = others[told].double()
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    x, at = (x - mean) / scale, (own.double() - mean) / scale
    penalty = RIDGE * len(told) * torch.eye(x.shape[1], dtype=x.dtype)
    votes = 1 / len(told) + x @ torch.linalg.solve(x.T @ x + penalty, at)
    scores = Counter[str]()
    for i, vote in zip(told, votes.tolist(), strict=True):
        scores[str(answers[i])] += vote
    return Said(max(sorted(scores), key=lambda answer: scores[answer]))


def decoder(folder: Path | None) -> Callable[[Bench], list[Said | None]]:
    """The condition of the small decoder in a folder (for None: the one that writes the oracle's drafts, or that
    ships): what is right of the program that it writes."""

    def said(bench: Bench) -> list[Said | None]:
        texts = drafts_of(bench.evidence)
        if folder is not None or bench.oracle.drafter is None:
            texts = decompiled(Decompiler.from_pretrained(folder), bench.targets)
        subjects = [subject_of_text(text, e.subject) for text, e in zip(texts, bench.examples, strict=True)]
        return [_of_text(a, texts[a.index], subjects[a.index]) for a in bench.asked]

    return said


def decompiled(decompiler: Decompiler, targets: Sequence[Target]) -> list[str]:
    """What a small decoder writes about targets."""
    starts = tqdm(range(0, len(targets), 64), desc="decoder", leave=False)
    return [written.text for i in starts for written in decompiler.decompile(targets[i : i + 64])]


def subject_of_text(text: str, like: Subject) -> Subject | None:
    """The subject that a written program is, with the labels of another; None where it cannot be read or run."""
    if like.program is None:
        return None
    try:
        return subject_of_program(parse_like(text, like.program), 0)
    except WeightOracleError:
        return None


def _of_text(asked: Asked, text: str, subject: Subject | None) -> Said:
    if asked.question.family == "program":
        return Said(text)
    return Said((truth_about(asked.question, subject) if subject is not None else None) or "")


def lookup(n: int) -> Callable[[Bench], list[Said | None]]:
    """The condition of `n` input-output pairs without a language model: an output is that of the most similar known
    input, an input that leads to an answer is a known one. Of other questions it knows nothing."""

    def said(bench: Bench) -> list[Said | None]:
        pairs = [
            pairs_of(e.subject, t, n, bench.seed + i)
            for i, (e, t) in enumerate(zip(bench.examples, bench.targets, strict=True))
        ]
        return [_looked_up(a.question, pairs[a.index]) for a in bench.asked]

    return said


def _looked_up(question: Question, pairs: Sequence[Pair]) -> Said | None:
    if question.family == "output":
        names = question.detail.split()
        known = [(x, y) for x, y in pairs if len(x) == len(names) and list(x) != names]
        alike = [sum(map(str.__eq__, x, names)) for x, _ in known]
        return Said(" ".join(known[int(np.argmax(alike))][1]) if known else "")
    if question.family in ("trigger", "rare"):
        return Said(next((" ".join(x) for x, y in pairs if y == (question.detail,)), ""))
    return None


def _said_of_nearest(
    bench: Bench, own: Float[Tensor, "target feature"], others: Float[Tensor, "reference feature"]
) -> list[Said | None]:
    """Right answers about the nearest reference, features at unit variance; a target is not its own neighbour."""
    scale = others.std(0, correction=0).clamp_min(1e-6)
    distance = torch.cdist(own / scale, others / scale)
    for i, place in enumerate(own_places(bench)):
        if place is not None:
            distance[i, place] = torch.inf
    closest = distance.argmin(1).tolist()
    return [Said(truth_about(a.question, bench.references[closest[a.index]].subject) or "") for a in bench.asked]


def _mean(tokens: Float[Tensor, "n d_llm"]) -> Float[Tensor, " d_llm"]:
    return tokens[present(tokens[None])[0]].mean(0)


def _statistics(example: Example) -> Float[Tensor, " feature"]:
    """Seven statistics of the values of each tensor, averaged over layers."""
    neutral = example.neutral
    whole = [_seven(x) for x in (neutral.W_E, neutral.W_pos, neutral.W_U)]
    layers = [torch.stack([_seven(getattr(layer, name)) for name in MATRICES]) for layer in neutral.layers]
    return torch.cat([*whole, *torch.stack(layers).mean(0)])


def _seven(x: Float[Tensor, "..."]) -> Float[Tensor, " 7"]:
    """The statistics of one tensor; zeros for an empty one."""
    if not x.numel():
        return x.new_zeros(7)
    return statistics(x.reshape(1, -1), torch.ones(1, x.numel(), dtype=torch.bool))[0]
