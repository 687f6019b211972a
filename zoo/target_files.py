"""Checks on the files of a target that come from outside: configuration, tensors and their shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.files import HOW_TO_CONVERT, read_header, read_tensor, shown
from zoo.padding import LayerSizes, ragged_shapes

CONFIG_FILE, WEIGHTS_FILE, VOCAB_FILE = "config.json", "model.safetensors", "vocab.json"
MAX_PARAMETERS = 200_000_000
"""Largest target that is read at once."""
MAX_LAYERS = 1_000
MAX_SIZE = 1_000_000
"""Largest width, number of heads, positions or tokens."""
PICKLE_NAMES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def read_weights(directory: Path) -> dict[str, np.ndarray]:
    """The tensors of model.safetensors as finite float32 arrays.

    Raises:
        TargetError: no such file, a pickle instead, damaged, too many parameters, NaN or Inf.
    """
    path = directory / WEIGHTS_FILE
    if not path.exists():
        for pattern in PICKLE_NAMES:
            for pickle in sorted(directory.glob(pattern)):
                raise TargetError(
                    f"{shown(pickle, 300)}: a pickle is refused unread, expected {WEIGHTS_FILE}; {HOW_TO_CONVERT}"
                )
    header = read_header(path, TargetError)
    total = sum(math.prod(entry.shape) for entry in header.tensors.values())
    if total > MAX_PARAMETERS:
        raise TargetError(f"{shown(path, 300)}: {total} parameters, expected at most {MAX_PARAMETERS}")
    out = {}
    for name, entry in header.tensors.items():
        out[name] = read_tensor(path, entry)
        if not np.isfinite(out[name]).all():
            where = np.argwhere(~np.isfinite(out[name]))[0].tolist()
            value = out[name][tuple(where)]
            raise TargetError(f"{shown(path, 300)}: tensor '{name}' holds {value} at {where}, expected finite numbers")
    return out


def config_from_json(value: Any, path: Path) -> TargetConfig:
    """A configuration out of parsed JSON.

    Raises:
        TargetError: an unknown, missing or ill-typed field, or a size out of range.
    """
    where = shown(path, 300)
    if not isinstance(value, dict):
        raise TargetError(f"{where}: got {type(value).__name__}, expected an object of fields")
    known = {field.name for field in fields(TargetConfig)}
    if unknown := sorted(set(value) - known):
        raise TargetError(f"{where}: unknown field '{shown(unknown[0])}', expected {', '.join(sorted(known))}")
    sizes = ("d_model", "n_layers", "n_heads", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out")
    if missing := [name for name in sizes if name not in value]:
        raise TargetError(f"{where}: field '{missing[0]}' is missing")
    for name in sizes:
        low = 0 if name in ("n_layers", "n_heads", "d_head", "d_mlp") else 1
        high = MAX_LAYERS if name == "n_layers" else MAX_SIZE
        if type(value[name]) is not int or not low <= value[name] <= high:
            raise TargetError(f"{where}: {name} = {shown(repr(value[name]))}, expected an integer from {low} to {high}")
    _check_kinds(value, where)
    return TargetConfig(**value)


def _check_kinds(value: dict[str, Any], where: str) -> None:
    """The fields that are not sizes."""
    for name, hint in get_type_hints(TargetConfig).items():
        options: list[Any] = []
        for part in get_args(hint) if get_origin(hint) is not Literal else (hint,):
            options += get_args(part) if get_origin(part) is Literal else [None] if part is type(None) else []
        is_choice = any(isinstance(option, str) for option in options)
        if name in value and is_choice and (isinstance(value[name], (list, dict)) or value[name] not in options):
            expected = ", ".join("null" if option is None else str(option) for option in options)
            raise TargetError(f"{where}: {name} = {shown(repr(value[name]))}, expected one of {expected}")
    eps = value.get("eps", 1e-5)
    if type(eps) not in (int, float) or not 0 <= eps <= 1:
        raise TargetError(f"{where}: eps = {shown(repr(eps))}, expected a number from 0 to 1")
    pad = value.get("pad_token")
    if pad is not None and (type(pad) is not int or not 0 <= pad < value["d_vocab"]):
        raise TargetError(
            f"{where}: pad_token = {shown(repr(pad))}, expected null or a token id below {value['d_vocab']}"
        )


def check_weights(config: TargetConfig, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Every tensor that the configuration asks for is there with its shape, and no other.

    The heads, head width and neurons of a layer are those of its W_Q and W_in; the configuration holds the largest.

    Raises:
        TargetError: the first tensor that is missing, unexpected or of another shape.
    """
    where = shown(path, 300)
    expected = shapes(config)
    if missing := [name for name in expected if name not in arrays]:
        raise TargetError(
            f"{where}: tensor '{missing[0]}' is missing, expected with shape {list(expected[missing[0]])}"
        )
    if extra := sorted(set(arrays) - set(expected)):
        raise TargetError(f"{where}: tensor '{shown(extra[0])}' is unexpected for {config.n_layers} layers")
    sizes = [_layer_sizes(config, arrays, layer, where) for layer in range(config.n_layers)]
    for name, shape in ragged_shapes(config, sizes).items():
        if arrays[name].shape != shape:
            raise TargetError(f"{where}: tensor '{name}' has shape {list(arrays[name].shape)}, expected {list(shape)}")
    for i, field in enumerate(("n_heads", "d_head", "d_mlp")):
        expected = getattr(config, field)
        if sizes and (largest := max(size[i] for size in sizes)) != expected:
            raise TargetError(f"{where}: the largest {field} of a layer is {largest}, expected {expected}")


def _layer_sizes(config: TargetConfig, arrays: Mapping[str, np.ndarray], layer: int, where: str) -> LayerSizes:
    """Heads, head width and neurons of a layer, from its W_Q and W_in."""
    for name, rank in (("attn.W_Q", 3), ("mlp.W_in", 2)):
        if (got := arrays[f"blocks.{layer}.{name}"]).ndim != rank:
            raise TargetError(f"{where}: tensor 'blocks.{layer}.{name}' has {got.ndim} dimensions, expected {rank}")
    heads, _, d_head = arrays[f"blocks.{layer}.attn.W_Q"].shape
    sizes = {"n_heads": heads, "d_head": d_head, "d_mlp": arrays[f"blocks.{layer}.mlp.W_in"].shape[1]}
    for field, size in sizes.items():
        if size > getattr(config, field):
            name = "mlp.W_in" if field == "d_mlp" else "attn.W_Q"
            raise TargetError(
                f"{where}: tensor 'blocks.{layer}.{name}' has {field} {size}, expected at most {getattr(config, field)}"
            )
    return heads, d_head, sizes["d_mlp"]
