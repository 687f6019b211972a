"""Checks on the files of a target that come from outside: configuration, tensors and their shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
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
BOUNDS: dict[str, tuple[float, float]] = {
    "n_layers": (0, MAX_LAYERS),
    **dict.fromkeys(("n_heads", "d_head", "d_mlp", "pad_token"), (0, MAX_SIZE)),
    **dict.fromkeys(("d_model", "n_ctx", "d_vocab", "d_vocab_out", "n_key_value_heads"), (1, MAX_SIZE)),
    "eps": (0, 1),
    "rotary_dim": (2, MAX_SIZE),
    "rotary_base": (1, 1e12),
    "NTK_original_ctx_len": (1, MAX_SIZE),
    **dict.fromkeys(("rotary_scaling_factor", "NTK_by_parts_factor", "attn_scale"), (1e-6, 1e6)),
    **dict.fromkeys(("NTK_by_parts_low_freq_factor", "NTK_by_parts_high_freq_factor"), (1e-6, 1e6)),
}
"""Least and largest value of each number in a configuration."""
PICKLE_NAMES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def read_weights(directory: Path) -> dict[str, np.ndarray]:
    """The tensors of model.safetensors as finite float32 arrays.

    Raises:
        TargetError: no such file, a pickle instead, damaged, too many parameters, NaN or Inf.
    """
    path = directory / WEIGHTS_FILE
    if not path.exists():
        refuse_pickles(directory, WEIGHTS_FILE)
    header = read_header(path, TargetError)
    check_total((entry.shape for entry in header.tensors.values()), path)
    return {name: finite(read_tensor(path, entry), name, path) for name, entry in header.tensors.items()}


def refuse_pickles(directory: Path, expected: str) -> None:
    """To be called where a folder has no weights that can be read.

    Raises:
        TargetError: it has a pickle in their place; the message says how to convert it.
    """
    for pattern in PICKLE_NAMES:
        for pickle in sorted(directory.glob(pattern)):
            raise TargetError(
                f"{shown(pickle, 300)}: a pickle is refused unread, expected {expected}; {HOW_TO_CONVERT}"
            )


def check_total(shapes: Iterable[Sequence[int]], path: Path) -> None:
    """Together the tensors are not larger than what is read at once.

    Raises:
        TargetError: they have more than `MAX_PARAMETERS` numbers.
    """
    if (total := sum(math.prod(shape) for shape in shapes)) > MAX_PARAMETERS:
        raise TargetError(f"{shown(path, 300)}: {total} parameters, expected at most {MAX_PARAMETERS}")


def finite(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The tensor called `name` itself.

    Raises:
        TargetError: it holds NaN or Inf.
    """
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        value = array[tuple(where)]
        raise TargetError(f"{shown(path, 300)}: tensor '{name}' holds {value} at {where}, expected finite numbers")
    return array


def config_from_json(value: Any, path: Path) -> TargetConfig:
    """A configuration out of parsed JSON.

    Raises:
        TargetError: an unknown, missing or ill-typed field, a size out of range, or fields that do not fit each other.
    """
    where = shown(path, 300)
    if not isinstance(value, dict):
        raise TargetError(f"{where}: got {type(value).__name__}, expected an object of fields")
    known = {field.name: field for field in fields(TargetConfig)}
    if unknown := sorted(set(value) - set(known)):
        raise TargetError(f"{where}: unknown field '{shown(unknown[0])}', expected {', '.join(sorted(known))}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in value]:
        raise TargetError(f"{where}: field '{missing[0]}' is missing")
    hints = config_hints()
    config = TargetConfig(**{n: _checked(n, hints[n], value[n], where) for n in known if n in value})
    for name, expected in _misfits(config):
        raise refused(where, name, getattr(config, name), expected)
    return config


@cache
def config_hints() -> dict[str, Any]:
    """Types of the fields of a configuration. A zoo has one configuration for each shape, ten thousand of compiled
    targets."""
    return get_type_hints(TargetConfig)


def refused(where: str, name: str, value: Any, expected: str) -> TargetError:
    """The error of a field whose value cannot be used."""
    return TargetError(f"{where}: {name} = {shown(repr(value))}, expected {expected}")


def _checked(name: str, hint: Any, value: Any, where: str) -> Any:
    """One field's value, of the type that its annotation says and within its bounds."""
    is_literal = get_origin(hint) is Literal
    parts = (hint,) if is_literal or isinstance(hint, type) else get_args(hint)
    options = [option for part in parts if get_origin(part) is Literal for option in get_args(part)]
    null = type(None) in parts
    if value is None and null:
        return None
    if options:
        if not isinstance(value, str) or value not in options:
            raise refused(where, name, value, f"one of {', '.join([*options, *(['null'] if null else [])])}")
        return value
    if bool in parts:
        if type(value) is not bool:
            raise refused(where, name, value, "true or false")
        return value
    low, high = BOUNDS[name]
    if type(value) not in ((int,) if int in parts else (int, float)) or not low <= value <= high:
        kind = ("null or " if null else "") + ("an integer" if int in parts else "a number")
        raise refused(where, name, value, f"{kind} from {low} to {high}")
    return value if int in parts else float(value)


def _misfits(c: TargetConfig) -> Iterable[tuple[str, str]]:
    """(field, what was expected) for each field of a configuration that does not fit the others."""
    if c.pad_token is not None and c.pad_token >= c.d_vocab:
        yield "pad_token", f"null or a token id below {c.d_vocab}"
    if c.n_key_value_heads is not None and c.n_heads % c.n_key_value_heads:
        yield "n_key_value_heads", f"a divisor of n_heads, which is {c.n_heads}"
    if c.positional_embedding_type != "rotary" and c.rotary_dim is not None:
        yield "rotary_dim", f"null where positional_embedding_type is {c.positional_embedding_type}"
    if c.positional_embedding_type == "rotary" and c.rotary_dim is None and c.d_head % 2:
        yield "d_head", "an even number where all of it is turned by position"
    if c.rotary_dim is not None and (c.rotary_dim % 2 or c.rotary_dim > c.d_head):
        yield "rotary_dim", f"an even number up to d_head, which is {c.d_head}"
    if c.use_NTK_by_parts_rope and c.rotary_scaling_factor != 1:
        yield "rotary_scaling_factor", "1 where use_NTK_by_parts_rope is true"
    if c.NTK_by_parts_high_freq_factor <= c.NTK_by_parts_low_freq_factor:
        low = c.NTK_by_parts_low_freq_factor
        yield "NTK_by_parts_high_freq_factor", f"more than NTK_by_parts_low_freq_factor, which is {low}"
    if c.tie_word_embeddings and c.d_vocab_out != c.d_vocab:
        yield "d_vocab_out", f"d_vocab, which is {c.d_vocab}, where tie_word_embeddings is true"


def check_weights(config: TargetConfig, sizes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Every tensor that the configuration asks for is there with its shape, and no other.

    The heads, head width and neurons of a layer are those of its W_Q and W_in; the configuration holds the largest. The
    layers of other people's models (`TargetConfig.extensions`) are all alike.

    Raises:
        TargetError: the first tensor that is missing, unexpected or of another shape.
    """
    where = shown(path, 300)
    expected = shapes(config)
    if missing := [name for name in expected if name not in sizes]:
        raise TargetError(
            f"{where}: tensor '{missing[0]}' is missing, expected with shape {list(expected[missing[0]])}"
        )
    if extra := sorted(set(sizes) - set(expected)):
        raise TargetError(f"{where}: tensor '{shown(extra[0])}' is unexpected for {config.n_layers} layers")
    layers: list[LayerSizes] = []
    if not config.extensions():
        layers = [_layer_sizes(config, sizes, layer, where) for layer in range(config.n_layers)]
        expected = ragged_shapes(config, layers)
    for name, shape in expected.items():
        if sizes[name] != shape:
            raise TargetError(f"{where}: tensor '{name}' has shape {list(sizes[name])}, expected {list(shape)}")
    for i, field in enumerate(("n_heads", "d_head", "d_mlp")):
        wanted = getattr(config, field)
        if layers and (largest := max(layer[i] for layer in layers)) != wanted:
            raise TargetError(f"{where}: the largest {field} of a layer is {largest}, expected {wanted}")


def _layer_sizes(config: TargetConfig, sizes: Mapping[str, tuple[int, ...]], layer: int, where: str) -> LayerSizes:
    """Heads, head width and neurons of a layer, from its W_Q and W_in."""
    for name, rank in (("attn.W_Q", 3), ("mlp.W_in", 2)):
        if (got := len(sizes[f"blocks.{layer}.{name}"])) != rank:
            raise TargetError(f"{where}: tensor 'blocks.{layer}.{name}' has {got} dimensions, expected {rank}")
    n_heads, _, d_head = sizes[f"blocks.{layer}.attn.W_Q"]
    found = {"n_heads": n_heads, "d_head": d_head, "d_mlp": sizes[f"blocks.{layer}.mlp.W_in"][1]}
    for field, size in found.items():
        if size > getattr(config, field):
            name = "mlp.W_in" if field == "d_mlp" else "attn.W_Q"
            raise TargetError(
                f"{where}: tensor 'blocks.{layer}.{name}' has {field} {size}, expected at most {getattr(config, field)}"
            )
    return n_heads, d_head, found["d_mlp"]
