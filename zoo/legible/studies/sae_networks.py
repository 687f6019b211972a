"""The networks of the study of sparse autoencoders: one program learned, and what is random beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.compiler.compile import compile_program
from zoo.legible.embedding import embed
from zoo.legible.initial import initial_params
from zoo.legible.network import State, run, stacked
from zoo.legible.rerandomise import rerandomised
from zoo.legible.seed_options import SeedOptions
from zoo.legible.tasks import Task, task_of
from zoo.legible.trainer import NetworkTraining, train_networks
from zoo.stack import Params

TRAINED, SEEDED, INITIAL = "trained", "seeded", "initial"
ANEW, KEPT = "re-randomised", "re-randomised, embeddings kept"
NOISE, NULL = "noise for tokens", "Gaussian, same covariance"
VARIANTS = (TRAINED, SEEDED, INITIAL, ANEW, KEPT, NOISE, NULL)
"""`NOISE`: the trained network with a Gaussian vector in place of each token's embedding, drawn anew at each occurrence
(the source's control). `NULL`: no network, but points with the trained states' mean and covariance."""
STREAM = 6
"""Of a network's seed: noise in place of tokens, and Gaussian points."""
VOCAB, LENGTH = ("a", "b", "c", "d"), 6

Place = Float[Tensor, "input pos d_model"]
"""A residual state on all inputs, BOS first."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A network, or what stands for one, with its states on all inputs of the task."""

    states: tuple[Place, ...]
    params: Params | None
    """One network as a stack of one; None if there is none."""
    accuracy: float | None
    """Of its answers, where it was trained."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A program that networks learn, with the variable that it needs on the way."""

    task: Task
    inner: str
    """Name of that variable's concept; networks may be seeded with it."""
    seed: Program
    """The program that computes it."""


@cache
def learned(name: str) -> Learned:
    """Program "same count": how many tokens have my count; "same occurrence": how many tokens are, like mine, the first
    (second ...) of their kind."""
    same = rasp.select(rasp.TOKENS, rasp.TOKENS, "==")
    up_to_here = rasp.select(rasp.INDICES, rasp.INDICES, "<=")
    inner = rasp.SelectorWidth(same if name == "same count" else same & up_to_here)
    program = Program(rasp.SelectorWidth(rasp.select(inner, inner, "==")), VOCAB, LENGTH)
    task = task_of(program)
    return Learned(task, task.concepts[-2].name, Program(inner, VOCAB, LENGTH))


PROGRAMS = ("same count", "same occurrence")


def config_of(task: Task, norm: bool) -> TargetConfig:
    """Of a study's networks: three layers of width 32, with or without LayerNorm."""
    return TargetConfig(
        d_model=32,
        n_layers=3,
        n_heads=4,
        d_head=12,
        d_mlp=64,
        n_ctx=LENGTH + 1,
        d_vocab=len(task.vocab.input),
        d_vocab_out=len(task.vocab.output),
        normalization_type="LN" if norm else None,
        read_out="all",
        pad_token=1,
    )


def variants(name: str, norm: bool, seed: int, steps: int) -> dict[str, Variant]:
    """All variants of one seed; networks are trained for so many steps."""
    what = learned(name)
    config = config_of(what.task, norm)
    initial = initial_params(config, [seed])
    seeded = embed(compile_program(what.seed), config, seed, SeedOptions()).params
    first = {key: tensor[0] for key, tensor in initial.items()}
    trained = train_networks(
        config, stacked(config, [first, seeded]), [what.task] * 2, [seed] * 2, NetworkTraining(steps=steps, lr=1e-2)
    )
    own = {key: tensor[:1] for key, tensor in trained.params.items()}
    networks: Mapping[str, Params] = {
        TRAINED: own,
        SEEDED: {key: tensor[1:] for key, tensor in trained.params.items()},
        INITIAL: initial,
        ANEW: rerandomised(config, own, [seed], embeddings=True),
        KEPT: rerandomised(config, own, [seed], embeddings=False),
    }
    accuracies = {TRAINED: trained.records[0].accuracy, SEEDED: trained.records[1].accuracy}
    ids = torch.from_numpy(what.task.ids)
    out = {key: Variant(states(config, params, ids), params, accuracies.get(key)) for key, params in networks.items()}
    rng = np.random.Generator(np.random.PCG64([seed, STREAM]))
    out[NOISE] = Variant(_noisy(config, own, ids, rng), own, None)
    out[NULL] = Variant(tuple(_gaussian(state, rng) for state in out[TRAINED].states), None, None)
    return out


@torch.no_grad()
def states(config: TargetConfig, params: Params, ids: Int[Tensor, "input pos"]) -> tuple[Place, ...]:
    """Of one network, a stack of one."""
    return tuple(state[0] for state in run(config, params, ids[None]).states)


@torch.no_grad()
def _noisy(
    config: TargetConfig, params: Params, ids: Int[Tensor, "input pos"], rng: np.random.Generator
) -> tuple[Place, ...]:
    """States where the embedding after BOS is drawn anew at each position, with the mean and variance of W_E.

    The source draws standard normals; a network's own moments change its other parts less.
    """
    table = params["embed.W_E"][0, 2:]
    drawn = torch.from_numpy(rng.standard_normal((*ids.shape, config.d_model))).float()
    noise = table.mean() + table.std() * drawn + params["pos_embed.W_pos"][0]

    def edit(number: int, x: State) -> State:
        return torch.cat([x[:, :, :1], noise[None, :, 1:]], 2) if number == 0 else x

    return tuple(state[0] for state in run(config, params, ids[None], edit).states)


def _gaussian(state: Place, rng: np.random.Generator) -> Place:
    """Independent draws with the mean and covariance of a state after BOS; BOS is as it was."""
    points = state[:, 1:].flatten(0, 1).double().numpy()
    values, frame = np.linalg.eigh(np.cov(points.T))
    drawn = rng.standard_normal(points.shape) * np.sqrt(values.clip(0)) @ frame.T + points.mean(0)
    fresh = torch.from_numpy(drawn.astype(np.float32)).view(state[:, 1:].shape)
    return torch.cat([state[:, :1], fresh], 1)
