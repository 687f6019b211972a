"""Fit an oracle's confidence to what it gets right on targets of a zoo that it has not learned from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from oracle.bases import ASSETS
from oracle.calibration import Calibrator, Fit, counted, fitted, signs_of
from oracle.config import CalibrateConfig
from oracle.evaluation.bench import Asked, answers, looked_at
from oracle.grade import grade
from oracle.loading import load_examples
from oracle.oracle import WeightOracle
from oracle.questions import one_of_each
from zoo.store import Zoo


def calibrate(config: CalibrateConfig) -> Calibrator:
    """Ask, grade, fit, and save calibrator.json in the oracle's folder.

    Raises:
        InputError: too few targets.
        OracleError: a missing or damaged oracle.
    """
    torch.set_num_threads(config.threads)
    folder = config.oracle or ASSETS / "oracle"
    oracle, rng = WeightOracle.from_pretrained(folder), random.Random(config.seed)
    zoos = [Zoo.open(path) for path in (config.zoo, *config.also)]
    options: dict[str, Any] = {"split": config.split, "limit": config.limit, "seed": config.seed}
    known = [(i, example) for i, zoo in enumerate(zoos) for example in load_examples(zoo, oracle.reader, **options)]
    examples = [example for _, example in known]
    asked = [
        Asked(i, question)
        for i, example in enumerate(examples)
        for question in one_of_each(example.subject, rng, families=oracle.families)
        if question.family != "regime"  # its target's shape gives it away
    ]
    asked.sort(key=lambda each: each.question.family)
    shown, about = looked_at(oracle, examples), [known[each.index] for each in asked]
    said = answers(oracle, asked, shown, "answers", config.samples)
    right = np.array(
        [
            grade(each.question, answer.text, example.subject, zoos[i].target(example.id)).correct
            for each, answer, (i, example) in zip(asked, said, about, strict=True)
        ]
    )
    clusters = [f"{i}/{example.id}" for i, example in about]
    drafted = oracle.drafter is not None
    supported = oracle.drafter is not None and oracle.drafter.effort.namings > 0

    def fit(agreed: bool) -> Fit:
        """A fit to all answers, with the agreement of their samples or without."""
        signs = [
            signs_of(
                a.text,
                a.log_probs,
                a.agreement if agreed else None,
                counted(a.draft, drafted),
                a.support,
                supported,
            )
            for a in said
        ]
        return fitted(np.stack(signs), right, clusters)

    hashes = " ".join(zoo.content_hash() for zoo in zoos)
    sampled = fit(agreed=True) if config.samples else None
    found = Calibrator(fit(agreed=False), sampled, config.samples, len(right), hashes, drafted, supported)
    found.save(folder)
    return found
