"""The compiled regime where it is asked for flowcharts: random ones, their weights written down (chart_weights.py)."""

from __future__ import annotations

from tracr_tasks.errors import InputError, ProgramError
from zoo.accuracy import flowchart_accuracy
from zoo.chart_weights import chart_weights
from zoo.chunks import ChunkPlan, config_of, draw_chart, flowchart_facts, member_of, sorted_out
from zoo.rows import Failure
from zoo.shard import Member
from zoo.spec import ZooSpec
from zoo.target import Target, Vocab


def make_compiled_charts(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Flowcharts as those that trained targets learn, written into networks of their shape; each is run once written.

    One in twenty of the default ones counts two tokens on one way, which such a network cannot hold; it is a failure.
    """
    recipe, config = spec.recipe(plan.part), config_of(spec, plan)
    made: list[Member | Failure] = []
    for target_id, seed in zip(plan.ids(), plan.seeds(spec), strict=True):
        try:
            chart = draw_chart(recipe, seed)
            weights = chart_weights(chart, config)
        except (InputError, ProgramError) as problem:
            made.append(Failure(target_id, seed, str(problem)))
            continue
        target = Target(config, weights, Vocab(("BOS", "PAD", *chart.vocab), chart.answers))
        labels = {"accuracy": round(flowchart_accuracy(target, chart), 6)}
        made.append(member_of(plan, target_id, seed, config, weights, flowchart_facts(chart, labels)))
    return sorted_out(made)
