"""Seeding: a compiled program inside a wider, deeper network, exactly.

Coordinates of the residual stream: the program's d first, then what the norm needs, then fresh ones. In the layers up
to the site, seeded heads and neurons read the program's coordinates alone, and nothing fresh is written there, so
there the network is the program. Later layers and the unembedding are fresh.

Under a norm with a gain, loud coordinates hold a constant C (and -C) so large that what else is in the stream does not
change its spread, sigma. The gain is sigma on the other coordinates, so x itself is read, and zero on the loud ones.
Under LayerNorm x is read less its mean; the weights of each seeded reader sum to zero, which one more coordinate that
nothing writes to, the ground, makes so. The norm then starts as the identity for the seed, and takes part in training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.legible.initial import initial_params
from zoo.legible.rebalance import rebalanced
from zoo.legible.seed_norm import put_norm, room_for
from zoo.legible.seed_options import SeedOptions
from zoo.legible.seed_parts import Parts, put_program, shuffle, turn
from zoo.legible.trainer import Restraint
from zoo.stack import Params


@dataclass(frozen=True, eq=False)
class Seeding:
    """One network of a stack, seeded."""

    params: dict[str, Tensor]
    """Weights of the whole network, fresh parts from its seed."""
    seeded: dict[str, Tensor]
    """bool, shaped like `params`: entries that came from the program. Of a turned network, those that hold some."""
    guarded: dict[str, Tensor]
    """bool, shaped like `params`: entries beside the seeded ones that must stay for the program to stay exact: zeros
    that keep fresh parts out, constants of the norm. A turned network has the first only where all of a row is."""
    site: int
    """Number of the residual state (`network.Trace.states`) that holds the program's output."""
    basis: Float[Tensor, "d_model rank"]
    """Orthonormal directions of the output's variable: what the read-out reads, and the program's other directions of
    the same line (the share that a count is made from)."""
    read_out: Float[Tensor, "d_model value"]
    """The compiled read-out at the site; the largest is the value."""
    read_out_bias: Float[Tensor, " value"]
    values: tuple[str, ...]
    """Names of the values."""


def embedding_reasons(compiled: CompiledProgram, config: TargetConfig) -> list[str]:
    """Every reason why a program cannot be embedded in networks of a configuration; none if it can."""
    held, norm = compiled.config, config.normalization_type
    extra = room_for(norm, held.d_model).size
    least = {name: getattr(held, name) for name in ("n_layers", "n_heads", "d_head", "d_mlp")}
    least["d_model"] = held.d_model + extra
    out = [
        f"{name} {getattr(config, name)}, expected at least {low}"
        + (f" ({held.d_model} of the program and {extra} for {norm})" if name == "d_model" and extra else "")
        for name, low in least.items()
        if getattr(config, name) < low
    ]
    exact = ("n_ctx", "d_vocab", "act_fn", "attention_dir", "pad_token")
    out += [
        f"{name} {getattr(config, name)}, expected the program's {getattr(held, name)}"
        for name in exact
        if getattr(config, name) != getattr(held, name)
    ]
    if norm not in (None, "LN", "RMS"):
        out.append(
            f"normalization_type {norm}, expected None, LN or RMS: without a gain the seed would be read faintly"
        )
    out += [f"{name} = {value!r}, expected the default" for name, value in config.extensions().items()]
    if held.output == "numerical":
        out.append("the program's output is a number, expected named values, which a read-out can tell apart")
    return out


def embed(compiled: CompiledProgram, config: TargetConfig, seed: int, options: SeedOptions) -> Seeding:
    """A network that computes a program at the site, and something random after it.

    Args:
        compiled: the program.
        config: of the network.
        seed: of its fresh weights, its turn and its shuffling.
        options: how it is seeded.

    Raises:
        InputError: the program cannot be embedded; holds every reason.
    """
    if reasons := embedding_reasons(compiled, config):
        raise InputError(f"the program cannot be embedded: {'; '.join(reasons)}")
    plain, norm = compiled.config, config.normalization_type
    weights = {name: tensor.double() for name, tensor in compiled.weights.items()}
    if options.balance == "rebalanced":
        weights = rebalanced(plain, weights).weights
    parts = Parts({name: tensor[0].double() for name, tensor in initial_params(config, [seed]).items()})
    put_program(parts, config, plain, weights)
    if options.permuted:
        shuffle(parts, seed)
    room = room_for(norm, plain.d_model)
    put_norm(parts, config, plain, weights, room)
    read_out = torch.zeros(config.d_model, plain.d_vocab_out, dtype=torch.float64)
    read_out[: plain.d_model] = weights["unembed.W_U"]
    basis = torch.eye(config.d_model, dtype=torch.float64)[:, _holders(compiled)]
    if options.rotate:
        by = turn(config.d_model, room.loud, norm == "LN", seed)
        parts.turn_by(by)
        read_out, basis = by.T @ read_out, by.T @ basis
    return Seeding(
        params={name: tensor.float() for name, tensor in parts.params.items()},
        seeded=parts.seeded,
        guarded=parts.guarded,
        site=plain.n_layers,
        basis=basis.float(),
        read_out=read_out.float(),
        read_out_bias=weights["unembed.b_U"].float(),
        values=compiled.output_names,
    )


def _holders(compiled: CompiledProgram) -> list[int]:
    """The residual coordinates that hold a program's output, or what it is made from in its own line."""
    read = (compiled.weights["unembed.W_U"].abs().sum(1) > 0).tolist()
    lines = [re.split("[=.]", label, maxsplit=1)[0] for label in compiled.residual_labels]
    named = {line for line, is_read in zip(lines, read, strict=True) if is_read}
    return [i for i, line in enumerate(lines) if line in named]


def rates_of(seedings: Sequence[Seeding], options: SeedOptions | Sequence[SeedOptions]) -> Params | None:
    """Factors of updates for `train_networks`: each network's rate at its seeded and guarded entries, 1 elsewhere.

    Args:
        seedings: the networks of a stack.
        options: of all of them, or of each.
    """
    each = _of_each(seedings, options)
    if all(one.rate == 1 for one in each):
        return None
    out = {}
    for name in seedings[0].params:
        held = [seeding.seeded[name] | seeding.guarded[name] for seeding in seedings]
        if any(bool(mask.any()) for mask in held):
            out[name] = torch.stack([1 - mask * (1 - one.rate) for mask, one in zip(held, each, strict=True)])
    return out


def preservation(seedings: Sequence[Seeding], options: SeedOptions | Sequence[SeedOptions]) -> Restraint:
    """A penalty for `train_networks`: `preserve` times |w - w0|^2 / |w0|^2 over the seeded entries of each network.

    Args:
        seedings: the networks of a stack, in its order.
        options: of all of them, or of each.
    """
    weight = torch.tensor([one.preserve for one in _of_each(seedings, options)])
    names = [name for name in seedings[0].params if any(bool(seeding.seeded[name].any()) for seeding in seedings)]
    masks = {name: torch.stack([seeding.seeded[name] for seeding in seedings]) for name in names}
    start = {name: torch.stack([seeding.params[name] for seeding in seedings]) * masks[name] for name in names}
    size = torch.stack([start[name].square().flatten(1).sum(1) for name in names]).sum(0)

    def restraint(params: Params) -> Float[Tensor, " model"]:
        gone = [((params[name] * masks[name] - start[name]).square()).flatten(1).sum(1) for name in names]
        return weight * torch.stack(gone).sum(0) / size

    return restraint


def _of_each(seedings: Sequence[Seeding], options: SeedOptions | Sequence[SeedOptions]) -> Sequence[SeedOptions]:
    return [options] * len(seedings) if isinstance(options, SeedOptions) else options
