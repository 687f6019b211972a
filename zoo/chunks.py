"""What one chunk of a build makes: regime, seeds and program of each target, and its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tracr_tasks.transformer import TargetConfig, Weights
from zoo.flowchart import Flowchart
from zoo.rows import ZooRow
from zoo.sampling import sample_flowchart
from zoo.shard import Failure, family_of, flatten, row_sha256, write_shard
from zoo.spec import REGIMES, ZooSpec
from zoo.split import draw_of_splits, split_of
from zoo.stack import initial_params, member_weights, target_config
from zoo.target import Vocab
from zoo.train import train_stack

Member = tuple[ZooRow, TargetConfig, Float[np.ndarray, " _"]]
"""A finished target: index row, architecture, flat weights."""


@dataclass(frozen=True)
class ChunkPlan:
    """Targets `start` to `stop` of a regime."""

    regime: str
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Of the shard."""
        return f"{self.regime}-{self.number:05d}"

    def ids(self) -> list[str]:
        """Of its targets."""
        return [f"{self.regime}-{i:06d}" for i in range(self.start, self.stop)]

    def seeds(self, spec: ZooSpec) -> list[int]:
        """One seed a target; it depends on the spec's seed, the regime and the target's number only."""
        return [seed_of(spec.seed, self.regime, i) for i in range(self.start, self.stop)]


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


def seed_of(seed: int, regime: str, number: int) -> int:
    """A 63-bit seed."""
    digest = hashlib.sha256(f"{seed}:{regime}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def plan_chunks(spec: ZooSpec) -> list[ChunkPlan]:
    """Every chunk of a zoo, in the order of the index."""
    return [
        ChunkPlan(regime, number, start, min(start + spec.chunk, spec.count(regime)))
        for regime in REGIMES
        for number, start in enumerate(range(0, spec.count(regime), spec.chunk))
    ]


def build_chunk(spec: ZooSpec, plan: ChunkPlan, directory: Path) -> str:
    """Make a chunk's targets, write its shard, and return its name."""
    maker: Callable[[ZooSpec, ChunkPlan], tuple[list[Member], list[Failure]]]
    if plan.regime == "compiled":
        from zoo.compiled import make_compiled

        maker = make_compiled
    else:
        maker = make_trained if plan.regime == "trained" else make_untrained
    members, failures = maker(spec, plan)
    write_shard(directory, plan.name, spec.hash(), list(placed(members)), failures)
    return plan.name


def placed(members: Sequence[Member]) -> Iterator[Member]:
    """Number each member's row within the matrix of its family."""
    count: dict[str, int] = {}
    for row, config, flat in members:
        at = count.setdefault(row.family, 0)
        count[row.family] += 1
        yield replace(row, row=at), config, flat


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
    )
    return row, config, flat


def sorted_out(made: Sequence[Member | Failure]) -> tuple[list[Member], list[Failure]]:
    """Members and failures apart."""
    failures = [item for item in made if isinstance(item, Failure)]
    return [item for item in made if not isinstance(item, Failure)], failures


def make_trained(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Flowcharts, learned as one stack."""
    seeds = plan.seeds(spec)
    charts = [
        draw_of_splits(lambda at: sample_flowchart(at, spec.flowcharts), _split_of_chart, seed, spec.splits)
        for seed in seeds
    ]
    config = _config(spec, plan)
    stack = train_stack(config, charts, seeds, spec.training)
    made = []
    for i, (target_id, seed, chart) in enumerate(zip(plan.ids(), seeds, charts, strict=True)):
        facts = _flowchart_facts(chart, stack.records[i].to_json())
        made.append(member_of(plan, target_id, seed, config, member_weights(config, stack.params, i), facts))
    return sorted_out(made)


def make_untrained(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Initial weights of the trained family and nothing else; their function is named by their own bytes."""
    seeds, config = plan.seeds(spec), _config(spec, plan)
    params = initial_params(config, seeds)
    chart = spec.flowcharts
    vocab = Vocab(("BOS", "PAD", *chart.vocab()), chart.answers())
    facts = Facts("none", "", json.dumps(chart.vocab()), vocab, chart.max_seq_len, False, "", "", {})
    made = [
        member_of(plan, target_id, seed, config, member_weights(config, params, i), facts)
        for i, (target_id, seed) in enumerate(zip(plan.ids(), seeds, strict=True))
    ]
    return sorted_out(made)


def _split_of_chart(chart: Flowchart) -> str:
    return split_of(chart.function_hash(), chart.structure_hash())


def _config(spec: ZooSpec, plan: ChunkPlan) -> TargetConfig:
    chart = spec.flowcharts
    shape = spec.architectures[plan.number % len(spec.architectures)]
    return target_config(shape, chart.vocab_size, chart.n_answers, chart.max_seq_len)


def _flowchart_facts(chart: Flowchart, labels: dict[str, Any]) -> Facts:
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
