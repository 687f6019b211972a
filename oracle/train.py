"""Training: the encoder and the adapter together, on questions about the targets of a zoo.

    an oracle on a trained decoder's encoder -> preflight -> steps -> watched on val targets -> checkpoint -> folder

Every step takes a batch of targets, renames the labels of those that allow it, encodes them, and asks a few questions
about each. A share of the targets is asked about without their weights, so that the same reader also is the
question-only control. The adapter learns first, while the encoder stays as the small decoder has left it.

`accelerate launch -m oracle.train --zoo ZOO --out DIR` trains in as many processes as it starts, on what it finds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import reduce
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from jaxtyping import Float
from torch import Tensor, nn

from oracle import checkpoint
from oracle.bases import PROGRAMS
from oracle.checkpoint import Progress
from oracle.config import PLAIN, Effort, TrainConfig, to_json
from oracle.drafter import Drafter
from oracle.loading import Examples, examples_of, load_examples
from oracle.neutral import positions_of
from oracle.oracle import WeightOracle, new_oracle, oracle_on_decoder
from oracle.precision import quick_products
from oracle.preflight import check_gap, preflight
from oracle.questions import ask, families_of
from oracle.schedule import Optimizers, best_device, budget_left, progress, rate_share
from oracle.stand_ins import are_plain
from oracle.steps import ALL, NOTHING, Step, step_losses, training_steps
from oracle.subjects import Example
from oracle.team import launch, launched
from tracr_tasks.errors import InputError
from zoo.store import Zoo
from zoo.target import Target

NAMED = 500
"""Targets whose labels' names the encoder of a decoder is fitted to."""
ENOUGH = 400
"""Targets that are looked at to learn which questions there are."""
FROZEN = 0.3
"""Share of a training in which the encoder of a trained decoder stays as it is."""
N_WATCHED = 64
"""Val targets that are watched while training."""
FREE = ("out", "eval_every", "patience", "threads")
"""Options that may change when a training goes on from its checkpoint."""


def train(config: TrainConfig) -> WeightOracle:
    """Train an oracle on a zoo and save it under `config.out`; a training that was stopped there goes on.

    Raises:
        InputError: an empty zoo, tokens that carry nothing, or a folder with a training of other options.
    """
    if config.processes > 1 and best_device().type == "cpu" and not launched():
        check_zoos(config)
        launch(config.processes, train_as_member, config)
    else:
        train_as_member(config)
    return WeightOracle.from_pretrained(config.out)


def check_zoos(config: TrainConfig) -> None:
    """Refuse a zoo with nothing to learn from before any process starts.

    Raises:
        InputError: no target in the train split.
    """
    for folder in (config.zoo, *config.also):
        if not Zoo.open(folder).rows(split="train"):
            raise InputError(f"{folder}: no target in the train split; build a larger zoo")


@quick_products()
def train_as_member(config: TrainConfig) -> None:
    """Train as one of the processes that there are; the first saves."""
    torch.set_num_threads(1)  # targets are tiny: one thread folds and runs them faster than two
    check_zoos(config)
    accelerator, zoo = accelerator_for(config), Zoo.open(config.zoo)
    oracle = begun(config, zoo).to(accelerator.device)
    zoos = [zoo, *map(Zoo.open, config.also)]
    oracle.facts |= {"zoo": zoo.content_hash(), "train": to_json(config)}
    oracle.facts |= {"also": [each.content_hash() for each in zoos[1:]]} if config.also else {}
    options: dict[str, Any] = {"limit": config.limit, "seed": config.seed, "regimes": config.regimes}
    examples = reduce(Examples.and_then, [examples_of(each, oracle.reader, split="train", **options) for each in zoos])
    watched = load_examples(zoo, oracle.reader, split="val", limit=N_WATCHED, seed=config.seed, regimes=config.regimes)
    oracle.facts["families"] = families_learned(examples)
    names = {name for entry in examples.entries for name in (*entry.row.input_names, *entry.row.output_names)}
    oracle.facts["reads_words"] = oracle.reads_words or not are_plain(names)
    learned = {entry.row.function_hash for entry in examples.entries} - {""}
    oracle.functions = learned.union(oracle.functions or ())
    preflight(oracle, examples[:16])
    torch.set_num_threads(config.threads)
    oracle.facts["history"] = fit(oracle, examples, watched or examples[:N_WATCHED], config, accelerator)
    if accelerator.is_main_process:
        oracle.save_pretrained(config.out)
        checkpoint.discard(config.out)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def families_learned(examples: Sequence[Example]) -> list[str]:
    """Families of questions about some targets, or about `ENOUGH` of them: these have all that occur."""
    chosen = random.Random(0).sample(range(len(examples)), min(ENOUGH, len(examples)))
    return sorted({family for i in chosen for family, _ in families_of(examples[i].subject)})


def accelerator_for(config: TrainConfig) -> Accelerator:
    """This process among those that train, on the GPU where there is one."""
    return Accelerator(
        cpu=best_device().type == "cpu",
        mixed_precision="bf16" if config.bf16 else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def begun(config: TrainConfig, zoo: Zoo) -> WeightOracle:
    """The oracle that training starts from.

    Raises:
        InputError: drafts for an oracle that has been begun without, or a search or namings out of range.
    """
    drafters, effort = [folder_of(name) for name in config.drafts], Effort(config.search, config.namings)
    if config.start is not None:
        return gone_on(WeightOracle.from_pretrained(config.start, trainable=True), drafters, effort)
    if config.decoder == "none":
        return new_oracle(config.base, config.encoder, config.lora_rank, config.lora_alpha, config.seed, config.inject)
    folder = folder_of(config.decoder)
    names = label_names(zoo.target(row.id) for row in zoo.rows(split="train")[:NAMED])
    sizes = config.lora_rank, config.lora_alpha
    return oracle_on_decoder(config.base, folder, names, *sizes, config.seed, config.inject, drafters, effort)


def gone_on(oracle: WeightOracle, drafters: Sequence[Path | None], effort: Effort) -> WeightOracle:
    """An oracle that has been begun, with other decoders for its drafts if some are named.

    Raises:
        InputError: it has learned without drafts.
    """
    if drafters and oracle.drafter is None:
        raise InputError("--drafts: the oracle that goes on (--start) has learned without drafts; begin a new one")
    if drafters:
        oracle.drafter = Drafter.from_pretrained(drafters)
    if oracle.drafter is not None:
        oracle.drafter.effort = effort
        oracle.facts |= {"tries": True, **asdict(effort)}
    return oracle


def folder_of(decoder: str) -> Path | None:
    """The folder of a decoder; None for the one of flowcharts that ships with the package."""
    return {"house": None, "programs": PROGRAMS}.get(decoder, Path(decoder))


def label_names(targets: Iterable[Target]) -> set[str]:
    """Names of all labels of some targets."""
    found = {"BOS"}
    for target in targets:
        found |= {*target.vocab.input, *target.vocab.output, *map(str, range(1, positions_of(target.config)))}
    return found


class Trainee(nn.Module):
    """What is trained, as one module: the encoder, and the base with its adapter."""

    def __init__(self, oracle: WeightOracle):
        super().__init__()
        self.encoder, self.model, self.oracle = oracle.encoder, oracle.reader.model, oracle

    def forward(self, step: Step) -> Float[Tensor, " question"]:
        """Mean loss (nats a token) of every answer."""
        return step_losses(self.oracle, step)


def fit(
    oracle: WeightOracle,
    examples: Sequence[Example],
    watched: Sequence[Example],
    config: TrainConfig,
    accelerator: Accelerator,
) -> list[dict[str, float | int]]:
    """The training loop; the first process watches, and saves the oracle and a checkpoint at every evaluation.

    Raises:
        InputError: the gap between another target's weights and the own ones stays at zero.
    """
    trainee, optimizers = Trainee(oracle), new_optimizers(oracle, config)
    states = [optimizer for each in optimizers for optimizer, _ in each.each]
    fixed = {name: value for name, value in to_json(config).items() if name not in FREE}
    done = checkpoint.resume(config.out, trainee, states, fixed) or Progress(0, 0.0, [])
    model = accelerator.prepare(trainee)
    budget, history, start = (
        budget_left(config.minutes, config.steps),
        done.history,
        time.monotonic() - 60 * done.minutes,
    )
    ranks = accelerator.process_index, accelerator.num_processes
    steps = training_steps(examples, config, *ranks, done.step, drafted=oracle.drafter is not None)
    next_eval, frozen, index = done.minutes + config.eval_every, frozen_share(config), done.step
    with progress(config.minutes, "oracle", not accelerator.is_main_process) as bar:
        for index in count(done.step):
            minutes = average(accelerator, (time.monotonic() - start) / 60)
            if (left := budget(index, minutes)) <= 0:
                break
            if minutes >= next_eval:
                next_eval += config.eval_every
                if accelerator.is_main_process:
                    history.append({"minutes": round(minutes, 2), "step": index} | watch(oracle, watched, config.seed))
                    bar.write(" ".join(f"{name}={value:.4g}" for name, value in history[-1].items()))
                    oracle.save_pretrained(config.out)
                    checkpoint.save(config.out, trainee, states, Progress(index, minutes, history), fixed)
                    check_gap(history, config.patience)
            oracle.encoder.requires_grad_(1 - left >= frozen)
            loss = update(model, next(steps), optimizers, rate_share(index, left), accelerator)
            bar.update(minutes - bar.n)
            bar.set_postfix_str(f"step {index + 1}, loss {loss:.3f}", refresh=False)
    if accelerator.is_main_process:
        history.append({"step": index} | watch(oracle, watched, config.seed))
    return history


def new_optimizers(oracle: WeightOracle, config: TrainConfig) -> tuple[Optimizers, Optimizers]:
    """Those of the encoder, and those of the adapter."""
    rates = (oracle.encoder, config.lr), (oracle.reader.model, config.lora_lr)
    encoder, adapter = (Optimizers(module, lr, config.muon_lr, weight_decay=0.02) for module, lr in rates)
    return encoder, adapter


def frozen_share(config: TrainConfig) -> float:
    """Share of the budget in which the encoder stays as it is: if nothing is said, none where it has learned nothing
    yet, or was begun."""
    if config.frozen is not None:
        return config.frozen
    return FROZEN if config.decoder != "none" and config.start is None else 0.0


def average(accelerator: Accelerator, value: float) -> float:
    """The mean of a number over the processes: all decide by the same clock."""
    if accelerator.num_processes == 1:
        return value
    shared: Tensor = accelerator.reduce(torch.tensor(value, device=accelerator.device), "mean")
    return float(shared)


def update(
    model: nn.Module, step: Step, optimizers: Sequence[Optimizers], share: float, accelerator: Accelerator
) -> float:
    """One step of the optimizers at a share of their rates; the loss in nats a token, averaged over this process's
    questions."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = model(step).mean()
    accelerator.backward(loss)
    for optimizer in optimizers:
        accelerator.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(share)
    return float(loss.detach())


@torch.no_grad()
def watch(oracle: WeightOracle, examples: Sequence[Example], seed: int) -> dict[str, float]:
    """Loss on programs of val targets with their own weights, another's of the same kind, and none; share exact."""
    oracle.encoder.eval()
    rng, found = random.Random(seed), dict[str, float]()
    for kind in sorted({e.subject.kind for e in examples}):
        group = tuple(e for e in examples if e.subject.kind == kind)
        questions = tuple(ask(e.subject, "program", rng) for e in group)
        step = Step(group, tuple(range(len(group))), questions, (ALL,) * len(group))
        blind = replace(step, seen=(NOTHING,) * len(group))
        swap = [(i + 1) % len(group) for i in range(len(group))]
        losses = [step_losses(oracle, step), step_losses(oracle, step, swap), step_losses(oracle, blind)]
        found |= {f"{kind}/{name}": float(x.mean()) for name, x in zip(("own", "swapped", "none"), losses, strict=True)}
        said = oracle.answer([q.text for q in questions], oracle.prefix(oracle.look(group, PLAIN)))
        found[f"{kind}/exact"] = sum(a.text == q.truth for a, q in zip(said, questions, strict=True)) / len(group)
    return found


def main() -> None:
    """`accelerate launch -m oracle.train`: the options, and the errors, are those of `weight-oracle train`."""
    import sys

    from oracle.cli import main as command

    sys.exit(command(["train", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
