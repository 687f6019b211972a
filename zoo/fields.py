"""Dataclasses of a specification from parsed TOML or JSON and back, every field checked. Imports nothing heavy."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tracr_tasks.errors import InputError

FIRST: dict[str, tuple[str, ...]] = {
    "ZooSpec": (
        *("name", "compiled", "trained", "untrained", "seed", "size", "splits", "chunk"),
        *("flowcharts", "training", "architectures", "programs"),
    ),
    "FlowchartConfig": (
        *("vocab_size", "n_answers", "max_seq_len", "min_conditions", "max_conditions", "count"),
        *("min_branch", "max_answer"),
    ),
    "TrainConfig": ("steps", "batch", "lr", "warmup", "weight_decay", "beta2", "balanced", "eval_inputs"),
    "Architecture": ("d_model", "n_layers", "n_heads", "d_head", "d_mlp"),
    "TargetConfig": (
        *("d_model", "n_layers", "n_heads", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out", "act_fn"),
        *("normalization_type", "attention_dir", "eps", "read_out", "output", "pad_token"),
    ),
    "LegibleRecipe": (
        *("programs", "architecture", "normalize_states", "initial_scale", "initial_family", "training", "seeding"),
        *("anchoring", "concept", "min_share", "max_share", "keep_embeddings", "hidden"),
    ),
    "LegiblePrograms": (
        *("vocab_size", "max_seq_len", "min_ops", "max_ops", "max_outputs", "max_values", "max_share", "min_use"),
    ),
    "NetworkTraining": ("steps", "batch", "lr", "warmup", "optimizer", "weight_decay", "stop_accuracy"),
    "SeedOptions": ("balance", "rotate", "permuted", "rate", "preserve"),
    "AnchorOptions": (
        *("strength", "label_rate", "label_noise", "shuffled", "span", "anti_subspace", "anti_anchor", "separate"),
        *("states", "until"),
    ),
}
"""Fields that are always written. One that came later is left out where it has its default, so that specs, their hashes
and the names of architectures stay the same when a later version adds a field."""
T = TypeVar("T")


def to_fields(value: Any) -> Any:
    """A dataclass, or what it is made of, as JSON values; `from_fields` reads it back."""
    if is_dataclass(value):
        first = FIRST.get(type(value).__name__, ())
        held = {field: getattr(value, field.name) for field in fields(value)}
        return {f.name: to_fields(v) for f, v in held.items() if f.name in first or v != _default(f)}
    if isinstance(value, Mapping):
        return {key: to_fields(item) for key, item in value.items()}
    return [to_fields(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_fields(cls: type[T], values: Any, where: str) -> T:
    """A dataclass out of a mapping; nested tables become nested dataclasses.

    Raises:
        InputError: an unknown field (with the nearest name), a missing one, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: got {type(values).__name__}, expected a table of fields")
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise InputError(f"{where}: unknown field '{name}'{nearest(name, known)}")
    for f in fields(cls):  # type: ignore[arg-type]
        if f.name not in values and _default(f) is MISSING:
            raise InputError(f"{where}: field '{f.name}' is missing")
    return cls(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the known name most like the given one, else `; expected x, y, ...`."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; expected {', '.join(known)}"


def no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=...)`: a key that occurs twice is refused, as TOML does.

    Raises:
        ValueError: a key occurs twice.
    """
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"key {key!r} twice")
        out[key] = value
    return out


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """One `field before -> after` for each value in which two results of `to_fields` differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [*before, *(key for key in after if key not in before)]
        found = [differences(before.get(k), after.get(k), f"{path}.{k}" if path else str(k)) for k in keys]
        return [line for lines in found for line in lines]
    return [] if before == after else [f"{path} {before!r} -> {after!r}"]


def _default(field: Field[Any]) -> Any:
    """A field's default value, or MISSING."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _value(hint: Any, value: Any, where: str) -> Any:
    """A field's value, checked against its type."""
    if get_origin(hint) in (Union, types.UnionType):  # `X | None`: the file gives an X or leaves the field out
        hint = next(part for part in get_args(hint) if part is not type(None))
    if is_dataclass(hint):
        return from_fields(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: got {value!r}, expected a list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{where} = {value!r}, expected one of {', '.join(map(repr, get_args(hint)))}")
        return value
    if get_origin(hint) is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: got {value!r}, expected a table of fields")
        inner = get_args(hint)[1]
        return {k: item if inner is Any else _value(inner, item, f"{where}.{k}") for k, item in value.items()}
    allowed = (int, float) if hint is float else (hint,)
    if type(value) not in allowed:
        raise InputError(f"{where} = {value!r}, expected {hint.__name__}")
    return hint(value)
