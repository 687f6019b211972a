"""Does an answer rest on the component that implements what is asked about?

Of compiled targets the compiler says which heads and neurons compute an operation. These are taken away, and then as
many others of the same kind: the loss on the answer "yes" to "does it use this operation?" and on the program has to
rise more in the first case. Paired by target and operation, clustered by target. No draft is shown, so that it is the
weight tokens that are asked about; of an oracle with drafts a third way shows, beside them, what the drafter writes
without the components.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from oracle.altered import lacking
from oracle.attention import present
from oracle.batch import WeightBatch, collate
from oracle.config import PLAIN
from oracle.evaluation.bench import Bench
from oracle.facts import Question
from oracle.neutral import fold
from oracle.part_questions import COMPUTED, has_parts
from oracle.phrasings import phrasings
from oracle.places import Place, places_of
from oracle.questions import OPERATIONS
from oracle.reader import Prefix
from oracle.statistics import Interval, clustered_mean, paired_p
from oracle.subjects import Example
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.wiring import Component, owners
from zoo.target import Target

WAYS = ("hidden from the encoder", "weight tokens left out", "hidden from encoder and drafter")
"""Of taking components away: the encoder sees nothing that they do; or the reader is not shown their own weight tokens
(of targets small enough to have one token a component); or those who write drafts see nothing of them either."""
ASKED = tuple(operation for operation in COMPUTED if operation in OPERATIONS)
"""Operations that components compute and that questions are about."""


@dataclass(frozen=True)
class Case:
    """An operation of a target, the components that compute it, and as many others of the same kinds."""

    index: int
    operation: str
    own: tuple[Place, ...]
    others: tuple[Place, ...]


@dataclass(frozen=True)
class Rise:
    """How much the loss on a right answer rises, in nats a token."""

    way: str
    family: str
    n: int
    own: Interval
    """Without the components that compute the operation."""
    others: Interval
    """Without as many others."""
    difference: Interval
    p: float
    """That the difference is zero."""


def localisation(bench: Bench, limit: int) -> list[Rise]:
    """Measure the rise on compiled targets, `limit` at most."""
    cases, examples = cases_of(bench, limit)
    rises: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for case in tqdm(cases, desc="localisation", leave=False):
        for (way, family), (own, others) in losses_of(bench, examples[case.index], case).items():
            rises.setdefault((way, family), []).append((bench.examples[case.index].id, own, others))
    return [_rise(way, family, found) for (way, family), found in rises.items()]


def _rise(way: str, family: str, found: Sequence[tuple[str, float, float]]) -> Rise:
    ids, own, others = ([row[0] for row in found], [row[1] for row in found], [row[2] for row in found])
    difference = [a - b for a, b in zip(own, others, strict=True)]
    one, two, both = (clustered_mean(each, ids) for each in (own, others, difference))
    return Rise(way, family, len(found), one, two, both, paired_p(difference, ids))


def cases_of(bench: Bench, limit: int) -> tuple[list[Case], dict[int, Example]]:
    """Cases of the first targets that are as they were compiled, and these targets in their own gauge: there the
    compiler's numbers of heads and neurons hold."""
    cases, examples = list[Case](), dict[int, Example]()
    for i, example in enumerate(bench.examples):
        if not has_parts(example.subject) or len(examples) == limit:
            continue
        compiled, target = compile_program(example.subject.program), bench.targets[i]
        if not as_compiled(compiled, target):
            continue
        found = [case for op in ASKED if (case := _case(i, op, compiled, random.Random(f"{bench.seed}/{i}/{op}")))]
        if found:
            examples[i] = replace(example, neutral=fold(target.config, target.weights))
            cases += found
    return cases, examples


def as_compiled(compiled: CompiledProgram, target: Target) -> bool:
    """Whether a target has the very weights that its program compiles to."""
    names = compiled.weights.keys()
    return names == target.weights.keys() and all(
        compiled.weights[name].shape == target.weights[name].shape
        and torch.equal(compiled.weights[name].to(target.weights[name]), target.weights[name])
        for name in names
    )


def _case(index: int, operation: str, compiled: CompiledProgram, rng: random.Random) -> Case | None:
    """None where nothing computes the operation, or there are not as many components of the same kinds that do not."""
    own, rest = list[Place](), list[Place]()
    for component, nodes in owners(compiled).items():
        if component.layer >= 0:
            (own if any(node.op == operation for node in nodes) else rest).extend(_places(component))
    others = list[Place]()
    for kind in ("head", "neuron"):
        wanted, there = sum(p.kind == kind for p in own), sorted(p for p in rest if p.kind == kind)
        if wanted > len(there):
            return None
        others += rng.sample(there, wanted)
    return Case(index, operation, tuple(own), tuple(others)) if own else None


def _places(component: Component) -> list[Place]:
    """A head, or each of some neurons."""
    if component.kind == "head":
        return [Place("head", component.layer, component.start)]
    return [Place("neuron", component.layer, i) for i in range(component.start, component.stop)]


@torch.no_grad()
def losses_of(bench: Bench, example: Example, case: Case) -> dict[tuple[str, str], tuple[float, float]]:
    """(way, family) -> rise of the loss without the own components, and without the others. Drafts are what decoders
    write: no program has the weights of a target with a part taken away, so that a search would find none."""
    reader, groups = bench.oracle.reader, ((), case.own, case.others)
    targets = [lacking(example.neutral, group) for group in groups]
    batch = collate(targets, [example.labels] * len(groups))
    hidden = bench.oracle.encoder(batch.to(reader.device), reader.table.detach().float())
    shown = {WAYS[0]: reader.read(hidden)}
    whole = hidden[:1]
    if int(present(whole).sum()) == batch.n_nodes[0]:  # one a component: not pooled
        order = _valid(batch)
        rows = [whole[0] * torch.tensor([[place not in group] for place in order]).to(whole) for group in groups]
        shown[WAYS[1]] = reader.read(pad_sequence(rows, batch_first=True))
    if bench.oracle.drafter is not None and example.pieces is not None:
        written = bench.oracle.drafter.write(targets, [example.pieces] * len(groups), PLAIN)
        shown[WAYS[2]] = reader.read(hidden, [draft.text for draft in written])
    found = {}
    for way, prefix in shown.items():
        for question in questions_of(case, example):
            base, own, others = _losses(bench, prefix, question)
            found[way, question.family] = own - base, others - base
    return found


def _valid(batch: WeightBatch) -> list[Place]:
    """What the weight tokens of the first target of a batch stand for, in their order."""
    first = batch.rows(torch.tensor([True] + [False] * (len(batch) - 1)))
    masks = [(ids != 0).any(-1)[0] for ids in (first.token_ids, first.position_ids)]
    masks += [torch.tensor([True]), (first.output_ids != 0).any(-1)[0]]
    masks += [mask[0] for layer in first.layers for mask in (layer.heads, layer.neurons)]
    return [place for place, there in zip(places_of(first), torch.cat(masks).tolist(), strict=True) if there]


def questions_of(case: Case, example: Example) -> list[Question]:
    """Whether the operation is used (yes), and the program."""
    uses = phrasings("uses", test=True)[0].format(operation=case.operation)
    program = phrasings("program", test=True)[0]
    return [Question("uses", uses, "yes", case.operation), Question("program", program, example.subject.text)]


def _losses(bench: Bench, prefix: Prefix, question: Question) -> list[float]:
    """The loss (nats a token) on the right answer behind each row of a prefix."""
    reader = bench.oracle.reader
    texts = reader.texts([reader.prompt(question.text)] * len(prefix), [question.truth] * len(prefix))
    loss = reader.answer_loss(texts, prefix).float()
    return [float(x) for x in loss.sum(1) / (texts.labels >= 0).sum(1)]
