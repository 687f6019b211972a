"""How fast zoos are made, and how much stacking gives over a plain loop over models.

    OMP_NUM_THREADS=1 python benchmarks/targets.py rates      # whole builds in two processes, store and index included
    OMP_NUM_THREADS=1 python benchmarks/targets.py ratio      # stack and loop by turns, one thread, three sizes
    OMP_NUM_THREADS=1 python benchmarks/targets.py kinds      # what each kind of target reaches with the default recipe

A rate counts the targets that were made; those whose function was there already are left out of the index. The plain
loop trains one model after the other with the package's own `forward`, on the same batches with the same optimizer.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig, forward
from zoo.build import build
from zoo.engines import keep_memory
from zoo.fit import fit
from zoo.flowchart_config import FlowchartConfig
from zoo.lessons import Lessons, make_lessons
from zoo.sampling import sample_flowchart
from zoo.spec import ZooSpec
from zoo.stack import Params, initial_params, member_weights, target_config, training_flops
from zoo.store import Zoo
from zoo.train import DATA, last_steps, train_stack
from zoo.training_config import CHOICES, Architecture, TrainConfig

TWO = FlowchartConfig(min_conditions=2)
NARROW, WIDE = Architecture(), Architecture(32, 2, 4, 8, 128)
SIZES = (NARROW, WIDE, Architecture(64, 2, 4, 16, 256))


@dataclass(frozen=True)
class Rates:
    """Build zoos of one kind each."""

    narrow: int = 4_096
    """Trained targets of one layer and width 16, vocabulary 6, length 6, two conditions."""
    wide: int = 768
    """Trained targets of two layers and width 32, the same otherwise."""
    compiled: int = 6_000
    """Compiled targets."""
    workers: int = 2
    """Processes."""


@dataclass(frozen=True)
class Ratio:
    """Stack beside loop."""

    models: int = 32
    """Models of a stack."""
    steps: int = 24
    """Updates."""
    rounds: int = 3
    """Turns."""


@dataclass(frozen=True)
class Kinds:
    """One stack of every kind of target."""

    models: int = 48
    """Targets of each kind."""


def rates(config: Rates) -> None:
    """Whole builds, each in a folder of its own."""
    fast = TrainConfig(steps=200, lr=0.01, stop_accuracy=0.999)
    specs = {
        "1 layer, width 16": ZooSpec("narrow", 0, config.narrow, 0, flowcharts=TWO),
        "1 layer, width 16, each stops at 99.9%": ZooSpec("n", 0, config.narrow, 0, flowcharts=TWO, training=fast),
        "2 layers, width 32": ZooSpec(
            "wide", 0, config.wide, 0, flowcharts=TWO, architectures=(WIDE,), training=TrainConfig(lr=0.01)
        ),
        "2 layers, width 32, each stops at 99.9%": ZooSpec(
            "w", 0, config.wide, 0, flowcharts=TWO, architectures=(WIDE,), training=fast
        ),
        "compiled": ZooSpec("compiled", config.compiled, 0, 0),
    }
    print("| targets | made | s | an hour | a second | at 99% | mean accuracy | steps | of the matmul ceiling |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, spec in specs.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            report = build(spec, Path(folder) / "zoo", workers=config.workers, progress=False, device="cpu")
            seconds = time.perf_counter() - began
            rows = Zoo.open(Path(folder) / "zoo").rows() if report.share else ()
            reached = [row.labels["accuracy"] for row in rows]
            steps = f"{np.mean([row.labels['steps'] for row in rows]):.0f}" if reached else ""
            right = [f"{np.mean(np.array(reached) >= 0.99):.1%}", f"{np.mean(reached):.2%}"] if reached else ["", ""]
            share = f"{report.share:.1%}" if report.share else ""
            rate = [f"{seconds:.1f}", f"{report.made / seconds * 3600:,.0f}", f"{report.made / seconds:.1f}"]
            print("| " + " | ".join([name, str(report.made), *rate, *right, steps, share]) + " |", flush=True)


def plain_loop(
    config: TargetConfig, params: Params, lessons: Lessons, draws: np.ndarray, train: TrainConfig
) -> list[dict[str, torch.Tensor]]:
    """Train one model after the other, as a user of PyTorch would."""
    out = []
    inputs = torch.from_numpy(lessons.inputs) + 2
    tokens = torch.cat([torch.zeros(len(inputs), 1, dtype=torch.long), inputs], 1)
    answers = torch.from_numpy(lessons.answers)
    for model in range(draws.shape[1]):
        weights = member_weights(config, params, model)
        learned = [weights[name].requires_grad_() for name in params]
        betas = (0.9, train.beta2)
        optimizer = torch.optim.AdamW(learned, lr=train.lr, betas=betas, weight_decay=train.weight_decay, fused=True)
        for step, index in enumerate(torch.from_numpy(draws[:, model]), 1):
            for group in optimizer.param_groups:
                group["lr"] = train.lr * min(1.0, step / max(1, train.warmup)) * (1 - (step - 1) / train.steps)
            logits = forward(config, weights, tokens[index])[:, 0]
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(logits, answers[model][index]).backward()
            optimizer.step()
        out.append({name: tensor.detach() for name, tensor in weights.items()})
    return out


def ratio(config: Ratio) -> None:
    """Both ways by turns; they must give the same models."""
    keep_memory()
    torch.set_num_threads(1)
    print("| targets | MFLOP a model and step | loop, model-steps/s | stack | ratio, median |\n|---|---|---|---|---|")
    for shape in SIZES:
        target = target_config(shape, 6, 6, 6)
        train, seeds = TrainConfig(steps=config.steps, lr=0.01), list(range(config.models))
        lessons = make_lessons([sample_flowchart(seed, TWO) for seed in seeds], seeds, DATA)
        params = initial_params(target, seeds)
        rngs = [np.random.default_rng([seed, DATA]) for seed in seeds]
        draws = np.stack(
            [each.draw(rng, config.steps, 32, 32) for each, rng in zip(lessons.each, rngs, strict=True)], 1
        )
        times: dict[str, list[float]] = {"loop": [], "stack": []}
        for _ in range(config.rounds):
            began = time.perf_counter()
            alone = plain_loop(target, params, lessons, draws, train)
            middle = time.perf_counter()
            together = fit(target, params, lessons, draws, last_steps(seeds, train), train).params
            times["loop"].append(middle - began)
            times["stack"].append(time.perf_counter() - middle)
            for name, tensor in together.items():
                torch.testing.assert_close(tensor, torch.stack([one[name] for one in alone]), atol=1e-3, rtol=0)
        updates = config.models * config.steps
        gain = median(a / b for a, b in zip(times["loop"], times["stack"], strict=True))
        cells = [f"{shape.n_layers} layer(s), width {shape.d_model}", f"{training_flops(target, 1, 64) / 1e6:.1f}"]
        cells += [f"{updates / min(each):,.0f}" for each in times.values()]
        print("| " + " | ".join([*cells, f"{gain:.2f}"]) + " |", flush=True)


def kinds(config: Kinds) -> None:
    """Every norm, activation and direction of attention."""
    keep_memory()
    torch.set_num_threads(1)
    charts = [sample_flowchart(seed, TWO) for seed in range(config.models)]
    print("| norm | neurons | attention | mean accuracy | at 99% | worst branch, mean |\n|---|---|---|---|---|---|")
    for norm, act_fn, direction in product(*CHOICES.values()):
        shape = replace(NARROW, normalization_type=norm, act_fn=act_fn, attention_dir=direction)
        stack = train_stack(target_config(shape, 6, 6, 6), charts, range(config.models), TrainConfig(lr=0.01))
        reached = np.array([record.accuracy for record in stack.records])
        worst = np.mean([min(record.branch_accuracy) for record in stack.records])
        cells = [norm, act_fn, direction, f"{reached.mean():.2%}", f"{np.mean(reached >= 0.99):.0%}", f"{worst:.1%}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    doing = {Rates: rates, Ratio: ratio, Kinds: kinds}
    chosen = tyro.extras.subcommand_cli_from_dict({"rates": Rates, "ratio": Ratio, "kinds": Kinds}, description=__doc__)
    doing[type(chosen)](chosen)
