"""Where a training stands, in one file that is replaced as a whole: a process may be killed at any moment.

checkpoint.safetensors holds trained weights and moments of the optimizer in float32; its metadata says after how many
steps and minutes, the history so far, and under which configuration. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracr_tasks.errors import InputError, OracleError
from zoo.files import read_header, shown, write_atomic

FILE = "checkpoint.safetensors"
STEP = "step"
"""What AdamW keeps on the CPU of the moments that optimizers remember of a parameter."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come."""

    step: int
    """Steps done."""
    minutes: float
    """Spent on them."""
    history: list[dict[str, float | int]]
    """Its evaluations."""


def save(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Progress,
    config: Mapping[str, Any],
) -> None:
    """Replace the checkpoint of a folder; `config` is what a later run must have too."""
    from safetensors.torch import save as to_bytes

    tensors = {f"weight:{name}": parameter for name, parameter in _trained(model).items()}
    for optimizer, parameter, name in _moved(model, optimizers):
        tensors |= {f"{moment}:{name}": tensor for moment, tensor in optimizer.state.get(parameter, {}).items()}
    told = {"step": progress.step, "minutes": progress.minutes, "history": progress.history, "config": dict(config)}
    plain = {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / FILE, [to_bytes(plain, {"progress": json.dumps(told)})])


def resume(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], config: Mapping[str, Any]
) -> Progress | None:
    """Put a folder's checkpoint into model and optimizers; None if it has none.

    Raises:
        InputError: it is of another configuration; names the first field that differs, with both values.
        OracleError: it is damaged, or of another model.
    """
    if not (folder / FILE).exists():
        return None
    from safetensors.torch import load_file

    path = folder / FILE
    header = read_header(path, OracleError)
    told, wished = _told(path, header.metadata.get("progress", "")), json.loads(json.dumps(dict(config)))
    for field in sorted(told["config"].keys() | wished.keys()):
        if (was := told["config"].get(field)) != (now := wished.get(field)):
            raise InputError(
                f"{shown(folder, 300)}: holds a training with {field} = {was!r}, expected {now!r} as now; "
                "give another --out, or the same options to go on"
            )
    wanted = _trained(model)
    for name, tensor in wanted.items():
        entry = header.tensors.get(f"weight:{name}")
        if entry is None or entry.shape != tuple(tensor.shape):
            got = "no such tensor" if entry is None else f"shape {entry.shape}"
            raise OracleError(f"{shown(path, 300)}: weight {name}: {got}, expected shape {tuple(tensor.shape)}")
    saved = load_file(path)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(saved[f"weight:{name}"])
    moments: dict[str, dict[str, Tensor]] = {}
    for key, tensor in saved.items():
        moment, _, name = key.partition(":")
        if moment != "weight":
            moments.setdefault(name, {})[moment] = tensor
    for optimizer, parameter, name in _moved(model, optimizers):
        if state := moments.get(name):
            optimizer.state[parameter] = {m: t if m == STEP else t.to(parameter.device) for m, t in state.items()}
    return Progress(told["step"], told["minutes"], told["history"])


def _told(path: Path, text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict) or set(told) != {"step", "minutes", "history", "config"}:
        raise OracleError(f"{shown(path, 300)}: says nothing of its progress; remove it to start anew")
    return told


def discard(folder: Path) -> None:
    """Remove the checkpoint of a training that is done."""
    (folder / FILE).unlink(missing_ok=True)


def _moved(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[torch.optim.Optimizer, nn.Parameter, str]]:
    """Each optimizer with the parameters that it moves, and their names."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield optimizer, parameter, names[parameter]


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that training changes: those of the encoder, and of the adapter."""
    return {
        name: tensor for name, tensor in model.state_dict().items() if name.startswith("encoder.") or "lora_" in name
    }
