"""The encoder over routes: weights of small targets to weight tokens, by everything that one part does to another.

    weights -> routes (routes.py) -> label, head and neuron tokens (route_net.py) -> weight tokens

Residual channels (encoder.py) read targets of any size through a fixed number of learned mixtures. What is small enough
is read here without them: nothing is mixed before it is looked at, so that no part of a target hides another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oracle.attention import Pooled, gather_valid
from oracle.batch import WeightBatch
from oracle.config import EncoderConfig
from oracle.order import rounded
from oracle.route_net import RouteNet
from oracle.routes import KINDS, NOT_READ, Routes, stacked
from tracr_tasks.errors import InputError


class RouteEncoder(Pooled):
    """Weights to weight tokens, blind to every gauge of symmetries.md, equivariant to relabelling."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float = 1.0):
        """Args: the configuration (d_token, d_edge, edge_probes, the layers and the pooling); the reader's hidden size;
        the mean norm of its embedding rows."""
        super().__init__(config, d_llm, embedding_norm)
        self.net = RouteNet(config, d_llm)

    def forward(
        self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens (see `Pooled.pooled`).

        Raises:
            InputError: a target with extensions, or of more than `MAX_NODES` labels, heads and neurons.
        """
        if None in (routes := [target.routes for target in batch.targets]):
            raise InputError(f"target {routes.index(None) + 1}: {NOT_READ}")
        found = stacked([rounded(each) for each in routes if each is not None]).to(table.device)
        return self.encode(found, names_of(batch), table)

    def encode(
        self, routes: Routes, names: Int[Tensor, "batch node name"], table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens of targets whose routes are known; `names` are token ids of the labels' names."""
        names = torch.nn.functional.pad(names, (0, 0, 0, routes.kind.shape[1] - names.shape[1]))
        with torch.autocast(table.device.type, enabled=False):
            tokens = self.net(routes, names, table)
        by_kind = torch.cat([routes.kind[..., None], names], -1)
        is_label = (routes.kind >= 0) & (routes.kind < KINDS.index("head"))
        return self.pooled(tokens, routes.kind >= 0, [(by_kind, is_label)])


def names_of(batch: WeightBatch) -> Int[Tensor, "batch label name"]:
    """Token ids of the names of the labels of each target, in the order of its nodes; the target itself has none."""
    kinds = (batch.token_ids, batch.position_ids, batch.token_ids[:, :1] * 0, batch.output_ids)
    names = torch.cat(kinds, 1)
    there = [*((ids != 0).any(-1) for ids in kinds)]
    there[2] = torch.ones_like(there[2])
    return gather_valid(names, torch.cat(there, 1))[0]
