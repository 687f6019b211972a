"""Reading other people's weights: every reader gives the same neutral target, one layer at a time.

open_source(folder) -> Source       chooses the reader by what is in the folder
    gpt2, gpt_neox, llama, qwen2, qwen3     a Hugging Face model: config.json and safetensors
    transformer_lens                        the state dict of a HookedTransformer, in safetensors, and its config
    tracr                                   Tracr's Haiku parameters with residual labels and encodings
    own                                     a target made here
to_hooked(target), from_hooked(model)       a transformer_lens.HookedTransformer in memory
export_tracr(model, folder)                 what tracr reads, from a model that Tracr assembled
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.readers.choose import open_source
    from zoo.readers.hooked import from_hooked, to_hooked
    from zoo.readers.source import Source
    from zoo.readers.tracr_export import export_tracr
    from zoo.readers.transformer_lens import from_transformer_lens

_HOME = {
    "Source": "source",
    "export_tracr": "tracr_export",
    "from_hooked": "hooked",
    "from_transformer_lens": "transformer_lens",
    "open_source": "choose",
    "to_hooked": "hooked",
}
__all__ = ["Source", "export_tracr", "from_hooked", "from_transformer_lens", "open_source", "to_hooked"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'zoo.readers' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.readers.{_HOME[name]}"), name)
    globals()[name] = value
    return value
