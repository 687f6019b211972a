"""How often a target gives its flowchart's answer."""

from __future__ import annotations

import numpy as np
import torch

from zoo.flowchart import Flowchart, input_ids
from zoo.stack import N_SPECIAL
from zoo.target import BOS, Target

RUN_INPUTS = 512
"""Inputs that a target is run on."""


def flowchart_accuracy(target: Target, chart: Flowchart) -> float:
    """Share of 512 random inputs (drawn under a fixed seed) on which a target gives its flowchart's answer."""
    pool = input_ids(len(chart.vocab), chart.max_seq_len)
    ids = pool[np.random.Generator(np.random.PCG64(4)).integers(0, len(pool), RUN_INPUTS)]
    full = torch.from_numpy(np.concatenate([np.full((len(ids), 1), BOS), ids + N_SPECIAL], 1))
    read = -1 if target.config.read_out == "last" else 0
    said = target.run(full)[:, read].argmax(-1).numpy()
    return float((said == chart.run_batch(ids)).mean())
