"""What one chunk of a build makes: regime, seeds and program of each target, and its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, Weights
from zoo.flowchart import Flowchart
from zoo.rows import Failure, ZooRow
from zoo.sampling import sample_flowchart
from zoo.shard import Member, family_of, flatten, row_sha256
from zoo.spec import ZooSpec
from zoo.split import draw_of_splits, split_of
from zoo.stack import initial_params, member_weights, target_config
from zoo.target import Vocab
from zoo.train import train_stack

Device = Literal["cpu", "cuda"]
"""Where stacks are trained."""
TRIED = 3
"""Seeds for which no flowchart may be found before the spec is refused."""


@dataclass(frozen=True)
class ChunkPlan:
    """Targets `start` to `stop` of one part and regime."""

    regime: str
    number: int
    """Of the chunk within its part and regime."""
    start: int
    stop: int
    part: str = ""

    @property
    def stem(self) -> str:
        """What the names of the chunk and of its targets begin with."""
        return stem_of(self.part, self.regime)

    @property
    def name(self) -> str:
        """Of its shard."""
        return f"{self.stem}-{self.number:05d}"

    def __len__(self) -> int:
        return self.stop - self.start

    def ids(self) -> list[str]:
        """Of its targets."""
        return [f"{self.stem}-{i:06d}" for i in range(self.start, self.stop)]

    def seeds(self, spec: ZooSpec) -> list[int]:
        """One seed a target; it depends on the spec's seed, part, regime and the target's number only."""
        return [seed_of(spec.seed, self.stem, i) for i in range(self.start, self.stop)]


@dataclass(frozen=True)
class Facts:
    """What a regime says of a target beside its weights."""

    kind: str
    text: str
    program_vocab: str
    vocab: Vocab
    max_seq_len: int
    causal: bool
    function_hash: str
    structure_hash: str
    labels: dict[str, Any]


def stem_of(part: str, regime: str) -> str:
    """Part and regime as one word: "trained", "long-trained"."""
    return f"{part}-{regime}" if part else regime


def seed_of(seed: int, stem: str, number: int) -> int:
    """A 63-bit seed."""
    digest = hashlib.sha256(f"{seed}:{stem}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def plan_chunks(spec: ZooSpec) -> list[ChunkPlan]:
    """Every chunk of a zoo, in the order of the index. None reaches over a number at which a build once ended."""
    out = []
    for part, regime, count in spec.counts():
        once = spec.growth.ends.get(stem_of(part, regime), ()) if spec.growth else ()
        bounds = [0, *(end for end in once if end < count), count]
        spans = [
            (start, min(start + spec.chunk, high))
            for low, high in pairwise(bounds)
            for start in range(low, high, spec.chunk)
        ]
        out += [ChunkPlan(regime, number, start, stop, part) for number, (start, stop) in enumerate(spans)]
    return out


def make_chunk(spec: ZooSpec, plan: ChunkPlan, device: Device = "cpu") -> tuple[list[Member], list[Failure]]:
    """A chunk's targets, and what could not be made; flowcharts are trained on `device`, other networks on the CPU."""
    if spec.recipe(plan.part).legible is not None:
        from zoo.legible.making import make_legible

        return make_legible(spec, plan)
    from zoo.compiled import make_compiled
    from zoo.compiled_charts import make_compiled_charts

    if plan.regime == "trained":
        return make_trained(spec, plan, device)
    if plan.regime == "untrained":
        return make_untrained(spec, plan)
    return make_compiled_charts(spec, plan) if writes_charts(spec, plan) else make_compiled(spec, plan)


def writes_charts(spec: ZooSpec, plan: ChunkPlan) -> bool:
    """Whether a chunk's targets are flowcharts that are written into networks of the trained ones' shape."""
    recipe = spec.recipe(plan.part)
    return plan.regime == "compiled" and recipe.legible is None and recipe.compiles == "flowchart"


def member_of(
    plan: ChunkPlan, target_id: str, seed: int, config: TargetConfig, weights: Weights, facts: Facts
) -> Member | Failure:
    """A target's row and weights, or why it cannot be kept."""
    flat = flatten(config, weights)
    if not np.isfinite(flat).all():
        return Failure(target_id, seed, "its weights are not finite")
    sha256 = row_sha256(flat)
    function_hash = facts.function_hash or sha256[:16]
    row = ZooRow(
        id=target_id,
        shard=plan.name,
        row=0,
        family=family_of(config),
        seed=seed,
        regime=plan.regime,
        kind=facts.kind,
        text=facts.text,
        program_vocab=facts.program_vocab,
        input_names=facts.vocab.input,
        output_names=facts.vocab.output,
        max_seq_len=facts.max_seq_len,
        causal=facts.causal,
        function_hash=function_hash,
        structure_hash=facts.structure_hash,
        split=split_of(function_hash, facts.structure_hash),
        n_params=len(flat),
        sha256=sha256,
        labels=facts.labels,
        part=plan.part,
    )
    return row, config, flat


def sorted_out(made: Sequence[Member | Failure]) -> tuple[list[Member], list[Failure]]:
    """Members and failures apart."""
    failures = [item for item in made if isinstance(item, Failure)]
    return [item for item in made if not isinstance(item, Failure)], failures


def make_trained(spec: ZooSpec, plan: ChunkPlan, device: Device = "cpu") -> tuple[list[Member], list[Failure]]:
    """Flowcharts, learned as one stack."""
    recipe, config = spec.recipe(plan.part), config_of(spec, plan)
    charts: list[tuple[str, int, Flowchart]] = []
    failures = []
    for target_id, seed in zip(plan.ids(), plan.seeds(spec), strict=True):
        try:
            charts.append((target_id, seed, draw_chart(recipe, seed)))
        except InputError as problem:
            failures.append(Failure(target_id, seed, str(problem)))
    if not charts:
        return [], failures
    seeds = [seed for _, seed, _ in charts]
    stack = train_stack(config, [chart for _, _, chart in charts], seeds, recipe.training, device)
    made: list[Member | Failure] = []
    for i, (target_id, seed, chart) in enumerate(charts):
        labels = stack.records[i].to_json() | ({} if device == "cpu" else {"device": device})
        facts = flowchart_facts(chart, labels)
        made.append(member_of(plan, target_id, seed, config, member_weights(config, stack.params, i), facts))
    members, diverged = sorted_out(made)
    return members, failures + diverged


def draw_chart(recipe: ZooSpec, seed: int) -> Flowchart:
    """The first flowchart from a seed on that is of the splits wanted."""
    return draw_of_splits(lambda at: sample_flowchart(at, recipe.flowcharts), _split_of_chart, seed, recipe.splits)


def check_recipes(spec: ZooSpec) -> None:
    """Refuse recipes that cannot give a program, before anything is built.

    Raises:
        InputError: a field or value that the sampler of programs refuses, or flowcharts, programs, embeddings or
            concepts that there are not.
    """
    from zoo.compiled import sampler_config

    for part in dict.fromkeys(part for part, _, _ in spec.counts()):
        if spec.recipe(part).legible is not None:
            from zoo.legible.making import check_legible

            check_legible(spec, part)
    for part, regime, _ in spec.counts():
        recipe = spec.recipe(part)
        if recipe.legible is not None:
            continue
        if regime == "compiled" and recipe.compiles == "rasp":
            sampler_config(recipe)
        elif regime != "untrained":
            _try_flowcharts(recipe)


def _try_flowcharts(recipe: ZooSpec) -> None:
    for seed in range(TRIED):
        try:
            sample_flowchart(seed, recipe.flowcharts)
        except InputError:
            if seed == TRIED - 1:
                raise
        else:
            return


def make_untrained(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Initial weights of the trained family and nothing else; their function is named by their own bytes."""
    seeds, config = plan.seeds(spec), config_of(spec, plan)
    params = initial_params(config, seeds)
    chart = spec.recipe(plan.part).flowcharts
    vocab = Vocab(("BOS", "PAD", *chart.vocab()), chart.answers())
    facts = Facts("none", "", json.dumps(chart.vocab()), vocab, chart.max_seq_len, False, "", "", {})
    made = [
        member_of(plan, target_id, seed, config, member_weights(config, params, i), facts)
        for i, (target_id, seed) in enumerate(zip(plan.ids(), seeds, strict=True))
    ]
    return sorted_out(made)


def _split_of_chart(chart: Flowchart) -> str:
    return split_of(chart.function_hash(), chart.structure_hash())


def config_of(spec: ZooSpec, plan: ChunkPlan) -> TargetConfig:
    """Configuration of a chunk's trained or untrained targets; those of a legible recipe may have fewer outputs."""
    spec = spec.recipe(plan.part)
    if spec.legible is not None:
        from zoo.legible.programs import network_config

        return network_config(spec.legible, plan.regime)
    chart = spec.flowcharts
    shape = spec.architectures[plan.number % len(spec.architectures)]
    return target_config(shape, chart.vocab_size, chart.n_answers, chart.max_seq_len)


def flowchart_facts(chart: Flowchart, labels: dict[str, Any]) -> Facts:
    """What a flowchart says of its target."""
    return Facts(
        kind="flowchart",
        text=chart.text(),
        program_vocab=json.dumps(chart.vocab),
        vocab=Vocab(("BOS", "PAD", *chart.vocab), chart.answers),
        max_seq_len=chart.max_seq_len,
        causal=False,
        function_hash=chart.function_hash(),
        structure_hash=chart.structure_hash(),
        labels=labels,
    )
