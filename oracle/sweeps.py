"""Forward and backward sweeps: how heads and neurons become tokens through residual channels.

X [d_model, channels] says what each residual direction carries; it starts from codes of tokens and positions and every
component adds what it writes. Y [d_model, out_channels] says what each direction is read for; it starts from codes
of the outputs and, going backward, every head and neuron adds what it reads. A component is seen only through pairings:

    head    X^T W_Q W_K^T X,   X^T W_K b_Q,   X^T W_V W_O Y
    neuron  w_in^T X,   b_in,   w_out Y

X at a layer holds earlier writes only, Y later reads only, so nothing is seen that the target itself cannot see (S9).
The constant stream (sums of biases) is a channel of its own: without a norm it is added to the reads' biases (R3).
A ReLU neuron is taken at unit size of what it reads, its write scaled by the inverse (R1).
A gated neuron is taken at unit size of what its activation is multiplied by, as the mean over both signs of it (G1).
Where states are normalised, writes are paired with X too (states.py): their length counts whatever reads them.
What else other people's models have is in extended.py. In a parallel layer neurons read what its heads read, and X and
Y are those of the layer before and behind for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from oracle.batch import EXTENSIONS, LayerBatch, WeightBatch
from oracle.config import EncoderConfig
from oracle.extended import BareLinear, Gates, HeadExtension, Signed, both_signs, gates_of, squash
from oracle.pairings import cleaned, paired
from oracle.states import Stream, channels_of, head_gram, neuron_gram

N_KIND = 6
N_DEPTH = 4


@dataclass(frozen=True)
class Reading:
    """What one component type of one layer read on the forward sweep, kept for the backward one."""

    features: Float[Tensor, "batch component feature"]
    scale: Float[Tensor, "batch component"]
    channels: Float[Tensor, "batch d_model all_channels"]
    bias: Float[Tensor, "batch d_model"]
    tokens: Signed
    gates: Gates | None = None
    """Of neurons."""

    @property
    def unit(self) -> Float[Tensor, "batch component"]:
        """What brings w_in to unit size; zero for what is masked."""
        scale = self.scale if self.gates is None else self.scale / self.gates.scale
        return torch.where(self.scale > 0, 1 / scale.clamp_min(1e-12), torch.zeros_like(scale))

    @property
    def gate_unit(self) -> Float[Tensor, "batch component"]:
        """What brings the w_gate of a ReLU gate to unit size; zero for what is masked."""
        assert self.gates is not None
        return torch.where(self.scale > 0, 1 / self.gates.scale.clamp_min(1e-12), torch.zeros_like(self.scale))


def bias_stream(stream: Stream, batch: WeightBatch) -> Float[Tensor, "batch d_model"]:
    """What reads add to their biases: the constant stream without a norm, zero under one."""
    return stream.constant * batch.no_norm


def context_of(batch: WeightBatch, layer: int) -> Float[Tensor, "batch context"]:
    """Kind of target, place of the layer, counted from both ends, extensions, and whether states are normalised."""
    depth = batch.depth.to(batch.kind.dtype)
    from_end = depth - 1 - layer
    place = torch.stack([torch.full_like(depth, layer / 4), from_end / 4, depth / 4, (from_end == 0).to(depth)], -1)
    return torch.cat([batch.kind, place, batch.extension, batch.normalised], -1)


class ComponentNet(nn.Module):
    """Features of heads or neurons to their tokens."""

    def __init__(self, n_features: int, d_token: int):
        super().__init__()
        self.inner = nn.Linear(n_features + N_KIND + N_DEPTH, d_token)
        self.outer = nn.Sequential(nn.LayerNorm(d_token), nn.Linear(d_token, d_token), nn.GELU())
        self.last = nn.Linear(d_token, d_token)
        self.extension, self.normalised = BareLinear(len(EXTENSIONS), d_token), BareLinear(1, d_token)

    def forward(
        self,
        features: Float[Tensor, "batch component feature"],
        context: Float[Tensor, "batch context"],
        more: Float[Tensor, "batch component d_token"] | float = 0.0,
    ) -> Float[Tensor, "batch component d_token"]:
        """One token a component, RMS 1, from features, a context (`context_of`) and what is added for extensions."""
        context, extension, normalised = context.split([N_KIND + N_DEPTH, len(EXTENSIONS), 1], -1)
        more = more + self.normalised(normalised)[:, None]
        where = context[:, None].expand(-1, features.shape[1], -1)
        hidden = self.inner(torch.cat([features, where], -1)) + self.extension(extension)[:, None] + more
        token = hidden + self.last(self.outer(hidden))
        return token * torch.rsqrt(token.square().mean(-1, keepdim=True) + 1e-6)


def head_pairings(
    layer: LayerBatch, channels: Float[Tensor, "batch d_model mixture"], bias: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch n_heads feature"]:
    """X^T W_Q W_K^T X and X^T W_K b_Q of every head, on mixtures of the channels."""
    query = torch.einsum("bdc,bhdk->bhck", channels, layer.W_Q)
    constant = layer.b_Q + torch.einsum("bd,bhdk->bhk", bias, layer.W_Q)
    key = torch.einsum("bdc,bhdk->bhck", channels, layer.W_K)
    return squash(paired(torch.cat([query, constant[:, :, None]], 2), key.transpose(-1, -2))).flatten(2)


def head_writes(
    layer: LayerBatch,
    channels: Float[Tensor, "batch d_model mixture"],
    reads: Float[Tensor, "batch d_model out_channels"],
) -> Float[Tensor, "batch n_heads feature"]:
    """X^T W_V W_O Y of every head, on mixtures of the channels."""
    value = torch.einsum("bdc,bhdk->bhck", channels, layer.W_V)
    out = torch.einsum("bhkd,bdo->bhko", layer.W_O, reads)
    return squash(paired(value, out)).flatten(2)


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
        self.head_extension = HeadExtension(k, d)
        self.gate_forward, self.gate_backward = BareLinear(c + 1, d), BareLinear(c + 1, d)
        self.gate_read = BareLinear(d, o)
        self.head_gram, self.neuron_gram = BareLinear(k * k + k, d), BareLinear(c + 1, d)

    def heads(
        self, batch: WeightBatch, index: int, stream: Stream, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> Reading:
        """Forward: head tokens of one layer; their writes are added to the stream."""
        layer, channels = batch.layers[index], channels_of(stream, batch)
        view = self.head_view(channels)
        start = bias_stream(stream, batch)
        seen = head_pairings(layer, view, start)
        features = torch.cat([seen, head_writes(layer, view, reads)], -1)
        more = self.head_extension(batch, layer, view, start)
        if bool(batch.normalised.any()):
            more = more + self.head_gram(head_gram(batch, layer, view))
        tokens = self.head_forward(features, context_of(batch, index), more) * layer.heads[..., None]
        gate = 2 * self.head_gate(tokens) * layer.heads[..., None]
        moved = torch.einsum("bhck,bhkd->bhdc", torch.einsum("bdc,bhdk->bhck", channels, layer.W_V), layer.W_O)
        through = torch.einsum("bd,bhdk,bhke->be", start, layer.W_V, layer.W_O)
        stream.X = stream.X + torch.einsum("bhdc,bhc->bdc", self.head_mix(moved), gate)
        stream.constant = stream.constant + layer.b_O + through
        only = Signed(tokens, None, batch.has("gated"))
        return Reading(seen, layer.heads.to(seen.dtype), channels, start, only)

    def neurons(
        self,
        batch: WeightBatch,
        index: int,
        before: Stream,
        stream: Stream,
        reads: Float[Tensor, "batch d_model out_channels"],
    ) -> Reading:
        """Forward: neuron tokens of one layer, whose writes join the stream; it was `before` ahead of the heads."""
        layer, seen_stream = batch.layers[index], stream.seen_by_neurons(before, batch)
        channels, start = channels_of(seen_stream, batch), bias_stream(seen_stream, batch)
        added = torch.einsum("bd,bdm->bm", start, layer.W_in)
        bias = cleaned(layer.b_in + added, layer.b_in.abs() + start.norm(dim=1)[:, None] * layer.W_in.norm(dim=1))
        seen = torch.cat([paired(layer.W_in.transpose(1, 2), channels), bias[..., None]], -1)
        size = torch.sqrt(seen.square().sum(-1) + 1e-24)
        size = torch.where(batch.smooth & (batch.has("gated") == 0), torch.ones_like(size), size)
        seen = squash(2 * seen / size[..., None])
        gates = gates_of(batch, layer, channels, start)
        size = size if gates is None else size * gates.scale
        written = squash(size[..., None] * paired(layer.W_out, reads))
        more = 0.0 if gates is None else self.gate_forward(gates.features)
        if bool(batch.normalised.any()):
            more = more + self.neuron_gram(neuron_gram(batch, layer, channels, size))

        def net(features: Float[Tensor, "batch component feature"]) -> Float[Tensor, "batch component d_token"]:
            return self.neuron_forward(features, context_of(batch, index), more) * layer.neurons[..., None]

        tokens = both_signs(batch, net, torch.cat([seen, written], -1))
        sizes = size * layer.neurons
        coefficients = tokens.coefficients(self.neuron_write)
        writes = torch.einsum("bmd,bmc->bdc", layer.W_out * sizes[..., None], coefficients)
        stream.X, stream.constant = stream.X + writes, stream.constant + layer.b_out
        return Reading(seen, sizes, channels, start, tokens, gates)

    def neurons_back(
        self, batch: WeightBatch, index: int, reading: Reading, reads: Float[Tensor, "batch d_model out_channels"]
    ) -> tuple[Float[Tensor, "batch d_mlp d_token"], Float[Tensor, "batch d_model out_channels"]]:
        """Backward: final neuron tokens of one layer, and Y with what the neurons read."""
        layer, gates = batch.layers[index], reading.gates
        written = squash(reading.scale[..., None] * paired(layer.W_out, reads))
        more = 0.0 if gates is None else self.gate_backward(gates.features)

        def net(features: Float[Tensor, "batch component feature"]) -> Float[Tensor, "batch component d_token"]:
            return self.neuron_backward(features, context_of(batch, index), more) * layer.neurons[..., None]

        tokens = both_signs(batch, net, torch.cat([reading.features, written], -1), reading.tokens)
        wanted = tokens.coefficients(self.neuron_read) * reading.unit[..., None]
        new = reads + torch.einsum("bdm,bmo->bdo", layer.W_in, wanted)
        if gates is not None:
            wanted = self.gate_read(tokens.token) * reading.gate_unit[..., None]
            new = new + torch.einsum("bdm,bmo->bdo", layer.W_gate, wanted)
        return tokens.token, new

    def heads_back(
        self,
        batch: WeightBatch,
        index: int,
        reading: Reading,
        reads: Float[Tensor, "batch d_model out_channels"],
        onto: Float[Tensor, "batch d_model out_channels"],
    ) -> tuple[Float[Tensor, "batch n_heads d_token"], Float[Tensor, "batch d_model out_channels"]]:
        """Backward: final head tokens of one layer, and Y with what the heads read as values, queries and keys.

        `reads` is what reads the heads, `onto` is Y with what the neurons of the layer read, in a parallel layer too.
        """
        layer, channels = batch.layers[index], reading.channels
        written = head_writes(layer, self.head_view(channels), reads)
        features = torch.cat([reading.features, written, reading.tokens.plus], -1)
        tokens = self.head_backward(features, context_of(batch, index)) * layer.heads[..., None]
        value, query, key = ((1 + self.head_read(tokens)) * layer.heads[..., None]).chunk(3, -1)
        wants = torch.einsum("bhdk,bhko->bhdo", layer.W_V, torch.einsum("bhke,beo->bhko", layer.W_O, reads))
        keys = torch.einsum("bdc,bhdk->bhkc", self.key_mix(channels), layer.W_K)
        queries = torch.einsum("bdc,bhdk->bhkc", self.query_mix(channels), layer.W_Q)
        new = onto + torch.einsum("bhdo,bho->bdo", wants, value)
        new = new + torch.einsum("bhdk,bhko,bho->bdo", layer.W_Q, keys, query)
        return tokens, new + torch.einsum("bhdk,bhko,bho->bdo", layer.W_K, queries, key)
