"""The weights of a flowchart, written down and not learned, in a shape that trained targets have.

One layer, read at BOS. The residual stream has a direction for each token (and answer), one for BOS and one for each
position (and question):

    head q      looks from BOS at what question q is about, and writes to direction q whether it holds (1 or 0); a head
                for "2 of a" looks everywhere alike and writes the share of a's
    neuron b    is positive if all questions on the way to branch b are answered that way, and zero otherwise; it writes
                the answer of b

Directions are used twice: at BOS nothing stands in those of tokens and positions. So six tokens, answers and positions
need no more than the 13 of the 16 dimensions that the default architecture has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.transformer import TargetConfig, Weights, shapes
from zoo.conditions import At, AtLeast, Before, Condition, Contains, FirstIn, LastIn
from zoo.flowchart import Flowchart
from zoo.stack import N_SPECIAL
from zoo.tree import Tree

NORMS = (None, "RMSPre", "RMS")
"""Norms under which the construction holds: it is the same whatever factor a state is multiplied by."""
SHARP = 40.0
"""Score (nats) by which a head prefers what it looks at; what it should not see has a share of e^-40."""
GAIN = 8.0
"""Of the neurons' output, so that answers are clearly apart."""


@dataclass(frozen=True)
class Way:
    """From the first question to an answer."""

    asked: tuple[tuple[Condition, bool], ...]
    """Questions, and the answers to them."""
    answer: str


def ways(tree: Tree) -> Iterator[Way]:
    """Every branch, in the order of the text."""
    if isinstance(tree, str):
        yield Way((), tree)
        return
    for branch, truth in ((tree.yes, True), (tree.no, False)):
        for way in ways(branch):
            yield Way(((tree.condition, truth), *way.asked), way.answer)


def chart_weights(chart: Flowchart, config: TargetConfig) -> Weights:
    """Weights with which a target of this shape is the flowchart, exactly.

    Raises:
        ProgramError: the shape is too small or of a kind that it cannot be written in, a question compares two
            positions, or two questions on one way count; with every reason.
    """
    asked = tuple(dict.fromkeys(chart.conditions()))
    branches = tuple(ways(chart.root))
    if reasons := [Reason(None, text) for text in _problems(chart, config, asked, branches)]:
        raise ProgramError(reasons)
    weights = {name: torch.zeros(shape) for name, shape in shapes(config).items()}
    weights |= {name: torch.ones_like(tensor) for name, tensor in weights.items() if name.endswith(".w")}
    plan = Plan(chart, config, asked)
    _embed(plan, weights)
    for head, condition in enumerate(asked):
        _write_head(plan, weights, head, condition)
    for neuron, way in enumerate(branches):
        _write_neuron(plan, weights, neuron, way)
    return weights


@dataclass(frozen=True)
class Plan:
    """Which direction is whose."""

    chart: Flowchart
    config: TargetConfig
    asked: tuple[Condition, ...]

    @property
    def bos(self) -> int:
        """Of BOS, which stands for the constant 1 where the answer is read."""
        return max(len(self.chart.vocab), len(self.chart.answers))

    @property
    def width(self) -> int:
        """Directions that are used."""
        return self.bos + 1 + max(self.chart.max_seq_len, len(self.asked))

    def token(self, name: str) -> int:
        """Of an input token."""
        return self.chart.vocab.index(name)

    def position(self, number: int) -> int:
        """Of a position, counted from 1."""
        return self.bos + number

    def question(self, condition: Condition) -> int:
        """Of a question, at BOS."""
        return self.bos + 1 + self.asked.index(condition)

    def unit(self, n_ones: int) -> float:
        """What an entry of 1 in a state of so many ones is behind the norm."""
        return 1.0 if self.config.normalization_type is None else math.sqrt(self.config.d_model / n_ones)


def _problems(
    chart: Flowchart, config: TargetConfig, asked: tuple[Condition, ...], branches: tuple[Way, ...]
) -> Iterator[str]:
    """Every reason to refuse."""
    width = Plan(chart, config, asked).width
    kind = (config.normalization_type, config.act_fn, config.attention_dir)
    if config.normalization_type not in NORMS or config.act_fn != "relu" or config.attention_dir != "bidirectional":
        yield f"its network is {kind}: expected norm none, RMSPre or RMS, relu, bidirectional"
    for name, needed, got in (
        *(("d_model", width, config.d_model), ("n_heads", len(asked), config.n_heads)),
        *(("d_mlp", len(branches), config.d_mlp), ("n_ctx", chart.max_seq_len + 1, config.n_ctx)),
    ):
        if got < needed:
            yield f"{name} = {got}, expected at least {needed}"
    for condition in asked:
        if not isinstance(condition, At | Contains | AtLeast | Before | FirstIn | LastIn):
            yield f"'{condition.text()}': one layer of neurons cannot compare two positions that heads bring"
    if any(sum(isinstance(condition, AtLeast) for condition, _ in way.asked) > 1 for way in branches):
        yield "two questions on one way count, expected at most one: a neuron cannot tell 3 and 0 from 2 and 1"


def _embed(plan: Plan, weights: Weights) -> None:
    """A direction for each token, BOS, position and answer."""
    for i in range(len(plan.chart.vocab)):
        weights["embed.W_E"][N_SPECIAL + i, i] = 1.0
    weights["embed.W_E"][0, plan.bos] = 1.0
    for number in range(1, plan.chart.max_seq_len + 1):
        weights["pos_embed.W_pos"][number, plan.position(number)] = 1.0
    for i in range(len(plan.chart.answers)):
        weights["unembed.W_U"][i, i] = 1.0


def _write_head(plan: Plan, weights: Weights, head: int, condition: Condition) -> None:
    """Scores from BOS, and what is moved: 1 if the question's answer is yes, else 0; of a count the share."""
    at_bos, elsewhere = plan.unit(1), plan.unit(2)
    query, key, value, out = (weights[f"blocks.0.attn.W_{name}"][head] for name in "QKVO")
    query[plan.bos, 0] = math.sqrt(plan.config.d_head) / at_bos
    for direction, score in _scores(plan, condition).items():
        key[direction, 0] = score / (at_bos if direction == plan.bos else elsewhere)
    for token in _values(condition):
        value[plan.token(token), 0] = 1 / elsewhere
    out[0, plan.question(condition)] = 1.0


def _scores(plan: Plan, condition: Condition) -> dict[int, float]:
    """Score of each direction, in nats; a position's and its token's add up."""
    last = plan.chart.max_seq_len
    match condition:
        case At(position, _):
            return {plan.position(position): SHARP}
        case FirstIn():
            return {plan.position(1): SHARP}
        case LastIn():
            return {plan.position(last): SHARP}
        case Contains(token):
            return {plan.token(token): 2 * SHARP, plan.bos: SHARP}
        case Before(token, other):  # the earliest of both wins, and BOS where there is neither
            early = {plan.position(i): -SHARP * i for i in range(1, last + 1)}
            return early | {plan.token(name): SHARP * (last + 1) for name in (token, other)}
    return {}


def _values(condition: Condition) -> tuple[str, ...]:
    """Tokens that say yes where a head looks."""
    return (condition.token,) if isinstance(condition, Before) else condition.tokens


def _write_neuron(plan: Plan, weights: Weights, neuron: int, way: Way) -> None:
    """Positive if all answers on the way are given: their number above all but one, or the count above its bound."""
    length = plan.chart.max_seq_len
    reads = weights["blocks.0.mlp.W_in"][:, neuron]
    counts = False
    for condition, truth in way.asked:
        sign, direction = (1.0 if truth else -1.0), plan.question(condition)
        if isinstance(condition, AtLeast):  # the share times all that a head sees is the number
            counts = True
            reads[direction] += sign * (length + 1)
            reads[plan.bos] -= sign * (condition.count - 0.5)
        else:  # more than any count can make up for, where one is not given
            reads[direction] += sign * (length + 1)
            reads[plan.bos] -= (length + 1) if truth else 0.0
    reads[plan.bos] += 0.0 if counts else 1.0
    weights["blocks.0.mlp.W_out"][neuron, plan.chart.answers.index(way.answer)] = GAIN
