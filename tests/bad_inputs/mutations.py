"""Files of a sound folder, changed at random: bytes, values of JSON, and what a safetensors header says of its data."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Files = dict[str, bytes]
"""Contents by their paths in a folder."""
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65_536, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 0.0, 0.5, 1e-30, 1e30, 1e308)
TEXTS = (
    "",
    "a",
    "BOS",
    "PAD",
    "F32",
    "BF16",
    "I64",
    "../a",
    "/etc/passwd",
    "\0",
    "\n",
    "\x1b[31m",
    "\u202e",
    "a" * 5_000,
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"a": []}, [0], [1, 2], float("nan"), float("inf"))
DTYPES = ("F64", "F32", "F16", "BF16", "I8", "U8", "I32", "I64", "BOOL", "F8_E4M3", "F4", "C64", "f32", "")
FLOATS = (0.0, -0.0, 1.0, 1e-45, 1e-38, 1e20, 3e38, -3e38, float("nan"), float("inf"), float("-inf"))


def mutated(files: Files, rng: random.Random) -> Files:
    """The files with one to four changes."""
    out = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        name = rng.choice(sorted(out) or ["config.json"])
        if rng.random() < 0.04:
            out = change_files(out, name, rng)
        elif name in out:
            out[name] = change(name, out[name], rng)
    return out


def change(name: str, raw: bytes, rng: random.Random) -> bytes:
    """One file with one change: half of them of its bytes, half of what they mean."""
    if rng.random() < 0.3:
        return change_bytes(raw, rng)
    try:
        if name.endswith(".safetensors"):
            return change_tensors(raw, rng)
        return dumped(change_value(json.loads(raw), rng))
    except (ValueError, struct.error, RecursionError):  # an earlier change left no JSON there
        return change_bytes(raw, rng)


def change_files(files: Files, name: str, rng: random.Random) -> Files:
    """Take a file away, empty it, or put another's content in its place."""
    kind, others = rng.randrange(4), sorted(files)
    if kind == 0:
        return {other: raw for other, raw in files.items() if other != name}
    if kind == 1:
        return files | {name: b""}
    if kind == 2:
        return files | {name: files[rng.choice(others)]}
    extra = rng.choice(
        ("tracr.json", "tokenizer.json", "vocab.json", "model.safetensors.index.json", "pytorch_model.bin")
    )
    return files | {extra: files[rng.choice(others)]}


def change_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Flip a bit, overwrite, insert, cut out, cut off or repeat some bytes."""
    at = rng.randrange(len(raw) + 1) if rng.random() < 0.7 else min(len(raw), rng.randrange(400))
    n = rng.choice((1, 1, 2, 4, 8, 64))
    some = bytes(rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256))) for _ in range(n))
    flipped = bytes([raw[at] ^ (1 << rng.randrange(8))]) if at < len(raw) else b""
    return rng.choice(
        (
            raw[:at] + flipped + raw[at + 1 :],
            raw[:at] + some + raw[at + n :],
            raw[:at] + some + raw[at:],
            raw[:at] + raw[at + n :],
            raw[:at],
            raw[:at] + raw[at : at + n] * 2 + raw[at + n :],
        )
    )


def change_value(value: Any, rng: random.Random) -> Any:
    """A parsed JSON value with one change, somewhere inside it."""
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or rng.random() < 0.15:
        return strange(value, rng)
    key = rng.choice(inner)
    copy = dict(value) if isinstance(value, dict) else list(value)
    kind = rng.randrange(10)
    if kind == 0:
        del copy[key]
    elif kind == 1 and isinstance(copy, dict):
        copy[rng.choice((*TEXTS, "n_layers", "auto_map", "model_type"))] = strange(copy[key], rng)
    elif kind == 1 and isinstance(copy, list):
        copy.insert(key, strange(copy[key], rng))
    elif kind == 2 and isinstance(copy, dict):
        copy[rng.choice(TEXTS)] = copy.pop(key)
    else:
        copy[key] = change_value(copy[key], rng)
    return copy


def strange(value: Any, rng: random.Random) -> Any:
    """Another value in place of one, mostly of its kind."""
    if type(value) in (int, float) and rng.random() < 0.7:
        return rng.choice((value + 1, value - 1, -value, value * 1_000, float(value), str(value), *NUMBERS))
    if isinstance(value, str) and rng.random() < 0.6:
        return rng.choice((value + "x", value[1:], value.upper(), value * 50, *TEXTS))
    return rng.choice((*NUMBERS, *TEXTS, *OTHERS))


def change_tensors(raw: bytes, rng: random.Random) -> bytes:
    """A safetensors file with a change of its header, of its length, or of a number in its data.

    Raises:
        ValueError: there is no header.
        struct.error: so.
    """
    (length,) = struct.unpack("<Q", raw[:8])
    fields, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    if not isinstance(fields, dict) or not fields:
        raise ValueError
    if rng.random() < 0.3:
        return raw[: 8 + length] + change_numbers(data, rng)
    if rng.random() < 0.1:
        wrong = rng.choice((0, 1, length + 1, max(0, length - 1), 8 << 20, 2**63, 2**64 - 1))
        return struct.pack("<Q", wrong) + raw[8:]
    change_header = rng.choice(HEADER_CHANGES)
    name = rng.choice(sorted(fields))
    header = dumped(change_header(fields, name, rng))
    return struct.pack("<Q", len(header)) + header + data


def change_numbers(data: bytes, rng: random.Random) -> bytes:
    """Data with one float32, or all of them, in another size."""
    if len(data) < 4:
        return data + b"\0"
    value = struct.pack("<f", rng.choice(FLOATS))
    if rng.random() < 0.2:
        return value * (len(data) // 4) + data[len(data) // 4 * 4 :]
    at = 4 * rng.randrange(len(data) // 4)
    return data[:at] + value + data[at + 4 :]


def renamed(fields: dict[str, Any], name: str, rng: random.Random) -> dict[str, Any]:
    return {rng.choice((name + "x", *TEXTS)) if key == name else key: value for key, value in fields.items()}


def retyped(fields: dict[str, Any], name: str, rng: random.Random) -> dict[str, Any]:
    entry = fields[name] if isinstance(fields[name], dict) else {}
    return fields | {name: entry | {"dtype": rng.choice(DTYPES)}}


def reshaped(fields: dict[str, Any], name: str, rng: random.Random) -> dict[str, Any]:
    entry = fields[name] if isinstance(fields[name], dict) else {}
    shape = list(entry.get("shape") or []) if isinstance(entry.get("shape"), list) else []
    shapes = (
        [*shape, 1],
        [1, *shape],
        shape[::-1],
        shape[1:],
        [],
        [0],
        [2**40] * 2,
        [2**32] * 4,
        [1] * 9,
        [-1],
        [True],
    )
    return fields | {name: entry | {"shape": rng.choice(shapes)}}


def moved(fields: dict[str, Any], name: str, rng: random.Random) -> dict[str, Any]:
    entry, other = fields[name], fields[rng.choice(sorted(fields))]
    if not isinstance(entry, dict) or not isinstance(other, dict) or "data_offsets" not in other:
        return change_value(fields, rng)
    offsets = other["data_offsets"]
    if rng.random() < 0.5 and isinstance(offsets, list) and all(type(each) is int for each in offsets):
        offsets = [each + rng.choice((-4, -1, 0, 1, 4)) for each in offsets]
    return fields | {name: entry | {"data_offsets": offsets}}


HEADER_CHANGES: tuple[Callable[[dict[str, Any], str, random.Random], Any], ...] = (
    *(renamed, retyped, reshaped, moved),
    lambda fields, name, rng: {key: value for key, value in fields.items() if key != name},
    lambda fields, name, rng: fields | {rng.choice(TEXTS): fields[name]},
    lambda fields, name, rng: fields | {"__metadata__": strange({}, rng)},
    lambda fields, name, rng: change_value(fields, rng),
)


def dumped(value: Any) -> bytes:
    """JSON text of a value; lone surrogates and NaN are written too."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
