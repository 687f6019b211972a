"""A family of Hugging Face models: how its config.json reads, and how its tensors are laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.readers.fields import Fields
from zoo.readers.source import Layout

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "silu": "silu",
    "swish": "silu",
}
"""Transformers' names of activations and ours; it has several for one function."""
LANGUAGE_MODEL: dict[str, Any] = {
    "attention_dir": "causal",
    "default_prepend_bos": False,
    "unembed_bias": False,
}
"""What all families here have in common, as fields of `TargetConfig`."""


@dataclass(frozen=True)
class Family:
    """One value of model_type."""

    config: Callable[[Fields], dict[str, Any]]
    """The fields of a `TargetConfig` out of those of config.json.

    Raises:
        TargetError: a field is missing, out of range, or asks for something that is not supported.
    """
    layout: Layout
    """Where its tensors are."""
    buffers: str
    """A regular expression for stored names that hold no weights."""
