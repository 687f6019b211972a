"""Tensors of the encoders that came after the first ones were saved: a file that lacks them says that they are zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ADDED = frozenset(
    {
        *("summary_extension.weight", "edges.turned.weight"),
        *(f"sweeps.{net}.extension.weight" for net in ("head_forward", "head_backward")),
        *(f"sweeps.{net}.extension.weight" for net in ("neuron_forward", "neuron_backward")),
        *(f"sweeps.head_extension.{name}.weight" for name in ("turned", "key_bias", "mean_squares")),
        *(f"sweeps.gate_{name}.weight" for name in ("forward", "backward", "read")),
        *("summary_states.weight", "sweeps.head_gram.weight", "sweeps.neuron_gram.weight"),
        *(f"sweeps.{of}_{way}.normalised.weight" for of in ("head", "neuron") for way in ("forward", "backward")),
    }
)
"""Names in the main encoder: of other people's models, and of normalised residual states."""
RIVALS = frozenset(f"{net}.normalised.weight" for net in ("head", "neuron", "biases"))
"""Names in its rivals (rivals.py) of what came with normalised states."""


def zeros_added(
    expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], prefix: str = ""
) -> dict[str, Tensor]:
    """Zeros for the tensors above (names after `prefix`) that are expected and that a file has not got; by name."""
    known = {prefix + name for name in ADDED | RIVALS}
    return {name: torch.zeros(expected[name]) for name in sorted(known & expected.keys() - got.keys())}
