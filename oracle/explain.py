"""Which layers, heads and neurons an answer rests on.

Each is taken away in turn: the target is read again as if it wrote nothing there, by the encoder and, if the oracle
shows its reader drafts, by the decoder that writes them. The rise of the loss on the answer says what was read there.
The target itself is never run.

    explain(oracle, target, "Does it use aggregate?").parts[0]     Part("head 0.1", layer=0, kind="head", rise=0.9)

The control is a part that means nothing: one more head, or neuron, with the entries of one of the target's own in
random order. What the loss rises by when it comes is what a rise may be that says little. Rises are the same in every
gauge; the control is drawn in the basis that the target is stored in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.altered import KINDS, Kind, lacking, with_stranger
from oracle.config import PLAIN
from oracle.decoder import CODEC
from oracle.drafter import can_be_drafted
from oracle.evidence import Evidence
from oracle.neutral import Neutral, fold, positions_of
from oracle.places import Place
from oracle.reader import Prefix, Reader
from oracle.trials import Trial, result_of, to_say, told
from zoo.target import Target

if TYPE_CHECKING:
    from oracle.oracle import WeightOracle

MAX_ALONE = 128
"""Heads, or neurons, of a target up to which each is taken away alone; of more, all those of a layer at once."""
MAX_ROWS = 32
"""Targets that are read at a time."""
MAX_NUMBERS = 4_000_000
"""Parameters that are read at a time, but for two targets of any size."""
N_STRANGERS = 8
"""Heads, and neurons, that the control adds, one at a time."""


@dataclass(frozen=True)
class Part:
    """A part of a target, and how much it moves the loss on an answer."""

    name: str
    """layer 0, head 0.1 (head 1 of layer 0), neuron 1.7; heads 0 or neurons 1 for all of a layer, where there are more
    than `MAX_ALONE`; random head or random neuron for the control."""
    layer: int
    kind: str
    """layer (its heads and neurons; its biases stay), head, neuron, heads or neurons."""
    rise: float
    """Nats by which the loss on the whole answer rises when it is taken away; below zero if the answer gets likelier.
    Of the control, when it is added."""


@dataclass(frozen=True)
class Explanation:
    """What an answer rests on."""

    question: str
    answer: str
    parts: tuple[Part, ...]
    """Every part, that with the largest rise first."""
    control: tuple[Part, ...] = ()
    """Random heads and neurons, each added to the target, in the order of their rises too."""


def explain(oracle: WeightOracle, target: Target, question: str, answer: str | None = None) -> Explanation:
    """What an answer about a target rests on; the oracle's own answer if none is given.

    The time grows with the number of parts, each being a target more to be read. `oracle.open(target)` keeps what was
    read for further questions.

    Raises:
        InputError: the target is larger than the oracle reads.
    """
    return oracle.open(target).explain(question, answer)


Read = tuple[tuple[Part, ...], tuple[Evidence, ...]]
"""Some parts, and what is shown of the target: whole, then without each part (or with each of the control)."""


class Dissection:
    """A target read once for each of its parts, as if it lacked this part: for any number of questions about it."""

    def __init__(self, oracle: WeightOracle, target: Target, seed: int = 0):
        """Read it. Args: `seed` draws the control.

        Raises:
            InputError: the target is larger than the oracle reads.
        """
        oracle.check_size(target)
        self.oracle, self.target = oracle, target
        whole = fold(target.config, target.weights)
        self._taken = self._look(whole, _taken(whole))
        self._added = self._look(whole, _added(whole, random.Random(seed)))

    def explain(self, question: str, answer: str, trial: Trial | None = None) -> Explanation:
        """What an answer to a question rests on, before which the reader has tried something or has not: it is tried
        with the draft of each."""
        taken, added = (self._risen(each, question, answer, trial) for each in (self._taken, self._added))
        return Explanation(question, answer, taken, added)

    @torch.no_grad()
    def _look(self, whole: Neutral, altered: Iterator[tuple[Part, Neutral]]) -> list[Read]:
        """All that a reader is shown of the whole target and of altered ones, some at a time."""
        oracle, vocab, config = self.oracle, self.target.vocab, self.target.config
        labels = oracle.reader.label_ids(vocab.input, positions_of(config), vocab.output)
        pieces = (
            CODEC.label_ids(vocab.input, config.n_ctx, vocab.output) if can_be_drafted(self.target, whole) else None
        )
        found, size = list[Read](), max(1, min(MAX_ROWS, MAX_NUMBERS // max(1, self.target.n_parameters)) - 1)
        while some := list(islice(altered, size)):
            parts, targets = zip(*some, strict=True)
            read = [whole, *targets]
            evidence = [Evidence(tokens) for tokens in oracle.read(read, [labels] * len(read))]
            if oracle.drafter is not None and pieces is not None:
                drafts = oracle.drafter.write(read, [pieces] * len(read), PLAIN)
                evidence = [replace(each, draft=draft) for each, draft in zip(evidence, drafts, strict=True)]
            found.append((parts, tuple(evidence)))
        return found

    @torch.no_grad()
    def _risen(self, read: list[Read], question: str, answer: str, trial: Trial | None) -> tuple[Part, ...]:
        """Parts with the rise of the loss (nats) on the whole answer, the largest first."""
        reader, found = self.oracle.reader, list[Part]()
        for parts, evidence in read:
            prompts, prefix = [reader.prompt(question)] * len(evidence), self.oracle.prefix(evidence)
            losses, said = torch.zeros(len(evidence), dtype=torch.double), [answer] * len(evidence)
            if trial is not None:
                losses += _losses(reader, prompts, [trial.text] * len(evidence), prefix)
                results = [result_of(trial, each.draft) for each in evidence]
                said = [to_say(answer, result) for result in results]
                prompts = [
                    prompt + told(trial, result, reader.special)
                    for prompt, result in zip(prompts, results, strict=True)
                ]
            whole, *others = (losses + _losses(reader, prompts, said, prefix)).tolist()
            found += [replace(part, rise=loss - whole) for part, loss in zip(parts, others, strict=True)]
        return tuple(sorted(found, key=lambda part: -part.rise))


def _losses(reader: Reader, prompts: Sequence[str], said: Sequence[str], prefix: Prefix) -> Float[Tensor, " target"]:
    """The loss (nats) on what is said to each prompt, behind its row of a prefix."""
    texts = reader.texts(prompts, said)
    return reader.answer_loss(texts, prefix).double().sum(1).cpu()


def _taken(whole: Neutral) -> Iterator[tuple[Part, Neutral]]:
    """The parts of a target, their rises not yet known, and the target without each."""
    sizes: list[dict[Kind, int]] = [{"head": len(layer.W_O), "neuron": len(layer.W_out)} for layer in whole.layers]
    alone = {kind: sum(size[kind] for size in sizes) <= MAX_ALONE for kind in KINDS}
    for i, size in enumerate(sizes):
        places = {kind: [Place(kind, i, n) for n in range(size[kind])] for kind in KINDS}
        yield Part(f"layer {i}", i, "layer", 0.0), lacking(whole, [p for each in places.values() for p in each])
        for kind, each in places.items():
            if alone[kind]:
                yield from ((Part(f"{kind} {i}.{p.index}", i, kind, 0.0), lacking(whole, [p])) for p in each)
            elif each:
                yield Part(f"{kind}s {i}", i, f"{kind}s", 0.0), lacking(whole, each)


def _added(whole: Neutral, rng: random.Random) -> Iterator[tuple[Part, Neutral]]:
    """The control: random heads and neurons, and the target with each."""
    for kind in KINDS:
        for _ in range(N_STRANGERS):
            if (found := with_stranger(whole, kind, rng)) is not None:
                yield Part(f"random {kind}", found[1], kind, 0.0), found[0]
