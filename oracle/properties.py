"""Properties of a target read from its weights: how accurate it is, how many questions it asks, where it comes from.

weights -> encoder -> weight tokens -> mean -> one small net a property
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from oracle.attention import present
from oracle.batch import WeightBatch
from zoo.parts import REGIMES
from zoo.rows import ZooRow


@dataclass(frozen=True)
class Properties:
    """What is known of some targets."""

    accuracy: Float[Tensor, " target"]
    """Share of inputs on which a target gives its program's answer; NaN where it has none."""
    conditions: Int[Tensor, " target"]
    """Questions of its flowchart; -1 where it has none."""
    regime: Int[Tensor, " target"]
    """Place in `zoo.parts.REGIMES`."""


def properties_of(rows: list[ZooRow]) -> Properties:
    """The properties of targets by their rows in a zoo's index."""
    accuracy = [row.labels.get("accuracy", float("nan")) for row in rows]
    conditions = [row.text.count("if ") if row.kind == "flowchart" else -1 for row in rows]
    regime = [REGIMES.index(row.regime) for row in rows]
    return Properties(torch.tensor(accuracy), torch.tensor(conditions), torch.tensor(regime))


@dataclass(frozen=True)
class Predicted:
    """What is read from some targets' weights."""

    accuracy: Float[Tensor, " target"]
    """From 0 to 1."""
    conditions: Float[Tensor, "target number"]
    """Logits over 0, 1, 2 ... questions."""
    regime: Float[Tensor, "target regime"]
    """Logits over `REGIMES`."""


class PropertyReader(nn.Module):
    """An encoder and a net that reads properties off the mean of its weight tokens. Trained together from nothing."""

    def __init__(self, encoder: nn.Module, d_llm: int, max_conditions: int = 8):
        """Args: an encoder with `forward(batch, table) -> [batch, n_tokens, d_llm]`; the most questions of a target."""
        super().__init__()
        self.encoder, self.n_numbers = encoder, max_conditions + 1
        n_out = 1 + self.n_numbers + len(REGIMES)
        self.net = nn.Sequential(nn.LayerNorm(d_llm), nn.Linear(d_llm, d_llm), nn.GELU(), nn.Linear(d_llm, n_out))

    def forward(self, batch: WeightBatch, table: Float[Tensor, "vocab d_llm"]) -> Predicted:
        """Properties of a batch; `table` is what the encoder makes the codes of names from."""
        tokens = self.encoder(batch, table)
        out = self.net(tokens.sum(1) / present(tokens).sum(1, keepdim=True))
        accuracy, conditions, regime = out.split([1, self.n_numbers, len(REGIMES)], 1)
        return Predicted(accuracy[:, 0].sigmoid(), conditions, regime)


def property_loss(predicted: Predicted, known: Properties) -> Float[Tensor, ""]:
    """Squared error of the accuracy (times ten, to weigh as much) and cross-entropies, each over what is known."""
    total = functional.cross_entropy(predicted.regime, known.regime)
    if bool((has := known.accuracy.isfinite()).any()):
        total = total + 10 * (predicted.accuracy[has] - known.accuracy[has]).square().mean()
    if bool((has := known.conditions >= 0).any()):
        total = total + functional.cross_entropy(predicted.conditions[has], known.conditions[has])
    return total
