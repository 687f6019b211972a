"""How sound folders are spoilt: bytes, headers, arrays, fields, links, and what is no file at all."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tests.bad_inputs.cases import Spoil, hostile_pickle
from tests.bad_inputs.good import OWN
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.files import read_header, read_tensor, safetensors_bytes

WEIGHTS = "model.safetensors"
WTE, HEAD = "transformer.wte.weight", "lm_head.weight"
X = "x.safetensors"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
ENDLESS += "{% endfor %}"
"""A chat template that takes centuries."""


def put(content: bytes, name: str = WEIGHTS) -> Spoil:
    """Write a file."""
    return lambda folder: (folder / name).write_bytes(content)


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    header = read_header(folder / WEIGHTS)
    return {name: read_tensor(folder / WEIGHTS, entry).copy() for name, entry in header.tensors.items()}


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    """Change the arrays of the weights."""

    def apply(folder: Path) -> None:
        arrays = arrays_of(folder)
        change(arrays)
        put(b"".join(safetensors_bytes(arrays, {})))(folder)

    return apply


def config(**changes: Any) -> Spoil:
    """Change fields of config.json."""

    def apply(folder: Path) -> None:
        value = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(value))

    return apply


def header(fields: Any, data: bytes = b"", length: int | None = None) -> Spoil:
    """Weights with a header of one's own."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return put(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def one(dtype: str, size: int, shape: Any = (2,)) -> Spoil:
    """Weights of a single tensor of some dtype."""
    return header({"embed.W_E": entry(dtype, shape, (0, size))}, bytes(size))


def stored(name: str, dtype: str, value: float) -> Spoil:
    """One tensor stored in another dtype, with one number of it changed."""

    def apply(folder: Path) -> None:
        fields: dict[str, Any] = {}
        data = b""
        for key, array in arrays_of(folder).items():
            is_it = key == name
            kept = array.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype if is_it else "F32"])
            if is_it:
                kept[(1,) * kept.ndim] = value
            fields[key] = entry(dtype if is_it else "F32", kept.shape, (len(data), len(data) + kept.nbytes))
            data += kept.tobytes()
        header(fields, data)(folder)

    return apply


def without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def then(*spoils: Spoil) -> Spoil:
    return lambda folder: [spoil(folder) for spoil in spoils]


def fifo(name: str) -> Spoil:
    return then(without(name), lambda folder: os.mkfifo(folder / name))


def device(folder: Path) -> None:
    """A device that gives zeros for ever; a link to it where only root may make one."""
    path = folder / WEIGHTS
    path.unlink()
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def unix_socket(folder: Path) -> None:
    """A socket; bound under a short name, as names of sockets must be."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{short}/s")
        (folder / WEIGHTS).unlink()
        Path(short, "s").rename(folder / WEIGHTS)


def as_pickle(name: str) -> Spoil:
    return lambda folder: (without(WEIGHTS)(folder), put(hostile_pickle(folder), name)(folder))


def torch_file(folder: Path) -> bytes:
    """What torch.save writes: a zip with a pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", hostile_pickle(folder))
    return file.getvalue()


def sharded(**places: str) -> Spoil:
    """The weights in shard.safetensors with an index, some of whose entries are changed."""

    def apply(folder: Path) -> None:
        names = dict.fromkeys(read_header(folder / WEIGHTS).tensors, "shard.safetensors")
        (folder / WEIGHTS).rename(folder / "shard.safetensors")
        found = names | {name.replace("__", "."): file for name, file in places.items()}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": found}))

    return apply


def link_out(name: str) -> Spoil:
    """Move a file out of the folder, and leave a link to it."""

    def apply(folder: Path) -> None:
        outside = folder.parent / "outside"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def large(d_model: int) -> tuple[TargetConfig, int]:
    """A target of a great many input tokens, and its parameters."""
    wide = replace(OWN, d_model=d_model, d_vocab=900_000)
    return wide, sum(prod(shape) for shape in shapes(wide).values())


def zeros(wide: TargetConfig) -> Spoil:
    """Weights that are all zero, and take no room on the disk."""

    def apply(folder: Path) -> None:
        fields, end = {}, 0
        for name, shape in shapes(wide).items():
            fields[name] = entry("F32", shape, (end, end + 4 * prod(shape)))
            end += 4 * prod(shape)
        (folder / "config.json").write_text(json.dumps(wide.to_json()))
        header(fields)(folder)
        with (folder / WEIGHTS).open("r+b") as file:
            file.truncate(file.seek(0, os.SEEK_END) + end)

    return apply


def archive(name: str) -> Callable[[Path], list[object]]:
    """A zip, a tar or a bomb in place of a folder; members would leave it if they were extracted."""

    def make(folder: Path) -> list[object]:
        path = folder / name
        if name.endswith(".zip"):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
                packed.writestr("../escaped", b"x")
                packed.writestr("model.safetensors", bytes(50_000_000))
        else:
            with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
                member = tarfile.TarInfo("../escaped")
                member.size = 1
                tar.addfile(member, io.BytesIO(b"x"))
        return ["ask", path]

    return make


def tracr_bomb(folder: Path) -> None:
    """An export of Tracr's whose arrays say that they are enormous."""
    for path in folder.iterdir():
        path.unlink()
    fields: dict[str, Any] = {"format": "tracr", "version": 1, "num_layers": 1, "num_heads": 1, "key_size": 1}
    fields |= {"mlp_hidden_size": 1, "causal": False, "max_seq_len": 1, "input_encoding": ["BOS", "PAD", "a"]}
    fields |= {"bos_token": "BOS", "pad_token": "PAD", "output_encoding": ["a"], "residual_labels": ["r"]}
    (folder / "tracr.json").write_text(json.dumps(fields | {"unembed": ["r"]}))
    archive = zipfile.ZipFile(folder / "params.npz", "w", zipfile.ZIP_DEFLATED)
    with archive as packed, packed.open("a.npy", "w", force_zip64=True) as member:
        for _ in range(200):
            member.write(bytes(1_000_000))


def place(*spoils: Spoil, name: str = "x") -> Callable[[Path], list[object]]:
    """Something that is no folder, as a target."""

    def make(folder: Path) -> list[object]:
        for spoil in spoils:
            spoil(folder)
        return ["ask", folder / name]

    return make


def as_file(name: str) -> Spoil:
    """A pickle that is itself the target."""
    return lambda folder: (folder / name).write_bytes(hostile_pickle(folder / "target"))
