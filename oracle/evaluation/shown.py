"""Conditions that show the reader what is made of weights: of the target's own, or of something else in their place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from oracle.attention import present
from oracle.evaluation.bench import Bench, Said, answers, read_as
from oracle.evidence import Evidence
from oracle.questions import in_other_words
from oracle.symmetry import random_gauge
from tracr_tasks.transformer import Weights

SILENT = 1e-20
"""Every entry of a token that says nothing: no exact zero, which would be padding."""


def own(bench: Bench) -> list[Said]:
    """The target's own weights."""
    return _said(bench, bench.evidence, "own weights")


def familiar(bench: Bench) -> list[Said]:
    """The target's own weights, the same questions in words that were trained on."""
    rng = random.Random(bench.seed)
    asked = [replace(a, question=in_other_words(a.question, rng)) for a in bench.asked]
    return [Said(a.text, a.confidence) for a in answers(bench.oracle, asked, bench.evidence, "trained phrasings")]


def regauged(bench: Bench) -> list[Said]:
    """The same function in another random gauge: the answers must be the same."""
    seeds = range(bench.seed + 1_000_003, bench.seed + 1_000_003 + len(bench.targets))
    changed = [random_gauge(t.config, t.weights, seed) for t, seed in zip(bench.targets, seeds, strict=True)]
    return _said(bench, read_as(bench, changed), "another gauge")


def swapped(bench: Bench) -> list[Said]:
    """Another target's weights, of the same kind and architecture if there is one."""
    return _said(bench, [bench.evidence[i] for i in bench.donors], "another's weights")


def undrafted(bench: Bench) -> list[Said]:
    """The weight tokens of the target without the draft: what the language model reads for itself."""
    return _said(bench, [each.without_draft() for each in bench.evidence], "no draft")


def drafted(bench: Bench) -> list[Said]:
    """The draft without the weight tokens: what it would know from the small decoder alone."""
    return _said(bench, [each.without_tokens() for each in bench.evidence], "draft alone")


def gaussian(bench: Bench) -> list[Said]:
    """As many tokens of the same length in random directions, and no draft."""
    rng, tokens = torch.Generator().manual_seed(bench.seed), [each.tokens for each in bench.evidence]
    drawn = [torch.randn(t.shape, generator=rng).to(t) for t in tokens]
    sized = [
        d / d.norm(dim=-1, keepdim=True) * t.norm(dim=-1, keepdim=True) for d, t in zip(drawn, tokens, strict=True)
    ]
    return _said(bench, [Evidence(each) for each in sized], "Gaussian tokens")


def silent(bench: Bench) -> list[Said]:
    """As many tokens, all of them zero but for `SILENT`, and no draft."""
    tokens = [each.tokens for each in bench.evidence]
    shown = [torch.where(present(t[None])[0][:, None], SILENT, 0.0).expand_as(t).to(t) for t in tokens]
    return _said(bench, [Evidence(each) for each in shown], "zero tokens")


def shuffled(bench: Bench) -> list[Said]:
    """The target's weights, the entries of each tensor in random order: their statistics stay."""
    changed = [shuffled_entries(t.weights, bench.seed + i) for i, t in enumerate(bench.targets)]
    return _said(bench, read_as(bench, changed), "shuffled entries")


def architecture(bench: Bench) -> list[Said]:
    """Fresh random weights of the same shapes under the same labels: what is left is the architecture."""
    changed = [fresh_entries(t.weights, bench.seed + i) for i, t in enumerate(bench.targets)]
    return _said(bench, read_as(bench, changed), "architecture only")


def nothing(bench: Bench) -> list[Said]:
    """The question alone, to the reader that was trained on such questions in a share of its steps."""
    return _said(bench, None, "question only")


def base_alone(bench: Bench) -> list[Said]:
    """The question alone, to the base without its adapter."""
    with bench.oracle.reader.base_as_it_is():
        return _said(bench, None, "base, question only")


def shuffled_entries(weights: Weights, seed: int) -> dict[str, Tensor]:
    """The entries of each tensor in a random order."""
    rng = torch.Generator().manual_seed(seed)
    return {n: w.flatten()[torch.randperm(w.numel(), generator=rng)].view_as(w) for n, w in weights.items()}


def fresh_entries(weights: Weights, seed: int) -> dict[str, Tensor]:
    """Weights that know nothing but the shapes: matrices of random normal entries over the root of the number of rows,
    biases of zeros, gains of ones."""
    rng = torch.Generator().manual_seed(seed)
    out = {}
    for name, w in weights.items():
        if name.endswith(".w"):
            out[name] = torch.ones_like(w)
        elif w.dim() < 2 or ".b" in name:
            out[name] = torch.zeros_like(w)
        else:
            out[name] = torch.randn(w.shape, generator=rng).to(w) / max(1, w.shape[-2]) ** 0.5
    return out


def _said(bench: Bench, evidence: Sequence[Evidence] | None, label: str) -> list[Said]:
    found = answers(bench.oracle, bench.asked, evidence, label)
    return [Said(answer.text, answer.confidence) for answer in found]
