"""The encoder over routes: weights of small targets to weight tokens, by everything that one part does to another.

    weights -> routes (routes.py) -> label, head and neuron tokens (route_net.py) -> weight tokens

Residual channels (encoder.py) read targets of any size through a fixed number of learned mixtures. What is small enough
is read here without them: nothing is mixed before it is looked at, so that no part of a target hides another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.attention import Pooled
from oracle.batch import WeightBatch
from oracle.config import EncoderConfig
from oracle.route_net import RouteNet
from oracle.routes import KINDS, MAX_NODES, Routes, is_plain, routes_of
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
        if not bool((plain := is_plain(batch)).all()):
            raise InputError(
                f"target {int((~plain).long().argmax()) + 1}: its routes are not read, expected at most {MAX_NODES} labels, "
                "heads and neurons, learned positions, and no gated neurons or normalised queries, keys or states"
            )
        return self.encode(routes_of(batch), table)

    def encode(
        self, routes: Routes, table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens of targets whose routes are known."""
        with torch.autocast(table.device.type, enabled=False):
            tokens = self.net(routes, table)
        names = torch.cat([routes.kind[..., None], routes.name], -1)
        is_label = (routes.kind >= 0) & (routes.kind < KINDS.index("head"))
        return self.pooled(tokens, routes.kind >= 0, [(names, is_label)])
