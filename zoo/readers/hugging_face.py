"""A local Hugging Face model: config.json and safetensors. Nothing of the folder is executed, no pickle is opened."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tracr_tasks.errors import TargetError
from zoo.files import shown
from zoo.readers import gpt2, gpt_neox, llama, qwen2, qwen3
from zoo.readers.checkpoint import SafetensorsCheckpoint
from zoo.readers.fields import Fields
from zoo.readers.names import token_names
from zoo.readers.source import Source
from zoo.target_files import config_from_json

FAMILIES = {
    "gpt2": gpt2.FAMILY,
    "gpt_neox": gpt_neox.FAMILY,
    "llama": llama.FAMILY,
    "qwen2": qwen2.FAMILY,
    "qwen3": qwen3.FAMILY,
}
"""Families by their model_type."""


def from_hugging_face(folder: Path, fields: Fields) -> Source:
    """The source in a folder whose config.json has the fields given.

    Raises:
        TargetError: custom code, quantised weights, an unknown model_type, or what the family does not support.
    """
    if "auto_map" in fields.values:
        raise TargetError(
            f"{fields.where}: auto_map names custom code, which is never run; expected a config without it"
        )
    fields.expect("quantization_config")
    fields.expect("is_encoder_decoder", False)
    fields.expect("pruned_heads", {})
    kind = fields.values["model_type"]
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise TargetError(f"{fields.where}: model_type = {shown(repr(kind))}, expected one of {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    config = config_from_json(family.config(fields), fields.path)
    checkpoint = SafetensorsCheckpoint(folder, family.buffers)
    return Source(config, checkpoint, family.layout, partial(token_names, folder, config.d_vocab, config.d_vocab_out))
