"""Many targets of mixed shapes as one padded batch. Padding is exact: zeros in the residual stream, masks elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from oracle.neutral import MAX_NAME_TOKENS, LayersOnDemand, Neutral
from oracle.neutral_layer import NeutralLayer

EXTENSIONS = ("silu", "gated", "parallel", "rotary", "qk_norm")
"""Columns of `WeightBatch.extension`: what only other people's models have."""


N_SPECIALS = 2
"""Tokens of a zoo's target that its program does not know: BOS and PAD."""


@dataclass(frozen=True)
class LabelIds:
    """Names of a target's input tokens, positions and output tokens as token ids of the reader, 0 = padding."""

    tokens: Int[Tensor, "d_vocab name"]
    positions: Int[Tensor, "n_ctx name"]
    outputs: Int[Tensor, "d_vocab_out name"]


@dataclass(frozen=True)
class LayerBatch:
    """Layer l of every target of a batch; targets with fewer layers have all heads and neurons masked there."""

    W_Q: Float[Tensor, "batch n_heads d_model d_head"]
    b_Q: Float[Tensor, "batch n_heads d_head"]
    W_K: Float[Tensor, "batch n_heads d_model d_head"]
    b_K: Float[Tensor, "batch n_heads d_head"]
    W_norm: Float[Tensor, "batch 2 n_normed d_model d_head"]
    """n_normed = n_heads if a target of the batch has norms of queries and keys, else 0."""
    b_norm: Float[Tensor, "batch 2 n_normed d_head"]
    W_V: Float[Tensor, "batch n_heads d_model d_head"]
    W_O: Float[Tensor, "batch n_heads d_head d_model"]
    b_O: Float[Tensor, "batch d_model"]
    W_gate: Float[Tensor, "batch d_model d_gate"]
    """d_gate = d_mlp if a target of the batch has gated neurons, else 0."""
    b_gate: Float[Tensor, "batch d_gate"]
    W_in: Float[Tensor, "batch d_model d_mlp"]
    b_in: Float[Tensor, "batch d_mlp"]
    W_out: Float[Tensor, "batch d_mlp d_model"]
    b_out: Float[Tensor, "batch d_model"]
    heads: Bool[Tensor, "batch n_heads"]
    neurons: Bool[Tensor, "batch d_mlp"]


@dataclass(frozen=True)
class WeightBatch:
    """A batch of folded targets.

    `kind` has one row a target: no norm, LN, RMS, gelu, causal, read at BOS. `extension` has another, zero for every
    target that is made here: silu, gated, parallel, rotary, norms of queries and keys.
    """

    W_E: Float[Tensor, "batch d_vocab d_model"]
    W_pos: Float[Tensor, "batch n_ctx d_model"]
    constant: Float[Tensor, "batch d_model"]
    layers: Sequence[LayerBatch]
    depth: Int[Tensor, " batch"]
    W_U: Float[Tensor, "batch d_model d_vocab_out"]
    b_U: Float[Tensor, "batch d_vocab_out"]
    kind: Float[Tensor, "batch 6"]
    extension: Float[Tensor, "batch 5"]
    normalised: Float[Tensor, "batch 1"]
    """One for targets whose residual states are normalised, else zero."""
    rates: Float[Tensor, "batch d_turned"]
    """Radians a position of the leading entries of every head; zero for those that are not turned."""
    token_ids: Int[Tensor, "batch d_vocab name"]
    position_ids: Int[Tensor, "batch n_ctx name"]
    output_ids: Int[Tensor, "batch d_vocab_out name"]
    targets: tuple[Neutral, ...]
    """What was padded."""

    def __len__(self) -> int:
        return len(self.W_E)

    def to(self, device: torch.device | str) -> WeightBatch:
        """The batch on another device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name not in ("layers", "targets")}
        moved["targets"] = self.targets
        if isinstance(self.layers, CollatedOnDemand):
            return WeightBatch(layers=CollatedOnDemand(self.layers.targets, device), **moved)
        return WeightBatch(layers=tuple(_layer_to(layer, device) for layer in self.layers), **moved)

    def has(self, name: str) -> Float[Tensor, "batch 1"]:
        """One for the targets with an extension, zero for the others."""
        at = EXTENSIONS.index(name)
        return self.extension[:, at : at + 1]

    @property
    def no_norm(self) -> Float[Tensor, "batch 1"]:
        """One for targets in which nothing takes the length of the residual stream, else zero."""
        return self.kind[:, :1] * (1 - self.normalised)

    @property
    def smooth(self) -> Bool[Tensor, "batch 1"]:
        """Whether the activation is another one than ReLU: the size of what it is taken of then counts."""
        return (self.kind[:, 3:4] > 0) | (self.has("silu") > 0)

    @property
    def n_nodes(self) -> Int[Tensor, " batch"]:
        """Labels, heads and neurons of each target, and one for the target itself."""
        nodes = torch.ones_like(self.depth)
        for ids in (self.token_ids, self.position_ids, self.output_ids):
            nodes = nodes + (ids != 0).any(-1).sum(1)
        if isinstance(self.layers, CollatedOnDemand):
            return nodes + self.layers.n_components.to(nodes)
        for layer in self.layers:
            nodes = nodes + layer.heads.sum(1) + layer.neurons.sum(1)
        return nodes

    def rows(self, chosen: Bool[Tensor, " batch"]) -> WeightBatch:
        """Some of the targets, still padded as before."""
        some = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name not in ("layers", "targets")}
        targets = some["targets"] = tuple(t for t, keep in zip(self.targets, chosen.tolist(), strict=True) if keep)
        if isinstance(self.layers, CollatedOnDemand):
            return WeightBatch(layers=CollatedOnDemand(targets, self.layers.device), **some)
        layers = [{f.name: getattr(layer, f.name)[chosen] for f in fields(layer)} for layer in self.layers]
        return WeightBatch(layers=tuple(LayerBatch(**layer) for layer in layers), **some)


def _layer_to(layer: LayerBatch, device: torch.device | str) -> LayerBatch:
    return LayerBatch(**{f.name: getattr(layer, f.name).to(device) for f in fields(layer)})


def pad_stack(tensors: Sequence[Shaped[Tensor, "..."]]) -> Shaped[Tensor, "batch ..."]:
    """Tensors of one rank, stacked after zero-padding every axis to its largest size."""
    shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    out = tensors[0].new_zeros(len(tensors), *shape)
    for row, tensor in zip(out, tensors, strict=True):
        row[tuple(slice(n) for n in tensor.shape)] = tensor
    return out


def _empty_layer(like: Neutral) -> NeutralLayer:
    """A block without heads and neurons, for targets that are shallower than their batch."""
    d, z = like.W_E.shape[1], like.W_E.new_zeros
    heads = {name: z(0, d, 0) for name in ("W_Q", "W_K", "W_V")}
    heads |= {"b_Q": z(0, 0), "b_K": z(0, 0), "W_norm": z(2, 0, d, 0), "b_norm": z(2, 0, 0)}
    neurons = {"W_gate": z(d, 0), "b_gate": z(0), "W_in": z(d, 0), "b_in": z(0), "W_out": z(0, d)}
    return NeutralLayer(**heads, W_O=z(0, 0, d), b_O=z(d), **neurons, b_out=z(d))


def _collate_layer(layers: Sequence[NeutralLayer]) -> LayerBatch:
    """One layer of every target. A component that writes exactly nothing is masked: it is not part of the function."""
    stacked = {f.name: pad_stack([getattr(layer, f.name) for layer in layers]) for f in fields(NeutralLayer)}
    for name, axis, size in (("norm", 2, stacked["b_Q"].shape[1]), ("gate", -1, stacked["b_in"].shape[1])):
        if stacked[f"b_{name}"].shape[axis]:  # some targets of the batch have it: the others' is zero
            stacked |= {n: _grown(stacked[n], axis, size) for n in (f"W_{name}", f"b_{name}")}
    heads = (stacked["W_O"] != 0).any(-1).any(-1)
    neurons = (stacked["W_out"] != 0).any(-1)
    return LayerBatch(**stacked, heads=heads, neurons=neurons)


def _grown(x: Shaped[Tensor, "..."], axis: int, size: int) -> Shaped[Tensor, "..."]:
    """x with zeros behind it on one axis, up to a size."""
    shape = list(x.shape)
    shape[axis] = size - shape[axis]
    return torch.cat([x, x.new_zeros(shape)], axis)


class CollatedOnDemand(Sequence[LayerBatch]):
    """The layers of a batch, each collated when it is asked for; only the last one is kept."""

    def __init__(self, targets: Sequence[Neutral], device: torch.device | str = "cpu"):
        self.targets, self.device = targets, device
        self._last: tuple[int, LayerBatch] | None = None

    def __len__(self) -> int:
        return max(len(target.layers) for target in self.targets)

    @property
    def n_components(self) -> Int[Tensor, " batch"]:
        """Heads and neurons of each target."""
        return torch.tensor([_n_components(target) for target in self.targets])

    def __getitem__(self, index: int) -> LayerBatch:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._last is None or self._last[0] != index:
            layers = [t.layers[index] if index < len(t.layers) else _empty_layer(t) for t in self.targets]
            self._last = index, _layer_to(_collate_layer(layers), self.device)
        return self._last[1]


def _n_components(target: Neutral) -> int:
    if isinstance(target.layers, LayersOnDemand):
        return target.layers.n_components
    return sum(len(layer.b_Q) + len(layer.b_in) for layer in target.layers)


def kind_of(target: Neutral) -> Float[Tensor, " 6"]:
    """A row of `WeightBatch.kind`."""
    kind = [target.norm == 0, target.norm == 1, target.norm == 2, target.gelu, target.causal, target.first]
    return torch.tensor(kind, dtype=target.W_E.dtype, device=target.W_E.device)


STACKED = ("W_E", "W_pos", "constant", "W_U", "b_U", "rates")


def collate(targets: Sequence[Neutral], labels: Sequence[LabelIds]) -> WeightBatch:
    """Pad folded targets and the names of their labels to one batch; layers that come on demand stay so.

    Targets without W_pos have no positions, whatever their labels say.
    """
    layers = CollatedOnDemand(targets)
    in_memory = all(isinstance(target.layers, tuple) for target in targets)
    extension = [[t.silu, t.gated, t.parallel, len(t.rates) > 0, t.qk_norm] for t in targets]
    return WeightBatch(
        **{name: pad_stack([getattr(t, name) for t in targets]) for name in STACKED},
        layers=tuple(layers) if in_memory else layers,
        depth=torch.tensor([len(t.layers) for t in targets]),
        kind=torch.stack([kind_of(t) for t in targets]),
        extension=torch.tensor(extension, dtype=targets[0].W_E.dtype),
        normalised=torch.tensor([[t.normalised] for t in targets], dtype=targets[0].W_E.dtype),
        token_ids=pad_stack([x.tokens for x in labels]),
        position_ids=pad_stack([x.positions[: len(t.W_pos)] for t, x in zip(targets, labels, strict=True)]),
        output_ids=pad_stack([x.outputs for x in labels]),
        targets=tuple(targets),
    )


def pad_ids(names: Sequence[Sequence[int]]) -> Int[Tensor, "label name"]:
    """Token ids of names, cut and zero-padded to MAX_NAME_TOKENS; every name has at least one id."""
    rows = [list(ids)[:MAX_NAME_TOKENS] for ids in names]
    padded = [ids + [0] * (MAX_NAME_TOKENS - len(ids)) for ids in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(-1, MAX_NAME_TOKENS)
