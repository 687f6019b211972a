"""Weight tokens added to the residual stream after the first layer, in place of embeddings (`--inject layer1`).

As activation oracles do (2025): h' = h + |h| v / |v| at the placeholders, so that the size of a token says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tracr_tasks.errors import InputError


def first_layer(model: nn.Module) -> nn.Module:
    """The first decoder layer of a causal LM of transformers.

    Raises:
        InputError: there is no list of as many modules as the model has layers.
    """
    n_layers = model.config.num_hidden_layers  # type: ignore[union-attr]
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module[0]
    raise InputError(f"--inject layer1: no list of {n_layers} layers in a {type(model).__name__}; use --inject embed")


@contextmanager
def added_after(layer: nn.Module, vectors: Float[Tensor, "seq pos d_llm"]) -> Iterator[None]:
    """Within, the outputs of a layer have the vectors' directions added at their own norm; zeros add nothing."""
    direction = functional.normalize(vectors, dim=-1)

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        moved = states + states.norm(dim=-1, keepdim=True) * direction.to(states.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def refuse_checkpointing(checkpointed: bool) -> None:
    """Layers that are computed again in the backward pass would do so without the hook.

    Raises:
        InputError: under gradient checkpointing.
    """
    if checkpointed and torch.is_grad_enabled():
        raise InputError("--inject layer1 under gradient checkpointing: expected one of the two; use --inject embed")
