"""An oracle's adapter, read without trust: plain LoRA of a few fields, its tensors those of the base.

What PEFT would read of adapter_config.json can name modules to import, other kinds of adapters, and patterns whose
search never ends. So only the fields that a plain LoRA needs are read here; every other one must say nothing.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from oracle.checked import read_weights
from tracr_tasks.errors import OracleError
from zoo.files import read_json, shown

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
MAX_CONFIG_BYTES = 1 << 20
MAX_RANK, MAX_MODULES = 4_096, 1_000
NOTES = ("base_model_name_or_path", "inference_mode", "megatron_core", "peft_version", "qalora_group_size", "revision")
"""Fields that are not used: who made the adapter, and of what; where a library lies, for a kind that is refused."""


def load_adapter(model: nn.Module, folder: Path, trainable: bool) -> PeftModel:
    """A base with the adapter of a folder on it, open to gradients if it is `trainable`.

    Raises:
        OracleError: it is no plain LoRA, or not one of this base: another rank, another width, a tensor more or less.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = adapter_config(folder / CONFIG_FILE, trainable)
    check_modules(model, config, folder / CONFIG_FILE)
    base, config.base_model_name_or_path = config.base_model_name_or_path, None
    adapted: PeftModel = get_peft_model(model, config)
    config.base_model_name_or_path = base  # as it was, where it is saved again
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in get_peft_model_state_dict(adapted, save_embedding_layers=False).items()
    }
    set_peft_model_state_dict(adapted, read_weights(folder / WEIGHTS_FILE, expected))
    return adapted if trainable else adapted.eval()


def adapter_config(path: Path, trainable: bool) -> LoraConfig:
    """The configuration in a file.

    Raises:
        OracleError: a field is missing, out of range, or asks for more than plain LoRA.
    """
    from peft import LoraConfig

    told, where = read_json(path, MAX_CONFIG_BYTES, OracleError), shown(path, 300)
    if not isinstance(told, dict):
        raise OracleError(f"{where}: got {type(told).__name__}, expected an object of fields")
    base = told.get("base_model_name_or_path")
    used = {name: _used(name, told.pop(name, None), where) for name in ("peft_type", *USED)}
    usual = {field.name: field.default for field in fields(LoraConfig) if field.default is not MISSING}
    for name, value in told.items():
        if name not in NOTES and value not in (None, False, {}, []) and value != usual.get(name):
            raise OracleError(
                f"{where}: {shown(name)} = {shown(repr(value))}, expected nothing: only plain LoRA is read"
            )
    named = base if isinstance(base, str) else None
    return LoraConfig(
        **{name: used[name] for name in USED}, inference_mode=not trainable, base_model_name_or_path=named
    )


USED: dict[str, str] = {
    "r": f"an integer from 1 to {MAX_RANK}",
    "lora_alpha": "a number from 0 to 1000000",
    "target_modules": f"a list of up to {MAX_MODULES} names of modules",
    "fan_in_fan_out": "true or false",
    "task_type": "CAUSAL_LM",
}
"""Fields that are read, and what each must be."""


def _used(name: str, value: Any, where: str) -> Any:
    """The value of a field that is read."""
    is_right = {
        "peft_type": value == "LORA",
        "r": type(value) is int and 1 <= value <= MAX_RANK,
        "lora_alpha": type(value) in (int, float) and 0 <= value <= 1e6,
        "target_modules": isinstance(value, list) and 0 < len(value) <= MAX_MODULES and all(map(_is_name, value)),
        "fan_in_fan_out": type(value) is bool,
        "task_type": value == "CAUSAL_LM",
    }
    if not is_right[name]:
        raise OracleError(f"{where}: {name} = {shown(repr(value))}, expected {USED.get(name, 'LORA')}")
    return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\w[\w.]{0,255}", value, re.ASCII) is not None


def check_modules(model: nn.Module, config: LoraConfig, path: Path) -> None:
    """Every module that an adapter names is a linear layer of the base.

    Raises:
        OracleError: there is none of a name.
    """
    from transformers.pytorch_utils import Conv1D

    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    for wanted in sorted(config.target_modules):
        if not any(name == wanted or name.endswith(f".{wanted}") for name in linear):
            raise OracleError(
                f"{shown(path, 300)}: target_modules has {shown(wanted)}, expected linear layers of the base"
            )
