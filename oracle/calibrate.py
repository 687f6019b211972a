"""Fit an oracle's confidence to what it gets right on targets of a zoo that it has not learned from."""

from __future__ import annotations

import random

import numpy as np
import torch

from oracle.bases import ASSETS
from oracle.calibration import Calibrator, fitted, signs_of
from oracle.config import CalibrateConfig
from oracle.evaluate import Asked, answers, encoded
from oracle.grade import grade
from oracle.oracle import WeightOracle
from oracle.questions import one_of_each
from oracle.subjects import load_examples
from zoo.store import Zoo


def calibrate(config: CalibrateConfig) -> Calibrator:
    """Ask, grade, fit, and save calibrator.json in the oracle's folder.

    Raises:
        InputError: too few targets.
        OracleError: a missing or damaged oracle.
    """
    torch.set_num_threads(config.threads)
    folder = config.oracle or ASSETS / "oracle"
    oracle, zoo, rng = WeightOracle.from_pretrained(folder), Zoo.open(config.zoo), random.Random(config.seed)
    examples = load_examples(zoo, oracle.reader, split=config.split, limit=config.limit, seed=config.seed)
    asked = [
        Asked(i, question)
        for i, example in enumerate(examples)
        for question in one_of_each(example.subject, rng, families=oracle.families)
        if question.family != "regime"  # its target's shape gives it away
    ]
    asked.sort(key=lambda each: each.question.family)
    said = answers(oracle, asked, encoded(oracle, examples), "answers")
    right = [
        grade(each.question, answer.text, examples[each.index].subject, zoo.target(examples[each.index].id)).correct
        for each, answer in zip(asked, said, strict=True)
    ]
    signs = np.stack([signs_of(answer.text, answer.log_probs) for answer in said])
    found = fitted(signs, np.array(right), [examples[each.index].id for each in asked], zoo.content_hash())
    found.save(folder)
    return found
