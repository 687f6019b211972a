"""Fit an oracle's confidence to what it gets right on targets of a zoo that it has not learned from."""

from __future__ import annotations

import random

import numpy as np
import torch

from oracle.bases import ASSETS
from oracle.calibration import Calibrator, counted, fitted, signs_of
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
    of_zoos = [load_examples(z, oracle.reader, split=config.split, limit=config.limit, seed=config.seed) for z in zoos]
    examples = [example for of_zoo in of_zoos for example in of_zoo]
    targets = [(place, zoo.target(e.id)) for place, zoo in enumerate(zoos) for e in of_zoos[place]]
    asked = [
        Asked(i, question)
        for i, example in enumerate(examples)
        for question in one_of_each(example.subject, rng, families=oracle.families)
        if question.family != "regime"  # its target's shape gives it away
    ]
    asked.sort(key=lambda each: each.question.family)
    shown = looked_at(oracle, examples)
    clusters = [f"{targets[each.index][0]}/{examples[each.index].id}" for each in asked]
    said = answers(oracle, asked, shown, "answers", config.samples)
    right = np.array(
        [
            grade(each.question, answer.text, examples[each.index].subject, targets[each.index][1]).correct
            for each, answer in zip(asked, said, strict=True)
        ]
    )
    drafted = oracle.drafter is not None
    plain = fitted(
        np.stack([signs_of(a.text, a.log_probs, draft=counted(a.draft, drafted)) for a in said]), right, clusters
    )
    sampled = None
    if config.samples:
        signs = [signs_of(a.text, a.log_probs, a.agreement, counted(a.draft, drafted)) for a in said]
        sampled = fitted(np.stack(signs), right, clusters)
    found = Calibrator(
        plain, sampled, config.samples, len(right), " ".join(zoo.content_hash() for zoo in zoos), drafted
    )
    found.save(folder)
    return found
