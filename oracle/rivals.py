"""Rivals of the weight encoder, of the same interface and like size: a claim needs something to beat.

    flat        chunks of d_llm weights in a fixed order, as if weights were text
    statistics  seven statistics of each tensor (Unterthiner et al. 2020)
    set         heads, neurons and label rows as a set of raw vectors: blind to their order, not to the basis
    circuits    pairings of heads and neurons with labels and outputs only: blind to the basis, without the channels
                in which the weight encoder follows what a later layer reads of an earlier one

Of other people's models all see the kind, and what gated neurons take their activation of; only the weight encoder
sees rotary positions and norms of queries and keys. All read the folded weights (neutral.py), which favours them: raw
weights would show them the gauges of the foldings as well. All see the names of the labels, and all mix and pool their
tokens by the same blocks as the weight encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from oracle.attention import AttentionBlock, Pooled, gather_valid
from oracle.batch import LayerBatch, WeightBatch
from oracle.codes import NameCode
from oracle.config import EncoderConfig
from oracle.encoder import WeightEncoder
from oracle.extended import BareLinear, squash
from oracle.route_encoder import RouteEncoder
from oracle.sweeps import N_KIND, ComponentNet, context_of
from tracr_tasks.errors import InputError

MAX_CHUNKS = 4096
"""Chunks of the largest target that FlatEncoder reads."""
MAX_WIDTH, MAX_HEAD = 128, 32
"""Residual entries and head dimensions that SetEncoder sees."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
N_TENSORS = 15
"""Of every target; those of gates come behind."""
TINY = 1e-5
"""A neuron that reads less from labels than this is taken as it is: rounding must not be blown up to unit size."""

Found = tuple[Float[Tensor, "batch n d_token"], Bool[Tensor, "batch n"]]


def places(n: int, width: int, like: Float[Tensor, "..."]) -> Float[Tensor, "n width"]:
    """Sinusoidal codes of 0 to n - 1 (Vaswani et al. 2017, section 3.5); `width` is even."""
    rate = torch.exp(torch.arange(0, width, 2).to(like) * (-math.log(1000.0) / width))
    angle = torch.arange(n).to(like)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


def label_masks(batch: WeightBatch) -> list[Bool[Tensor, "batch _"]]:
    """Which input tokens, positions and outputs are no padding."""
    return [(ids != 0).any(-1) for ids in (batch.token_ids, batch.position_ids, batch.output_ids)]


class Rival(Pooled):
    """What the rivals share: tokens of names and of the target, mixing, pooling, projection."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        """Args: the configuration; the reader's hidden size; the mean norm of its embedding rows."""
        super().__init__(config, d_llm, embedding_norm)
        d, heads = config.d_token, config.n_attention_heads
        self.names = nn.ModuleList(NameCode(d_llm, d) for _ in range(3))
        self.label_kind = nn.Parameter(0.3 * torch.randn(3, d))
        self.summary = nn.Linear(N_KIND + 1, d)
        self.mix = nn.ModuleList(AttentionBlock(d, heads) for _ in range(config.n_mix_layers))

    def labels(
        self,
        batch: WeightBatch,
        table: Float[Tensor, "vocab d_llm"],
        extra: Sequence[Float[Tensor, "#batch _ d_token"]],
    ) -> list[Found]:
        """A token for each input token, position and output: its name and what a rival adds."""
        ids = (batch.token_ids, batch.position_ids, batch.output_ids)
        tokens = [name(i, table) for name, i in zip(self.names, ids, strict=True)]
        added = [t + kind + more for t, kind, more in zip(tokens, self.label_kind, extra, strict=True)]
        return list(zip(added, label_masks(batch), strict=True))

    def target(self, batch: WeightBatch) -> Found:
        """One token: kind and depth of the target."""
        token = self.summary(torch.cat([batch.kind, batch.depth.to(batch.kind)[:, None] / 4], -1))[:, None]
        return token, torch.ones_like(token[..., 0], dtype=torch.bool)

    def found(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> list[Found]:
        """The tokens of a batch, in groups, labels first; each rival has its own."""
        raise NotImplementedError

    def forward(
        self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens (see `Pooled.pooled`)."""
        groups = self.found(batch, table)
        tokens, mask = gather_valid(torch.cat([g[0] for g in groups], 1), torch.cat([g[1] for g in groups], 1))
        for block in self.mix:
            tokens = block(tokens, mask)
        ids = (batch.token_ids, batch.position_ids, batch.output_ids)
        labels = list(zip(ids, label_masks(batch), strict=True))
        return self.pooled(tokens, mask, labels)


@dataclass(frozen=True)
class Part:
    """One tensor of every target of a batch, flat; its number among the tensors, its layer, and what is no padding."""

    tensor: int
    layer: int
    values: Float[Tensor, "batch n"]
    mask: Bool[Tensor, "batch n"]


def _reach(used: Bool[Tensor, "batch n"]) -> Bool[Tensor, "batch n"]:
    """Everything up to the last entry that is used."""
    return used.flip(1).cumsum(1).flip(1) > 0


def _any(x: Float[Tensor, "batch ..."], axis: int) -> Bool[Tensor, "batch n"]:
    """Entries of one axis under which something is not zero."""
    return (x != 0).any(dim=tuple(i for i in range(1, x.ndim) if i != axis))


def residual_mask(batch: WeightBatch) -> Bool[Tensor, "batch d_model"]:
    """The residual directions of each target: those up to the last that anything reads or writes."""
    used = _any(batch.W_E, 2) | _any(batch.W_pos, 2) | (batch.constant != 0) | _any(batch.W_U, 1)
    for layer in batch.layers:
        for W, axis in (
            (layer.W_Q, 2),
            (layer.W_K, 2),
            (layer.W_V, 2),
            (layer.W_O, 3),
            (layer.W_in, 1),
            (layer.W_gate, 1),
        ):
            used = used | _any(W, axis)
        used = used | _any(layer.W_out, 2) | (layer.b_O != 0) | (layer.b_out != 0)
    return _reach(used)


def _part(tensor: int, layer: int, values: Float[Tensor, "batch ..."], *axes: Bool[Tensor, "batch _"]) -> Part:
    """A tensor whose entries are real where they are on each of its axes."""
    mask = axes[0]
    for axis in axes[1:]:
        mask = mask[..., None] & axis.reshape(len(axis), *[1] * (mask.ndim - 1), -1)
    return Part(tensor, layer, values.flatten(1), mask.flatten(1))


def parts_of(batch: WeightBatch) -> Iterator[Part]:
    """Every tensor of a batch, in a fixed order."""
    tokens, positions, outputs = label_masks(batch)
    residual = residual_mask(batch)
    yield _part(0, 0, batch.W_E, tokens, residual)
    yield _part(1, 0, batch.W_pos, positions, residual)
    yield _part(2, 0, batch.constant, residual)
    for index, layer in enumerate(batch.layers):
        yield from _layer_parts(index, layer, residual & (batch.depth > index)[:, None])
    yield _part(13, 0, batch.W_U, residual, outputs)
    yield _part(14, 0, batch.b_U, outputs)


def _layer_parts(index: int, layer: LayerBatch, residual: Bool[Tensor, "batch d_model"]) -> Iterator[Part]:
    """The tensors of a layer, without heads and neurons that write nothing."""
    h, m = layer.heads, layer.neurons
    used = _any(layer.W_Q, 3) | _any(layer.W_K, 3) | _any(layer.W_V, 3) | _any(layer.W_O, 2)
    k = _reach(used | _any(layer.b_Q, 2))
    for tensor, W in ((3, layer.W_Q), (4, layer.W_K), (5, layer.W_V)):
        yield _part(tensor, index, W, h, residual, k)
    yield _part(6, index, layer.b_Q, h, k)
    yield _part(7, index, layer.W_O, h, k, residual)
    yield _part(8, index, layer.b_O, residual)
    yield _part(9, index, layer.W_in, residual, m)
    yield _part(10, index, layer.b_in, m)
    yield _part(11, index, layer.W_out, m, residual)
    yield _part(12, index, layer.b_out, residual)
    if layer.W_gate.shape[2]:
        gated = m & _any(layer.W_gate, 2)
        yield _part(N_TENSORS, index, layer.W_gate, residual, gated)
        yield _part(N_TENSORS + 1, index, layer.b_gate, gated)


class FlatEncoder(Rival):
    """The naive scheme: all weights of a target after one another, cut in chunks of d_llm numbers, one token each."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        super().__init__(config, d_llm, embedding_norm)
        self.chunk = nn.Linear(d_llm, config.d_token)
        self.position = nn.Parameter(0.3 * torch.randn(MAX_CHUNKS, config.d_token))
        self.slot = nn.Linear(config.d_token, config.d_token)

    def found(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> list[Found]:
        """Chunks of weights, names with their places.

        Raises:
            InputError: a target of more than MAX_CHUNKS chunks.
        """
        values, mask = pushed_left(list(parts_of(batch)))
        size = self.chunk.in_features
        n = -(-values.shape[1] // size)
        if n > MAX_CHUNKS:
            raise InputError(f"a target of {values.shape[1]} weights, expected at most {MAX_CHUNKS * size}")
        values = nn.functional.pad(squash(values), (0, n * size - values.shape[1])).unflatten(1, (n, size))
        tokens = self.chunk(values) + self.position[:n]
        names = self.labels(batch, table, slot_codes(self.slot, batch, self.config.d_token))
        return [*names, self.target(batch), (tokens, mask[:, ::size])]


def slot_codes(project: nn.Module, batch: WeightBatch, width: int) -> list[Float[Tensor, "1 _ d_token"]]:
    """Codes of the place of each label among its kind: which row or column of the weights it names."""
    sizes = (batch.W_E.shape[1], batch.W_pos.shape[1], batch.W_U.shape[2])
    return [project(places(n, width, batch.W_E))[None] for n in sizes]


def pushed_left(parts: Sequence[Part]) -> tuple[Float[Tensor, "batch n"], Bool[Tensor, "batch n"]]:
    """The weights of each target without the padding between them, zeros behind; and where there are weights."""
    values, mask = torch.cat([p.values for p in parts], 1), torch.cat([p.mask for p in parts], 1)
    counts = mask.sum(1)
    n = int(counts.max())
    place = torch.where(mask, mask.cumsum(1) - 1, n)
    packed = values.new_zeros(len(values), n + 1).scatter(1, place, values)[:, :n]
    return packed, torch.arange(n, device=mask.device) < counts[:, None]


class StatisticsEncoder(Rival):
    """Mean, variance and quantiles of every tensor (Unterthiner et al. 2020, section 4), one token a tensor."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        super().__init__(config, d_llm, embedding_norm)
        self.statistics = nn.Linear(2 + len(QUANTILES), config.d_token)
        self.tensor = nn.Parameter(0.3 * torch.randn(N_TENSORS, config.d_token))
        self.gate_tensors = BareLinear(2, config.d_token)
        self.place, self.slot = (nn.Linear(config.d_token, config.d_token) for _ in range(2))

    def found(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> list[Found]:
        """A token for each tensor, names with their places."""
        parts = [p for p in parts_of(batch) if p.values.shape[1]]
        layer_codes = self.place(places(len(batch.layers), self.config.d_token, batch.W_E))
        seen = torch.stack([squash(statistics(p.values, p.mask)) for p in parts], 1)
        codes = torch.cat([self.tensor, self.gate_tensors.weight.T])
        kinds = torch.stack([codes[p.tensor] + layer_codes[p.layer] for p in parts])
        mask = torch.stack([p.mask.any(1) for p in parts], 1)
        names = self.labels(batch, table, slot_codes(self.slot, batch, self.config.d_token))
        return [*names, self.target(batch), (self.statistics(seen) + kinds, mask)]


def statistics(values: Float[Tensor, "batch n"], mask: Bool[Tensor, "batch n"]) -> Float[Tensor, "batch 7"]:
    """Mean, variance and the quantiles 0, 25, 50, 75, 100 % (linear between neighbours) of the values under a mask."""
    counts = mask.sum(1, keepdim=True).clamp_min(1)
    mean = (values * mask).sum(1, keepdim=True) / counts
    variance = ((values - mean).square() * mask).sum(1, keepdim=True) / counts
    ordered = torch.where(mask, values, torch.inf).sort(1).values
    ordered = torch.where(ordered.isinf(), 0.0, ordered)
    at = torch.tensor(QUANTILES).to(values) * (counts - 1)
    low = at.floor().long()
    high = torch.minimum(low + 1, counts - 1)
    quantiles = torch.lerp(ordered.gather(1, low), ordered.gather(1, high), at - low)
    return torch.cat([mean, variance, quantiles], 1)


def resized(x: Float[Tensor, "..."], *sizes: int) -> Float[Tensor, "..."]:
    """x with its last axes padded with zeros or cut to the sizes."""
    pads = [n for size, have in zip(reversed(sizes), reversed(x.shape), strict=False) for n in (0, size - have)]
    return nn.functional.pad(x, pads)


class SetEncoder(Rival):
    """Raw heads, neurons and label rows as a set: their order does not matter, the basis of their vectors does."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        super().__init__(config, d_llm, embedding_norm)
        d = config.d_token
        self.rows = nn.ModuleList(nn.Linear(MAX_WIDTH + 1, d) for _ in range(3))
        self.head = ComponentNet(4 * MAX_WIDTH * MAX_HEAD + MAX_HEAD, d)
        self.neuron, self.biases = ComponentNet(2 * MAX_WIDTH + 1, d), ComponentNet(2 * MAX_WIDTH, d)
        self.constant = nn.Linear(MAX_WIDTH, d)
        self.gate = BareLinear(MAX_WIDTH + 1, d)
        self.kind = nn.Parameter(0.3 * torch.randn(3, d))

    def found(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> list[Found]:
        """Label rows, the target with its constant stream, and heads, neurons and biases of every layer."""
        no_bias = [W.new_zeros(*W.shape[:2], 1) for W in (batch.W_E, batch.W_pos)]
        rows = ((batch.W_E, no_bias[0]), (batch.W_pos, no_bias[1]), (batch.W_U.transpose(1, 2), batch.b_U[..., None]))
        seen = [squash(torch.cat([resized(W, MAX_WIDTH), b], -1)) for W, b in rows]
        extra = [linear(x) for linear, x in zip(self.rows, seen, strict=True)]
        target, always = self.target(batch)
        constant = self.constant(squash(resized(batch.constant, MAX_WIDTH)))[:, None]
        found = [*self.labels(batch, table, extra), (target + constant, always)]
        for index, layer in enumerate(batch.layers):
            found += self._layer(layer, context_of(batch, index), batch.depth > index)
        return found

    def _layer(
        self, layer: LayerBatch, context: Float[Tensor, "batch context"], exists: Bool[Tensor, " batch"]
    ) -> Iterator[Found]:
        """Heads, neurons and, as one token, the biases of a layer."""
        reads = [resized(W, MAX_WIDTH, MAX_HEAD).flatten(2) for W in (layer.W_Q, layer.W_K, layer.W_V)]
        heads = [*reads, resized(layer.W_O, MAX_HEAD, MAX_WIDTH).flatten(2), resized(layer.b_Q, MAX_HEAD)]
        yield self.head(squash(torch.cat(heads, -1)), context) + self.kind[0], layer.heads
        read, write = (resized(W, MAX_WIDTH) for W in (layer.W_in.transpose(1, 2), layer.W_out))
        neurons = torch.cat([read, layer.b_in[..., None], write], -1)
        gates = 0.0 if not layer.W_gate.shape[2] else self.gate(squash(self._gates(layer)))
        yield self.neuron(squash(neurons), context, gates) + self.kind[1], layer.neurons
        biases = torch.cat([resized(b, MAX_WIDTH) for b in (layer.b_O, layer.b_out)], -1)[:, None]
        yield self.biases(squash(biases), context) + self.kind[2], exists[:, None]

    @staticmethod
    def _gates(layer: LayerBatch) -> Float[Tensor, "batch d_mlp _"]:
        """What the activation of each neuron is taken of, and its bias; zero for those that are not gated."""
        return torch.cat([resized(layer.W_gate.transpose(1, 2), MAX_WIDTH), layer.b_gate[..., None]], -1)


@dataclass(frozen=True)
class Anchors:
    """Labels of a batch: what they write or read in the residual stream, and their codes."""

    writes: Float[Tensor, "batch label d_model"]
    codes: Float[Tensor, "batch label code"]
    reads: Float[Tensor, "batch d_model output"]
    output_codes: Float[Tensor, "batch output out_code"]


class CircuitsEncoder(Rival):
    """Pairings with labels only: X W_Q W_K^T X^T, X W_V W_O W_U, X W_in, W_out W_U and X W_U, with X = W_E and W_pos.

    A pairing with n labels is summed over codes of their names, so that a renamed label changes its code and nothing
    else. The constant stream joins the biases where there is no norm; under one it is a label of its own.
    """

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        super().__init__(config, d_llm, embedding_norm)
        d, half = config.d_token, config.out_channels // 2
        channels = (config.token_channels, config.position_channels, half)
        self.token_code, self.position_code, self.output_code = (NameCode(d_llm, n) for n in channels)
        c = config.token_channels + config.position_channels + 1
        self.head, self.neuron = ComponentNet((c + 1) * c + c * half, d), ComponentNet(c + 1 + half, d)
        self.input_label = nn.ModuleList(nn.Linear(half + c, d) for _ in range(2))
        self.output_label = nn.Linear(c + 1, d)
        self.kind = nn.Parameter(0.3 * torch.randn(2, d))

    def anchors(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> Anchors:
        """Input tokens and positions with codes in channels of their own; the constant is added layer by layer."""
        T, S = self.token_code(batch.token_ids, table), self.position_code(batch.position_ids, table)
        codes = torch.cat([nn.functional.pad(T, (0, S.shape[2] + 1)), nn.functional.pad(S, (T.shape[2], 1))], 1)
        writes, output_codes = torch.cat([batch.W_E, batch.W_pos], 1), self.output_code(batch.output_ids, table)
        return Anchors(writes, codes, batch.W_U, output_codes)

    def found(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> list[Found]:
        """Labels with their direct pairings, heads and neurons with theirs."""
        no_norm, constant, anchors = batch.no_norm, batch.constant, self.anchors(batch, table)
        found = list[Found]()
        for index, layer in enumerate(batch.layers):
            bias, here = constant * no_norm, with_constant(anchors, constant * (1 - no_norm))
            heads = self.head(head_circuits(layer, here, bias), context_of(batch, index))
            before = constant
            constant = constant + layer.b_O + torch.einsum("bd,bhdk,bhke->be", bias, layer.W_V, layer.W_O)
            seen_by = torch.where(batch.has("parallel") > 0, before, constant)
            bias, here = seen_by * no_norm, with_constant(anchors, seen_by * (1 - no_norm))
            seen = neuron_circuits(batch, layer, here, bias)
            neurons = self.neuron(seen, context_of(batch, index))
            found += [(heads + self.kind[0], layer.heads), (neurons + self.kind[1], layer.neurons)]
            constant = constant + layer.b_out
        return [*self.labels(batch, table, self._direct(batch, anchors, constant)), self.target(batch), *found]

    def _direct(
        self, batch: WeightBatch, anchors: Anchors, constant: Float[Tensor, "batch d_model"]
    ) -> list[Float[Tensor, "batch _ d_token"]]:
        """What labels add to their tokens: input labels against outputs and, under a norm, each other; outputs back."""
        no_norm = batch.no_norm
        start, end = (with_constant(anchors, c * (1 - no_norm)) for c in (batch.constant, constant))
        gram = squash(anchors.writes @ start.writes.transpose(1, 2)) @ start.codes * (1 - no_norm)[..., None]
        seen = torch.cat([squash(anchors.writes @ batch.W_U) @ anchors.output_codes, gram], -1)
        tokens, positions = seen.split([batch.W_E.shape[1], batch.W_pos.shape[1]], 1)
        bias = batch.b_U + torch.einsum("bd,bdo->bo", constant * no_norm, batch.W_U)
        back = squash(end.writes @ batch.W_U).transpose(1, 2) @ end.codes
        outputs = self.output_label(torch.cat([back, squash(bias)[..., None]], -1))
        return [self.input_label[0](tokens), self.input_label[1](positions), outputs]


def with_constant(anchors: Anchors, constant: Float[Tensor, "batch d_model"]) -> Anchors:
    """The labels and, as one more with a channel of its own, the constant stream."""
    code = nn.functional.pad(torch.ones_like(constant[:, :1, None]), (anchors.codes.shape[2] - 1, 0))
    writes = torch.cat([anchors.writes, constant[:, None]], 1)
    return replace(anchors, writes=writes, codes=torch.cat([anchors.codes, code], 1))


def head_circuits(
    layer: LayerBatch, anchors: Anchors, bias: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch n_heads feature"]:
    """QK circuit over labels (and from the query bias), OV circuit from labels to outputs (Elhage et al. 2021)."""
    C = anchors.codes[:, None]
    query = torch.einsum("bnd,bhdk->bhnk", anchors.writes, layer.W_Q)
    key = torch.einsum("bnd,bhdk->bhnk", anchors.writes, layer.W_K).transpose(-1, -2)
    value = torch.einsum("bnd,bhdk->bhnk", anchors.writes, layer.W_V)
    constant = (layer.b_Q + torch.einsum("bd,bhdk->bhk", bias, layer.W_Q))[:, :, None]
    scores = C.transpose(-1, -2) @ squash(query @ key) @ C
    moved = squash(value @ (layer.W_O @ anchors.reads[:, None])) @ anchors.output_codes[:, None]
    return torch.cat([x.flatten(2) for x in (scores, squash(constant @ key) @ C, C.transpose(-1, -2) @ moved)], -1)


def neuron_circuits(
    batch: WeightBatch, layer: LayerBatch, anchors: Anchors, bias: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch d_mlp feature"]:
    """What a neuron reads of labels, its bias, and what it writes; a ReLU neuron at unit size of its reads.

    A gated neuron reads what its activation is taken of, and writes at unit size of the other side, without a sign.
    """
    smooth, gated = batch.smooth[..., None], batch.has("gated")[..., None] > 0
    read, constant = _read_circuits(layer.W_in, layer.b_in, anchors, bias)
    size = torch.cat([read, constant], -1).square().sum(-1, keepdim=True).sqrt()
    size = torch.where((smooth & ~gated) | (size < TINY), torch.ones_like(size), size)
    unit = size
    if layer.W_gate.shape[2]:
        gates = _read_circuits(layer.W_gate, layer.b_gate, anchors, bias)
        read, constant = (torch.where(gated, g, x) for g, x in zip(gates, (read, constant), strict=True))
        gate = torch.cat([read, constant], -1).square().sum(-1, keepdim=True).sqrt()
        gate = torch.where(~gated | smooth | (gate < TINY), torch.ones_like(gate), gate)
        unit, size = torch.where(gated, gate, size), size * gate
    written = squash(size * (layer.W_out @ anchors.reads))
    written = torch.where(gated, written.abs(), written) @ anchors.output_codes
    return torch.cat([squash(read / unit) @ anchors.codes, squash(constant / unit), written], -1)


def _read_circuits(
    W: Float[Tensor, "batch d_model d_mlp"],
    b: Float[Tensor, "batch d_mlp"],
    anchors: Anchors,
    bias: Float[Tensor, "batch d_model"],
) -> tuple[Float[Tensor, "batch d_mlp label"], Float[Tensor, "batch d_mlp 1"]]:
    """What neurons read of each label, and of none."""
    return torch.einsum("bnd,bdm->bmn", anchors.writes, W), (b + torch.einsum("bd,bdm->bm", bias, W))[..., None]


ENCODERS: dict[str, Callable[[EncoderConfig, int, float], nn.Module]] = {
    "routes": RouteEncoder,
    "channels": WeightEncoder,
    "flat": FlatEncoder,
    "statistics": StatisticsEncoder,
    "set": SetEncoder,
    "circuits": CircuitsEncoder,
}
"""Every encoder by name, as a function of its configuration, the reader's width and the norm of its embeddings."""
BLIND = ("routes", "channels")
"""Those that are no rivals but blind to every gauge."""
