"""What the sweeps see of other people's models beyond the targets that are made here.

    rotary positions     what distances add to the pairings of queries and keys, and b_K, which is no gauge then
    norms of queries     the mean squares that these norms divide by
    and of keys
    gated neurons        what the activation is taken of, and both signs of what it is multiplied by

Everything enters through linear maps without biases, of features that are exactly zero for a target without the
extension: what an encoder says of the targets that are made here does not depend on a parameter of this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from oracle.batch import LayerBatch, WeightBatch
from oracle.rotary import DISTANCES, turned_pairings, widened

TURNED_CHANNELS = 8
"""Mixtures of the channels whose pairings are taken at every distance, at most."""


def squash(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """asinh: linear near zero, logarithmic for the steep weights of compiled programs."""
    return torch.asinh(3 * x)


class BareLinear(nn.Linear):
    """A linear map without bias. Drawing it leaves the generator as it was: the parameters behind it stay the same."""

    def __init__(self, n_in: int, n_out: int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, ())))
            super().__init__(n_in, n_out, bias=False)


def key_bias(
    batch: WeightBatch, layer: LayerBatch, bias: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch n_heads d_head"]:
    """The key of an empty stream, zero where it is a gauge (S4): entries that are neither turned nor normed."""
    turned = (widened(batch.rates[:, : layer.b_K.shape[2]], layer.b_K.shape[2]) != 0) | (batch.has("qk_norm") > 0)
    return (layer.b_K + torch.einsum("bd,bhdk->bhk", bias, layer.W_K)) * turned[:, None]


class HeadExtension(nn.Module):
    """What is added to a head's token for rotary positions and for norms of queries and keys."""

    def __init__(self, head_channels: int, d_token: int):
        super().__init__()
        n = head_channels + 1
        self.n_turned = min(head_channels, TURNED_CHANNELS)
        self.turned = BareLinear((self.n_turned + 1) ** 2 * len(DISTANCES), d_token)
        self.key_bias, self.mean_squares = BareLinear(n, d_token), BareLinear(2 * n, d_token)

    def forward(
        self,
        batch: WeightBatch,
        layer: LayerBatch,
        channels: Float[Tensor, "batch d_model mixture"],
        bias: Float[Tensor, "batch d_model"],
    ) -> Float[Tensor, "batch n_heads d_token"] | float:
        """Features of mixtures of the channels, mapped; 0 where no target of the batch has them."""
        has_rates, has_norms = batch.rates.shape[1] > 0, layer.W_norm.shape[2] > 0
        if not has_rates and not has_norms:
            return 0.0
        constant = layer.b_Q + torch.einsum("bd,bhdk->bhk", bias, layer.W_Q)
        query = torch.cat([torch.einsum("bdc,bhdk->bhck", channels, layer.W_Q), constant[:, :, None]], 2)
        empty = key_bias(batch, layer, bias)
        out = self.key_bias(squash(torch.einsum("bhck,bhk->bhc", query, empty)))
        if has_rates:
            key = torch.einsum("bdc,bhdk->bhck", channels[..., : self.n_turned], layer.W_K)
            key = torch.cat([key, empty[:, :, None]], 2)
            query = torch.cat([query[:, :, : self.n_turned], query[:, :, -1:]], 2)
            pairings = turned_pairings(query, key, batch.rates[:, : key.shape[3]], batch.kind[:, 4:5])
            out = out + self.turned(squash(pairings).flatten(2))
        if has_norms:
            normed = torch.einsum("bdc,bshdk->bhsck", channels, layer.W_norm)
            start = layer.b_norm + torch.einsum("bd,bshdk->bshk", bias, layer.W_norm)
            normed = torch.cat([normed, start.transpose(1, 2)[:, :, :, None]], 3)
            out = out + self.mean_squares(squash(normed.square().sum(-1)).flatten(2))
        return out


@dataclass(frozen=True)
class Gates:
    """What the activations of a layer's gated neurons are taken of; zero for neurons that are not gated."""

    features: Float[Tensor, "batch d_mlp feature"]
    scale: Float[Tensor, "batch d_mlp"]
    """Size of what a ReLU gate reads, which its write is scaled by; one for the others."""


def gates_of(
    batch: WeightBatch,
    layer: LayerBatch,
    channels: Float[Tensor, "batch d_model all_channels"],
    bias: Float[Tensor, "batch d_model"],
) -> Gates | None:
    """Pairings of the gates; a ReLU gate at unit size (R1). None where no target of the batch is gated."""
    if not layer.W_gate.shape[2]:
        return None
    start = layer.b_gate + torch.einsum("bd,bdm->bm", bias, layer.W_gate)
    seen = torch.cat([torch.einsum("bdm,bdc->bmc", layer.W_gate, channels), start[..., None]], -1)
    size = torch.sqrt(seen.square().sum(-1) + 1e-24)
    size = torch.where(batch.smooth | (batch.has("gated") == 0), torch.ones_like(size), size)
    return Gates(squash(2 * seen / size[..., None]), size)


@dataclass(frozen=True)
class Signed:
    """Tokens of neurons for both signs of (w_in, b_in, w_out), one function of a gated neuron."""

    plus: Float[Tensor, "batch d_mlp d_token"]
    minus: Float[Tensor, "batch d_mlp d_token"] | None
    """None where no target of the batch is gated."""
    gated: Float[Tensor, "batch 1"]

    @property
    def token(self) -> Float[Tensor, "batch d_mlp d_token"]:
        """The mean over both signs; that of an ungated neuron is its only one."""
        if self.minus is None:
            return self.plus
        return torch.where(self.gated[..., None] > 0, (self.plus + self.minus) / 2, self.plus)

    def coefficients(
        self, net: Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]
    ) -> Float[Tensor, "batch d_mlp channel"]:
        """What a net makes of the token where it multiplies w_in or w_out: the mean over both signs, times the sign."""
        if self.minus is None:
            return net(self.plus)
        odd = (net(self.plus) - net(self.minus)) / 2
        return torch.where(self.gated[..., None] > 0, odd, net(self.plus))


def both_signs(
    batch: WeightBatch,
    net: Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]],
    signed: Float[Tensor, "batch d_mlp feature"],
    before: Signed | None = None,
) -> Signed:
    """A net on features that turn with the sign, and on the tokens made of them before."""
    is_gated = bool((batch.has("gated") > 0).any())
    plus = net(signed if before is None else torch.cat([signed, before.plus], -1))
    if not is_gated:
        return Signed(plus, None, batch.has("gated"))
    last = [] if before is None or before.minus is None else [before.minus]
    return Signed(plus, net(torch.cat([-signed, *last], -1)), batch.has("gated"))
