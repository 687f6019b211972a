"""Forward and backward sweeps: how heads and neurons become tokens through residual channels.

X [d_model, channels] says what each residual direction carries; it starts from codes of tokens and positions and every
component adds what it writes. Y [d_model, out_channels] says what each direction is read for; it starts from codes
of the outputs and, going backward, every head and neuron adds what it reads. A component is seen only through pairings:

    head    X^T W_Q W_K^T X,   X^T W_K b_Q,   X^T W_V W_O Y
    neuron  w_in^T X,   b_in,   w_out Y

X at a layer holds earlier writes only, Y later reads only, so nothing is seen that the target itself cannot see (S9).
The constant stream (sums of biases) is a channel of its own: without a norm it is added to the reads' biases (R3).
A ReLU neuron is taken at unit size of what it reads, its write scaled by the inverse (R1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from oracle.batch import LayerBatch, WeightBatch
from oracle.config import EncoderConfig

N_KIND = 6
N_DEPTH = 4


@dataclass
class Stream:
    """What the forward sweep carries: channels X and the constant stream."""

    X: Float[Tensor, "batch d_model channels"]
    constant: Float[Tensor, "batch d_model"]


@dataclass(frozen=True)
class Reading:
    """What one component type of one layer read on the forward sweep, kept for the backward one."""

    features: Float[Tensor, "batch component feature"]
    scale: Float[Tensor, "batch component"]
    channels: Float[Tensor, "batch d_model all_channels"]
    bias: Float[Tensor, "batch d_model"]
    tokens: Float[Tensor, "batch component d_token"]


def squash(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """asinh: linear near zero, logarithmic for the steep weights of compiled programs."""
    return torch.asinh(3 * x)


def channels_of(stream: Stream, batch: WeightBatch) -> Float[Tensor, "batch d_model all_channels"]:
    """X and, under a norm, the constant stream as one more channel (zero without a norm)."""
    has_norm = 1 - batch.kind[:, :1]
    return torch.cat([stream.X, (stream.constant * has_norm)[..., None]], -1)


def bias_stream(stream: Stream, batch: WeightBatch) -> Float[Tensor, "batch d_model"]:
    """What reads add to their biases: the constant stream without a norm, zero under one."""
    return stream.constant * batch.kind[:, :1]


def context_of(batch: WeightBatch, layer: int) -> Float[Tensor, "batch context"]:
    """Kind of target and place of the layer, counted from both ends."""
    depth = batch.depth.to(batch.kind.dtype)
    from_end = depth - 1 - layer
    place = torch.stack([torch.full_like(depth, layer / 4), from_end / 4, depth / 4, (from_end == 0).to(depth)], -1)
    return torch.cat([batch.kind, place], -1)


class ComponentNet(nn.Module):
    """Features of heads or neurons to their tokens."""

    def __init__(self, n_features: int, d_token: int):
        super().__init__()
        self.inner = nn.Linear(n_features + N_KIND + N_DEPTH, d_token)
        self.outer = nn.Sequential(nn.LayerNorm(d_token), nn.Linear(d_token, d_token), nn.GELU())
        self.last = nn.Linear(d_token, d_token)

    def forward(
        self, features: Float[Tensor, "batch component feature"], context: Float[Tensor, "batch context"]
    ) -> Float[Tensor, "batch component d_token"]:
        """One token a component, RMS 1."""
        where = context[:, None].expand(-1, features.shape[1], -1)
        hidden = self.inner(torch.cat([features, where], -1))
        token = hidden + self.last(self.outer(hidden))
        return token * torch.rsqrt(token.square().mean(-1, keepdim=True) + 1e-6)


def head_pairings(
    layer: LayerBatch, channels: Float[Tensor, "batch d_model mixture"], bias: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch n_heads feature"]:
    """X^T W_Q W_K^T X and X^T W_K b_Q of every head, on mixtures of the channels."""
    query = torch.einsum("bdc,bhdk->bhck", channels, layer.W_Q)
    constant = layer.b_Q + torch.einsum("bd,bhdk->bhk", bias, layer.W_Q)
    key = torch.einsum("bdc,bhdk->bhck", channels, layer.W_K)
    return squash(torch.cat([query, constant[:, :, None]], 2) @ key.transpose(-1, -2)).flatten(2)


def head_writes(
    layer: LayerBatch,
    channels: Float[Tensor, "batch d_model mixture"],
    reads: Float[Tensor, "batch d_model out_channels"],
) -> Float[Tensor, "batch n_heads feature"]:
    """X^T W_V W_O Y of every head, on mixtures of the channels."""
    value = torch.einsum("bdc,bhdk->bhck", channels, layer.W_V)
    out = torch.einsum("bhkd,bdo->bhko", layer.W_O, reads)
    return squash(value @ out).flatten(2)


class Sweeps(nn.Module):
    """The nets of both sweeps; the same ones serve every layer."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        c, o, d, k = config.channels + 1, config.out_channels, config.d_token, config.head_channels
        n_head, n_neuron = (k + 1) * k + k * o, c + 1 + o
        self.head_view = nn.Linear(c, k, bias=False)
        self.head_forward, self.neuron_forward = ComponentNet(n_head, d), ComponentNet(n_neuron, d)
        self.head_backward, self.neuron_backward = ComponentNet(n_head + d, d), ComponentNet(n_neuron + d, d)
        self.head_gate, self.neuron_write = nn.Linear(d, config.channels), nn.Linear(d, config.channels)
        self.head_mix = nn.Linear(c, config.channels, bias=False)
        self.head_read = nn.Linear(d, 3 * o)
        self.neuron_read = nn.Linear(d, o)
        self.query_mix, self.key_mix = nn.Linear(c, o, bias=False), nn.Linear(c, o, bias=False)

    def heads(
        self, batch: WeightBatch, index: int, stream: Stream, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> Reading:
        """Forward: head tokens of one layer; their writes are added to the stream."""
        layer, channels = batch.layers[index], channels_of(stream, batch)
        view = self.head_view(channels)
        start = bias_stream(stream, batch)
        seen = head_pairings(layer, view, start)
        features = torch.cat([seen, head_writes(layer, view, reads)], -1)
        tokens = self.head_forward(features, context_of(batch, index)) * layer.heads[..., None]
        gate = 2 * self.head_gate(tokens) * layer.heads[..., None]
        moved = torch.einsum("bhck,bhkd->bhdc", torch.einsum("bdc,bhdk->bhck", channels, layer.W_V), layer.W_O)
        through = torch.einsum("bd,bhdk,bhke->be", start, layer.W_V, layer.W_O)
        stream.X = stream.X + torch.einsum("bhdc,bhc->bdc", self.head_mix(moved), gate)
        stream.constant = stream.constant + layer.b_O + through
        return Reading(seen, layer.heads.to(seen.dtype), channels, start, tokens)

    def neurons(
        self, batch: WeightBatch, index: int, stream: Stream, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> Reading:
        """Forward: neuron tokens of one layer; their writes are added to the stream."""
        layer, channels = batch.layers[index], channels_of(stream, batch)
        start = bias_stream(stream, batch)
        bias = layer.b_in + torch.einsum("bd,bdm->bm", start, layer.W_in)
        seen = torch.cat([torch.einsum("bdm,bdc->bmc", layer.W_in, channels), bias[..., None]], -1)
        size = torch.sqrt(seen.square().sum(-1) + 1e-24)
        size = torch.where(batch.kind[:, 3:4] > 0, torch.ones_like(size), size)
        seen = squash(2 * seen / size[..., None])
        written = squash(size[..., None] * torch.einsum("bmd,bdo->bmo", layer.W_out, reads))
        tokens = self.neuron_forward(torch.cat([seen, written], -1), context_of(batch, index))
        tokens = tokens * layer.neurons[..., None]
        sizes = size * layer.neurons
        writes = torch.einsum("bmd,bmc->bdc", layer.W_out * sizes[..., None], self.neuron_write(tokens))
        stream.X, stream.constant = stream.X + writes, stream.constant + layer.b_out
        return Reading(seen, sizes, channels, start, tokens)

    def neurons_back(
        self, batch: WeightBatch, index: int, reading: Reading, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> tuple[Float[Tensor, "batch d_mlp d_token"], Float[Tensor, "batch d_model out_channels"]]:
        """Backward: final neuron tokens of one layer, and Y with what the neurons read."""
        layer = batch.layers[index]
        written = squash(reading.scale[..., None] * torch.einsum("bmd,bdo->bmo", layer.W_out, reads))
        features = torch.cat([reading.features, written, reading.tokens], -1)
        tokens = self.neuron_backward(features, context_of(batch, index)) * layer.neurons[..., None]
        unit = torch.where(layer.neurons, 1 / reading.scale.clamp_min(1e-12), torch.zeros_like(reading.scale))
        wanted = self.neuron_read(tokens) * unit[..., None]
        return tokens, reads + torch.einsum("bdm,bmo->bdo", layer.W_in, wanted)

    def heads_back(
        self, batch: WeightBatch, index: int, reading: Reading, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> tuple[Float[Tensor, "batch n_heads d_token"], Float[Tensor, "batch d_model out_channels"]]:
        """Backward: final head tokens of one layer, and Y with what the heads read as values, queries and keys."""
        layer, channels = batch.layers[index], reading.channels
        written = head_writes(layer, self.head_view(channels), reads)
        features = torch.cat([reading.features, written, reading.tokens], -1)
        tokens = self.head_backward(features, context_of(batch, index)) * layer.heads[..., None]
        value, query, key = ((1 + self.head_read(tokens)) * layer.heads[..., None]).chunk(3, -1)
        wants = torch.einsum("bhdk,bhko->bhdo", layer.W_V, torch.einsum("bhke,beo->bhko", layer.W_O, reads))
        keys = torch.einsum("bdc,bhdk->bhkc", self.key_mix(channels), layer.W_K)
        queries = torch.einsum("bdc,bhdk->bhkc", self.query_mix(channels), layer.W_Q)
        new = reads + torch.einsum("bhdo,bho->bdo", wants, value)
        new = new + torch.einsum("bhdk,bhko,bho->bdo", layer.W_Q, keys, query)
        return tokens, new + torch.einsum("bhdk,bhko,bho->bdo", layer.W_K, queries, key)
