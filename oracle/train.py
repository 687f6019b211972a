"""Training: the encoder and the adapter together, on questions about the targets of a zoo.

Every step takes a batch of targets, renames the labels of those that allow it, encodes them, and asks a few questions
about each. A share of the targets is asked about without their weights, so that the same reader also is the
question-only control.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from oracle import template
from oracle.base import best_device, budget_left, learning_rate, progress
from oracle.config import TrainConfig, to_json
from oracle.oracle import WeightOracle, new_oracle
from oracle.precision import quick_products
from oracle.questions import Question, ask, draw
from oracle.reader import TextBatch
from oracle.subjects import Example, batches_of, load_examples, relabel
from oracle.team import Team, launch
from tracr_tasks.errors import InputError
from zoo.store import Zoo

N_WATCHED = 64
"""Val targets that are watched while training."""


def train(config: TrainConfig) -> WeightOracle:
    """Train an oracle on a zoo and save it under `config.out`.

    Raises:
        InputError: an empty zoo, or the preflight finds that the tokens carry nothing.
    """
    if config.processes > 1 and best_device().type == "cpu":
        check_zoo(config)
        launch(config.processes, train_as, config)
    else:
        train_as(config, Team())
    return WeightOracle.from_pretrained(config.out)


def check_zoo(config: TrainConfig) -> None:
    """Refuse a zoo with nothing to learn from before any process starts.

    Raises:
        InputError: no target in the train split.
    """
    if not Zoo.open(config.zoo).rows(split="train"):
        raise InputError(f"{config.zoo}: no target in the train split; build a larger zoo")


@quick_products()
def train_as(config: TrainConfig, team: Team) -> None:
    """Train as one member of a team; the first saves."""
    torch.set_num_threads(1)  # targets are tiny: one thread folds and runs them faster than two
    check_zoo(config)
    zoo = Zoo.open(config.zoo)
    if config.start is None:
        oracle = new_oracle(config.base, config.encoder, config.lora_rank, config.lora_alpha, config.seed)
    else:
        oracle = WeightOracle.from_pretrained(config.start, trainable=True)
    oracle.to(best_device())
    oracle.facts |= {"zoo": zoo.content_hash(), "train": to_json(config)}
    examples = load_examples(
        zoo, oracle.reader, split="train", limit=config.limit, seed=config.seed, regimes=config.regimes
    )
    watched = load_examples(zoo, oracle.reader, split="val", limit=N_WATCHED, seed=config.seed, regimes=config.regimes)
    preflight(oracle, examples[:16])
    torch.set_num_threads(config.threads)
    oracle.facts["history"] = fit(oracle, examples, watched or examples[:N_WATCHED], config, team)
    if team.rank == 0:
        oracle.save_pretrained(config.out)


def preflight(oracle: WeightOracle, examples: Sequence[Example]) -> None:
    """Refuse to start where the weight tokens are not finite or the same for every target."""
    tokens = oracle.encode(examples)
    if not bool(tokens.isfinite().all()):
        raise InputError("preflight: weight tokens are not finite; look for extreme weights in the zoo")
    if len(examples) > 1 and float((tokens[1:] - tokens[:1]).abs().max()) < 1e-6:
        raise InputError("preflight: weight tokens are alike for all targets; the encoder sees nothing of them")


@dataclass(frozen=True)
class Step:
    """Questions of one step: which target each is about, and whether it sees the weights."""

    examples: tuple[Example, ...]
    owner: tuple[int, ...]
    questions: tuple[Question, ...]
    has_weights: tuple[bool, ...] = field(default=())

    def texts(self, oracle: WeightOracle) -> TextBatch:
        """Prompts and answers as a batch of token ids."""
        n = oracle.encoder.config.n_tokens
        prompts = [
            template.from_weights(q.text, n) if self.has_weights[i] else template.from_nothing(q.text)
            for i, q in zip(self.owner, self.questions, strict=True)
        ]
        return oracle.reader.texts(prompts, [q.truth for q in self.questions])


def training_steps(examples: Sequence[Example], config: TrainConfig, team: Team) -> Iterator[Step]:
    """Endless training steps under the seed; each member of a team has its own targets, names and questions."""
    rng = random.Random(f"{config.seed}/{team.rank}")
    order = random.Random(config.seed)
    for batch in batches_of(examples, config.targets_per_step, order, team.rank, team.size):
        named = [relabel(example, rng) for example in batch] if config.relabel else batch
        asked = [(i, q) for i, e in enumerate(named) for q in draw(e.subject, config.questions_per_target, rng)]
        owner, questions = zip(*asked, strict=True)
        yield Step(tuple(named), owner, questions, tuple(rng.random() >= config.no_weights for _ in named))


def step_losses(oracle: WeightOracle, step: Step, swap: Sequence[int] | None = None) -> Float[Tensor, " question"]:
    """Mean loss (nats a token) of every answer, [question]; `swap` gives each target another one's weights."""
    tokens = oracle.read([e.neutral for e in step.examples], [e.labels for e in step.examples])
    tokens = tokens if swap is None else tokens[list(swap)]
    texts = step.texts(oracle)
    loss = oracle.reader.answer_loss(texts, tokens[list(step.owner)])
    return loss.sum(1) / (texts.labels >= 0).sum(1)


def fit(
    oracle: WeightOracle, examples: Sequence[Example], watched: Sequence[Example], config: TrainConfig, team: Team
) -> list[dict[str, float | int]]:
    """The training loop; the first of the team watches, and saves the oracle at every evaluation."""
    adapter = [p for p in oracle.reader.model.parameters() if p.requires_grad]
    groups = [(list(oracle.encoder.parameters()), config.lr), (adapter, config.lora_lr)]
    optimizer = torch.optim.AdamW([{"params": p, "lr": lr} for p, lr in groups], weight_decay=0.02, betas=(0.9, 0.98))
    budget, start, history = budget_left(config.minutes, config.steps), time.monotonic(), list[dict[str, float | int]]()
    steps, next_eval, index = training_steps(examples, config, team), config.eval_every, 0
    with progress(config.minutes, "oracle", team.rank > 0) as bar:
        for index in count():
            minutes = team.average((time.monotonic() - start) / 60)
            if (left := budget(index, minutes)) <= 0:
                break
            if minutes >= next_eval:
                next_eval += config.eval_every
                if team.rank == 0:
                    history.append({"minutes": round(minutes, 2), "step": index} | watch(oracle, watched, config.seed))
                    bar.write(" ".join(f"{name}={value:.4g}" for name, value in history[-1].items()))
                    oracle.save_pretrained(config.out)
            loss = update(
                oracle, next(steps), optimizer, [learning_rate(lr, index, left) for _, lr in groups], config, team
            )
            bar.update(minutes - bar.n)
            bar.set_postfix_str(f"step {index + 1}, loss {loss:.3f}", refresh=False)
    if team.rank == 0:
        history.append({"step": index} | watch(oracle, watched, config.seed))
    return history


def update(
    oracle: WeightOracle,
    step: Step,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    config: TrainConfig,
    team: Team,
) -> float:
    """One optimizer step; the loss in nats a token, averaged over this process's questions."""
    oracle.encoder.train()
    with torch.autocast(oracle.reader.device.type, torch.bfloat16, enabled=config.bf16):
        loss = step_losses(oracle, step).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
        team.average_gradients(group["params"])
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()
    return float(loss.item())


@torch.no_grad()
def watch(oracle: WeightOracle, examples: Sequence[Example], seed: int) -> dict[str, float]:
    """Loss on programs of val targets with their own weights, another's of the same kind, and none; share exact."""
    oracle.encoder.eval()
    rng, found = random.Random(seed), dict[str, float]()
    for kind in sorted({e.subject.kind for e in examples}):
        group = tuple(e for e in examples if e.subject.kind == kind)
        questions = tuple(ask(e.subject, "program", rng) for e in group)
        step = Step(group, tuple(range(len(group))), questions, (True,) * len(group))
        blind = replace(step, has_weights=(False,) * len(group))
        swap = [(i + 1) % len(group) for i in range(len(group))]
        losses = [step_losses(oracle, step), step_losses(oracle, step, swap), step_losses(oracle, blind)]
        found |= {f"{kind}/{name}": float(x.mean()) for name, x in zip(("own", "swapped", "none"), losses, strict=True)}
        said = oracle.answer([q.text for q in questions], oracle.encode(group))
        found[f"{kind}/exact"] = sum(a.text == q.truth for a, q in zip(said, questions, strict=True)) / len(group)
    return found
