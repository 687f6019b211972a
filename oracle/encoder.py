"""The weight encoder: folded weights of a batch of targets to a fixed number of embeddings for the reader each.

    names -> codes -> channels X, Y -> forward sweep -> backward sweep -> label, head and neuron tokens
          -> mixed by self-attention that sees pairings as edges -> pooled by a Perceiver -> [n_tokens, d_llm]

One network reads any width, depth, number of heads and neurons, vocabulary and length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from oracle.attention import AttentionBlock, Pooled, gather_valid
from oracle.batch import EXTENSIONS, WeightBatch
from oracle.codes import NameCode
from oracle.config import EncoderConfig
from oracle.edges import EdgeBlock, EdgeNet
from oracle.extended import BareLinear, squash
from oracle.nodes import Group
from oracle.pairings import paired
from oracle.states import Stream, final_gram
from oracle.sweeps import N_KIND, Reading, Sweeps

KINDS = ("input token", "position", "output token", "target", "head", "neuron")


@dataclass(frozen=True)
class Components:
    """Tokens before they are mixed: labels of the input, a summary of the target, labels of the output, then heads and
    neurons layer by layer."""

    tokens: Float[Tensor, "batch n d_token"]
    mask: Bool[Tensor, "batch n"]
    groups: tuple[Group, ...]
    """The same nodes as they write and read, for their edges; none where there are too many."""


class WeightEncoder(Pooled):
    """Weights to weight tokens, blind to every gauge of symmetries.md, equivariant to relabelling."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        """Args: the configuration; the reader's hidden size; the mean norm of its embedding rows."""
        super().__init__(config, d_llm, embedding_norm)
        d, half = config.d_token, config.out_channels // 2
        self.token_code, self.position_code = (
            NameCode(d_llm, config.token_channels),
            NameCode(d_llm, config.position_channels),
        )
        self.output_code = NameCode(d_llm, half)
        self.token_name, self.position_name, self.output_name = (NameCode(d_llm, d) for _ in range(3))
        self.sweeps = Sweeps(config)
        c, o = config.channels + 1, config.out_channels
        self.token_label, self.position_label = nn.Linear(o + c, d), nn.Linear(o + c, d)
        self.output_label, self.summary = nn.Linear(c + 1, d), nn.Linear(o + N_KIND + 1, d)
        self.summary_extension = BareLinear(len(EXTENSIONS), d)
        self.summary_states = BareLinear(c + 1, d)
        self.kind = nn.Parameter(0.3 * torch.randn(len(KINDS), d))
        self.edges = EdgeNet(config) if config.d_edge else None
        if config.d_edge:
            self.edge_scores = nn.Linear(config.d_edge, config.n_mix_layers * config.n_attention_heads)
        self.mix = nn.ModuleList(
            EdgeBlock(d, config.n_attention_heads, config.d_edge)
            if config.d_edge
            else AttentionBlock(d, config.n_attention_heads)
            for _ in range(config.n_mix_layers)
        )

    def small(self, batch: WeightBatch) -> Bool[Tensor, " batch"]:
        """The targets of few enough tokens that pairs of them are looked at."""
        return batch.n_nodes <= (self.config.max_edge_nodes if self.edges is not None else -1)

    def components(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> Components:
        """Label, head and neuron tokens of a batch; `table` holds the reader's embedding rows. Never in bfloat16."""
        with torch.autocast(table.device.type, enabled=False):
            return self._components(batch, table)

    def _components(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> Components:
        T, S = self.token_code(batch.token_ids, table), self.position_code(batch.position_ids, table)
        X = torch.cat([batch.W_E.transpose(1, 2) @ T, batch.W_pos.transpose(1, 2) @ S], -1)
        X = torch.cat([X, X.new_zeros(*X.shape[:2], self.config.hidden_channels)], -1)
        Y = batch.W_U @ self.output_code(batch.output_ids, table)
        Y = torch.cat([Y, torch.zeros_like(Y)], -1)
        stream, readings = Stream(X, batch.constant), list[tuple[Reading, Reading]]()
        for index in range(len(batch.layers)):
            before = replace(stream)
            heads = self.sweeps.heads(batch, index, stream, Y)
            readings.append((heads, self.sweeps.neurons(batch, index, before, stream, Y)))
        outputs = self._outputs(batch, stream, table)
        found: list[tuple[Tensor, Tensor]] = []
        groups, has_edges = list[Group](), bool(self.small(batch).all())
        for index in reversed(range(len(batch.layers))):
            layer, (heads, neurons) = batch.layers[index], readings[index]
            neuron_tokens, behind = self.sweeps.neurons_back(batch, index, neurons, Y)
            reads = torch.where(batch.has("parallel")[..., None] > 0, Y, behind)
            head_tokens, Y = self.sweeps.heads_back(batch, index, heads, reads, behind)
            if has_edges:
                seen = head_group(batch, index, heads, reads, head_tokens)
                groups = [seen, neuron_group(batch, index, neurons), *groups]
            found = [(head_tokens + self.kind[4], layer.heads), (neuron_tokens + self.kind[5], layer.neurons), *found]
        labels = [*self._inputs(batch, X, Y, table), self._summary(batch, stream, Y), outputs]
        tokens, masks = zip(*labels, *found, strict=True)
        return Components(
            torch.cat(tokens, 1), torch.cat(masks, 1), (*label_groups(batch), *groups) if has_edges else ()
        )

    def _inputs(
        self,
        batch: WeightBatch,
        X: Float[Tensor, "batch d_model channels"],
        Y: Float[Tensor, "batch d_model out_channels"],
        table: Float[Tensor, "vocab d_llm"],
    ) -> list[tuple[Tensor, Tensor]]:
        """Tokens of the input vocabulary and of the positions: name, what reads them, and Gram entries under a norm."""
        has_norm = 1 - batch.no_norm[..., None]
        gram = torch.cat([X, batch.constant[..., None]], -1) * has_norm
        rows = (
            (batch.W_E, batch.token_ids, self.token_name, self.token_label, 0),
            (batch.W_pos, batch.position_ids, self.position_name, self.position_label, 1),
        )
        out = []
        for W, ids, name, label, kind in rows:
            seen = squash(paired(W, torch.cat([Y, gram], -1)))
            out.append((name(ids, table) + label(seen) + self.kind[kind], (ids != 0).any(-1)))
        return out

    def _outputs(
        self, batch: WeightBatch, stream: Stream, table: Float[Tensor, "vocab d_llm"]
    ) -> tuple[Tensor, Tensor]:
        """Tokens of the output vocabulary: name, what is written for them, bias."""
        no_norm = batch.no_norm
        bias = batch.b_U + torch.einsum("bd,bdo->bo", stream.constant * no_norm, batch.W_U)
        X = torch.cat([stream.X, (stream.constant * (1 - no_norm))[..., None]], -1)
        seen = squash(torch.cat([paired(batch.W_U.transpose(1, 2), X), bias[..., None]], -1))
        ids = batch.output_ids
        return self.output_name(ids, table) + self.output_label(seen) + self.kind[2], (ids != 0).any(-1)

    def _summary(
        self, batch: WeightBatch, stream: Stream, Y: Float[Tensor, "batch d_model out_channels"]
    ) -> tuple[Tensor, Tensor]:
        """One token for the target: kind, depth and what is read of its constant stream."""
        constant = squash(torch.einsum("bd,bdo->bo", batch.constant, Y)) * (1 - batch.no_norm)
        depth = batch.depth.to(Y.dtype)[:, None] / 4
        token = self.summary(torch.cat([constant, batch.kind, depth], -1)) + self.summary_extension(batch.extension)
        if bool(batch.normalised.any()):
            token = token + self.summary_states(final_gram(batch, stream))
        token = token[:, None] + self.kind[3]
        return token, torch.ones_like(token[..., 0], dtype=torch.bool)

    def forward(
        self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens (see `Pooled.pooled`).

        The tokens of a target with more than `max_edge_nodes` are pooled without being mixed first: cost stays linear.
        """
        small = self.small(batch)
        if bool(small.all()) or not bool(small.any()):
            return self._forward(batch, table)
        parts = [(chosen, self._forward(batch.rows(chosen), table)) for chosen in (small, ~small)]
        out = table.new_zeros(len(batch), max(part.shape[1] for _, part in parts), table.shape[1])
        for chosen, part in parts:
            out[chosen, : part.shape[1]] = part
        return out

    def _forward(
        self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens of targets that are all small, or all large."""
        found = self.components(batch, table)
        tokens, mask = gather_valid(found.tokens, found.mask)
        if self.edges is not None and found.groups:
            edges = self.edges(batch, found.groups, found.mask)
            scores = self.edge_scores(edges).chunk(len(self.mix), -1)
            for block, score in zip(self.mix, scores, strict=True):
                tokens = block(tokens, mask, edges, score)
        elif self.edges is None:
            for block in self.mix:
                tokens = block(tokens, mask)
        return self.pooled(tokens, mask, self._names(batch, found))

    def _names(self, batch: WeightBatch, found: Components) -> list[tuple[Tensor, Tensor]]:
        """Names of the labels in the order of their tokens, and which are there; the summary has none."""
        summary = batch.token_ids.new_zeros(len(batch), 1, batch.token_ids.shape[-1])
        ids = [batch.token_ids, batch.position_ids, summary, batch.output_ids]
        masks = found.mask[:, : sum(i.shape[1] for i in ids)].split([i.shape[1] for i in ids], 1)
        return list(zip(ids, masks, strict=True))


def label_groups(batch: WeightBatch) -> tuple[Group, Group]:
    """Labels of the input with the constant stream (which is a gauge where there is no norm), and of the output."""
    constant = (batch.constant * (1 - batch.no_norm))[:, None]
    writes, reads = torch.cat([batch.W_E, batch.W_pos, constant], 1), batch.W_U.transpose(1, 2)
    return Group(writes.shape[1], -1, writes=writes), Group(reads.shape[1], len(batch.layers), reads=reads)


def head_group(
    batch: WeightBatch,
    index: int,
    reading: Reading,
    covectors: Float[Tensor, "batch d_model out_channels"],
    tokens: Float[Tensor, "batch n d_token"],
) -> Group:
    """The heads of a layer."""
    layer = batch.layers[index]
    query = layer.b_Q + torch.einsum("bd,bhdk->bhk", reading.bias, layer.W_Q)
    return Group(
        layer.heads.shape[1], index, channels=reading.channels, covectors=covectors, query=query, tokens=tokens
    )


def neuron_group(batch: WeightBatch, index: int, reading: Reading) -> Group:
    """The neurons of a layer, at unit size of what they read; gated ones read what their activation is taken of."""
    layer = batch.layers[index]
    writes, reads = layer.W_out * reading.scale[..., None], (layer.W_in * reading.unit[:, None]).transpose(1, 2)
    if reading.gates is None:
        return Group(layer.neurons.shape[1], index, writes=writes, reads=reads)
    gated, gates = batch.has("gated")[..., None] > 0, (layer.W_gate * reading.gate_unit[:, None]).transpose(1, 2)
    return Group(
        *(layer.neurons.shape[1], index),
        writes=writes,
        reads=torch.where(gated, gates, reads),
        unsigned=gated[..., None],
    )
