"""Many networks run at once: the function of `tracr_tasks.transformer.forward` with a leading `model` axis.

Every position, bias and norm is there, and the residual states are kept and can be edited on the way. Inputs have one
full length: BOS first, no PAD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig, activation, normalise, normalised_state, shapes
from zoo.stack import Params

State = Float[Tensor, "model batch pos d_model"]
Edit = Callable[[int, State], State]
"""Given a state's number (0 after the embedding, l after block l - 1) and the state: what is to stand in its place."""


@dataclass(frozen=True)
class Trace:
    """What a run gave."""

    logits: Float[Tensor, "model batch pos d_vocab_out"]
    states: tuple[State, ...]
    """After the embedding, and after each block."""


def run(config: TargetConfig, params: Params, ids: Int[Tensor, "model batch pos"], edit: Edit | None = None) -> Trace:
    """Run each network on its own inputs."""
    index = ids.flatten(1)[..., None].expand(-1, -1, config.d_model)
    x = params["embed.W_E"].gather(1, index).view(*ids.shape, config.d_model)
    if config.positional_embedding_type == "standard":
        x = x + params["pos_embed.W_pos"][:, None, : ids.shape[2]]
    states = [_kept(config, x, 0, edit)]
    for layer in range(config.n_layers):
        x = states[-1]
        mid = x + _attention(config, params, layer, _read(config, params, f"blocks.{layer}.ln1", x))
        read = _read(config, params, f"blocks.{layer}.ln2", mid)
        states.append(_kept(config, mid + _neurons(config, params, layer, read), layer + 1, edit))
    logits = _times(_read(config, params, "ln_final", states[-1]), params["unembed.W_U"], params["unembed.b_U"])
    return Trace(logits, tuple(states))


def run_from(
    config: TargetConfig, params: Params, number: int, state: State
) -> Float[Tensor, "model batch pos d_vocab_out"]:
    """The logits where state `number` is as given."""
    x = state
    for layer in range(number, config.n_layers):
        mid = x + _attention(config, params, layer, _read(config, params, f"blocks.{layer}.ln1", x))
        x = mid + _neurons(config, params, layer, _read(config, params, f"blocks.{layer}.ln2", mid))
        x = normalised_state(x, config)
    return _times(_read(config, params, "ln_final", x), params["unembed.W_U"], params["unembed.b_U"])


def member(params: Params, i: int) -> dict[str, Tensor]:
    """The weights of one network of a stack, as a target has them."""
    return {name: tensor[i].detach().clone() for name, tensor in params.items()}


def stacked(config: TargetConfig, weights: list[dict[str, Tensor]]) -> Params:
    """Networks of one configuration as a stack."""
    return {name: torch.stack([each[name] for each in weights]) for name in shapes(config)}


def _kept(config: TargetConfig, x: State, number: int, edit: Edit | None) -> State:
    x = normalised_state(x, config)
    return x if edit is None else edit(number, x)


def _times(
    x: Float[Tensor, "model batch pos d_in"],
    matrix: Float[Tensor, "model d_in d_out"],
    bias: Float[Tensor, "model d_out"],
) -> Float[Tensor, "model batch pos d_out"]:
    """x matrix + bias, for every model."""
    flat = torch.baddbmm(bias[:, None], x.flatten(1, 2), matrix)
    return flat.view(*x.shape[:3], -1)


def _read(config: TargetConfig, params: Params, name: str, x: State) -> State:
    """What is read of x through the norm called `name`."""
    held = {at: params[at][:, None, None] for at in (f"{name}.w", f"{name}.b") if at in params}
    return normalise(x, config, held, name)


def _attention(config: TargetConfig, params: Params, layer: int, read: State) -> State:
    """What a layer's heads and b_O write."""
    at, (n_models, batch, pos, _) = f"blocks.{layer}.attn.", read.shape
    sides = []
    for side in "QKV":
        matrix = params[f"{at}W_{side}"].transpose(1, 2).flatten(2)
        flat = _times(read, matrix, params[f"{at}b_{side}"].flatten(1))
        sides.append(flat.view(n_models * batch, pos, config.n_heads, config.d_head).transpose(1, 2))
    mixed = functional.scaled_dot_product_attention(
        sides[0], sides[1], sides[2], is_causal=config.attention_dir == "causal"
    )
    mixed = mixed.transpose(1, 2).reshape(n_models, batch, pos, -1)
    return _times(mixed, params[f"{at}W_O"].flatten(1, 2), params[f"{at}b_O"])


def _neurons(config: TargetConfig, params: Params, layer: int, read: State) -> State:
    """What a layer's neurons and b_out write."""
    at = f"blocks.{layer}.mlp."
    hidden = activation(config, _times(read, params[f"{at}W_in"], params[f"{at}b_in"]))
    return _times(hidden, params[f"{at}W_out"], params[f"{at}b_out"])
