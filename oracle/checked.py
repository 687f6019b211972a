"""Files of an oracle's or a decoder's folder, which may come from anyone: checked before anything is built of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oracle.added import zeros_added
from oracle.config import MAX_NAMINGS, MAX_SEARCH
from tracr_tasks.errors import InputError, OracleError
from zoo.fields import from_fields
from zoo.files import read_header, read_tensor, shown
from zoo.target_files import MAX_LAYERS, MAX_SIZE

FACTS: dict[str, type] = {
    **dict.fromkeys(("base", "base_sha256", "template", "placeholder", "inject"), str),
    **dict.fromkeys(("ordered", "chat", "nested", "drafts", "tries", "reads_words"), bool),
    **dict.fromkeys(("d_llm", "search", "namings"), int),
    "encoder": dict,
    "families": list,
}
"""Kinds of the fields of oracle_config.json that are used at load."""
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand, torch.full)
"""What networks make their parameters with; sizes come first."""
SPARE = 10_000_000
"""Numbers that a network may have beside those in its file: buffers, and tensors that came later."""
NEEDED = ("base", "base_sha256", "d_llm", "encoder")
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


def checked_facts(value: Any, path: Path) -> dict[str, Any]:
    """What an oracle's configuration says, each field of its kind.

    Raises:
        OracleError: it is no object, or lacks what every oracle's has, or a field is of another kind.
    """
    where = shown(path, 300)
    if not isinstance(value, dict):
        raise OracleError(f"{where}: got {type(value).__name__}, expected an object of fields")
    if missing := [name for name in NEEDED if name not in value]:
        raise OracleError(f"{where}: no field {missing[0]}; expected what `weight-oracle train` writes")
    for name, kind in FACTS.items():
        if name in value and type(value[name]) is not kind:
            raise OracleError(f"{where}: {name} = {shown(repr(value[name]))}, expected {kind.__name__}")
    if not 1 <= value["d_llm"] <= MAX_SIZE:
        raise OracleError(f"{where}: d_llm = {shown(value['d_llm'])}, expected 1 to {MAX_SIZE}")
    for name, most in (("search", MAX_SEARCH), ("namings", MAX_NAMINGS)):
        if not 0 <= value.get(name, 0) <= most:
            raise OracleError(f"{where}: {name} = {shown(value[name])}, expected 0 to {most}")
    return value


def checked_sizes(cls: type[T], values: Any, where: str) -> T:
    """The sizes of a network out of parsed JSON, each within what memory holds.

    Raises:
        OracleError: an unknown field, one of another kind, or out of range.
    """
    try:
        config = from_fields(cls, values, where)
    except InputError as problem:
        raise OracleError(str(problem)) from None
    for field in fields(config):  # type: ignore[arg-type]
        value, most = getattr(config, field.name), MAX_LAYERS if field.name.endswith("layers") else MAX_SIZE
        if type(value) is int and not 0 <= value <= most:
            raise OracleError(f"{where}: {field.name} = {shown(value)}, expected 0 to {most}")
    return config


class _TooLarge(Exception):
    """More numbers than allowed."""


class Budget(TorchFunctionMode):
    """Inside it the tensors that are made have so many numbers at most, all together.

    Raises:
        _TooLarge: another one would have more; no memory was taken for it.
    """

    def __init__(self, numbers: int):
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FACTORIES:
            sizes = args[0] if args and isinstance(args[0], Sequence) else args
            self.left -= prod(size for size in sizes if isinstance(size, int))
            if self.left < 0:
                raise _TooLarge
        return func(*args, **(kwargs or {}))


def built(make: Callable[[], M], path: Path, where: str, prefix: str = "") -> M:
    """The network that `make` builds of sizes which somebody's configuration says, with the weights of a file.

    Raises:
        OracleError: there is no network of these sizes, or the weights in the file are not its.
    """
    numbers = sum(prod(entry.shape) for entry in read_header(path, OracleError).tensors.values())
    try:
        with Budget(2 * numbers + SPARE):
            module = make()
    except _TooLarge:
        raise OracleError(f"{where}: sizes of far more than the {numbers:,} numbers that {path.name} has") from None
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as problem:
        raise OracleError(f"{where}: expected sizes of a network that can be built ({shown(problem)})") from None
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict(read_weights(path, expected, prefix))
    return module


def read_weights(path: Path, expected: Mapping[str, tuple[int, ...]], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file as float32, and zeros for those that came later and that it lacks (`zeros_added`).

    Raises:
        OracleError: a tensor is missing, unexpected, of another shape or not finite.
    """
    where = shown(path, 300)
    entries = read_header(path, OracleError).tensors
    got = {name: entry.shape for name, entry in entries.items()}
    found = zeros_added(expected, got, prefix)
    for name in sorted((expected.keys() | got.keys()) - found.keys()):
        if expected.get(name) != got.get(name):
            shapes = f"shape {got.get(name, 'none')}, expected {expected.get(name, 'no such tensor')}"
            raise OracleError(f"{where}: tensor {shown(name)} has {shapes}")
    for name, entry in entries.items():
        array = read_tensor(path, entry)
        if not np.isfinite(array).all():
            raise OracleError(f"{where}: tensor {name} holds nan or inf, expected finite numbers")
        found[name] = torch.from_numpy(array)
    return found
