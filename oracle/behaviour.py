"""Flowcharts that weights suggest, told apart by running the target on a few inputs.

A decoder reads the conditions and answers of a flowchart almost always, and where the whole structure is new it takes
the shape of the tree for the usual one: the right program is then its second or third choice. A few runs tell:

    texts that the decoder finds likely -> a prior over programs, and a share for "none of them"
    -> the input on which they disagree most, as their probabilities are now -> the target is run on it
    -> Bayes' rule, an answer being a slip with probability `SLIP` -> again; when they agree on all inputs that are at
       hand, the likeliest program's branches are visited in turn, the least visited one first

The inputs are random ones and some to each branch of each program, so that rare branches are looked at too. This is no
reading of weights alone: whoever asks for it is told how often the target was run. What the weights add is in the
control: with another target's texts none is right, and the share of "none" takes over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from oracle.batch import N_SPECIALS
from oracle.decoder import Written
from oracle.trials import Draft
from oracle.weighing import inputs_for
from tracr_tasks.errors import ProgramError
from tracr_tasks.target_config import TargetConfig
from zoo.canonical import canonical
from zoo.flowchart import Flowchart
from zoo.target import Vocab

SLIP = 0.02
"""Probability that a target answers otherwise than its program: trained ones are right on 98% of inputs and more."""
NONE = 0.05
"""Probability that no text is right, before anything is run."""
SETTLED = 1e-3
"""Nats of doubt about the answer to an input below which running it says nothing."""


@runtime_checkable
class Answering(Protocol):
    """What is run: a `zoo.target.Target`."""

    @property
    def config(self) -> TargetConfig:
        """Shape and kind."""

    def encode(self, sequences: Sequence[Sequence[str]]) -> Int[Tensor, "batch pos"]:
        """Token ids of sequences of token names."""

    @property
    def vocab(self) -> Vocab:
        """Names of its labels."""

    def answers(self, ids: Int[Tensor, "batch pos"]) -> list[list[str]]:
        """What it says to each, by name."""


def can_be_run(target: Answering) -> bool:
    """Whether a target gives one of its answers to an input, as flowcharts do."""
    return target.config.read_out != "all" and target.config.output == "categorical"


def told_apart(target: Answering, drafts: Sequence[Draft], runs: int, seed: int = 0) -> Written | None:
    """The likeliest of the drafts that are flowcharts, in canonical text, after a target that `can_be_run` was run on
    `runs` inputs, one at a time; None if none of them is one.

    Its `log_prob` is that of a program with the same answers on all inputs at hand, given what the target answered;
    `fits` is false where "none of them" has become likelier.
    """
    among = [(draft, draft.program) for draft in drafts if isinstance(draft.program, Flowchart)]
    if not among:
        return None
    programs = [program for _, program in among]
    inputs = inputs_for(programs, np.random.default_rng(seed))
    said = np.stack([program.run_batch(inputs) for program in programs])
    belief = _Belief.of(np.array([draft.log_prob for draft, _ in among]), said, len(target.vocab.output))
    visits = [program.branch_batch(inputs) for program in programs]
    tokens = target.vocab.input[N_SPECIALS:]
    for _ in range(min(runs, len(inputs))):
        place = belief.next(visits)
        ((answer,),) = target.answers(target.encode([[tokens[i] for i in inputs[place]]]))
        belief.learn(place, target.vocab.output.index(answer))
    best, probability, none = belief.outcome()
    done = int(belief.used.sum())
    return Written(_plainest(programs[best]), math.log(max(probability, 1e-300)), runs=done, fits=none <= 0.5)


def _plainest(program: Flowchart) -> str:
    """The canonical text of its function; its own where the conditions are too entangled."""
    try:
        return canonical(program).text()
    except ProgramError:
        return program.text()


@dataclass
class _Belief:
    """Log-probabilities of programs and of none of them, and the inputs on which the target was run."""

    log: Float[np.ndarray, " program"]
    none: float
    said: Int[np.ndarray, "program input"]
    """Answers of the programs, as places among the target's."""
    n_answers: int
    used: np.ndarray

    @classmethod
    def of(cls, log_probs: Float[np.ndarray, " program"], said: Int[np.ndarray, "program input"], n: int) -> _Belief:
        """Before anything is run; log-probabilities of texts, the programs' answers, how many answers there are."""
        log = log_probs - np.logaddexp.reduce(log_probs) + math.log(1 - NONE)
        return cls(log, math.log(NONE), said, n, np.zeros(said.shape[1], dtype=bool))

    def next(self, visits: Sequence[Int[np.ndarray, " input"]]) -> int:
        """The input that was not run on whose answer there is most doubt; where there is none, one to the branch of the
        likeliest program that was visited least. `visits` are the branches that inputs reach, for each program."""
        shares = np.exp(self.log - np.logaddexp.reduce(self.log))
        doubt = np.zeros(self.said.shape[1])
        for answer in range(self.n_answers):
            mass = shares @ (self.said == answer)
            doubt -= mass * np.log(np.maximum(mass, 1e-300))
        doubt[self.used] = -1.0
        if doubt.max() > SETTLED:
            return int(doubt.argmax())
        branch = visits[int(self.log.argmax())]
        seen = np.bincount(branch[self.used], minlength=int(branch.max()) + 1)
        return int(np.where(self.used, np.iinfo(np.int64).max, seen[branch]).argmin())

    def learn(self, place: int, answer: int) -> None:
        """The target gave this answer to an input."""
        slip = math.log(SLIP / max(1, self.n_answers - 1))
        self.log = self.log + np.where(self.said[:, place] == answer, math.log(1 - SLIP), slip)
        self.none -= math.log(self.n_answers)
        self.used[place] = True

    def outcome(self) -> tuple[int, float, float]:
        """The likeliest program, the probability that one with its answers is right, and that none is."""
        total = np.logaddexp(np.logaddexp.reduce(self.log), self.none)
        best = int(self.log.argmax())
        same = (self.said == self.said[best]).all(1)
        return best, float(np.exp(np.logaddexp.reduce(self.log[same]) - total)), float(np.exp(self.none - total))
