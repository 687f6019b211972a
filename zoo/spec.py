"""What a zoo is to hold: counts, seed and recipes; read from TOML or by name. Imports nothing heavy."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tracr_tasks.errors import InputError
from zoo.flowchart_config import FlowchartConfig
from zoo.split import SPLITS
from zoo.training_config import Architecture, TrainConfig

MAX_COUNT = 2_000_000
"""Targets of one regime; more than any disk here holds, and a mistyped 10^9 is refused."""
MAX_SPEC_BYTES = 1 << 20
REGIMES = ("compiled", "trained", "untrained")
"""How targets get their weights, in the order of the index."""
T = TypeVar("T")


@dataclass(frozen=True)
class ZooSpec:
    """Everything that a zoo is built from; the same spec gives the same bytes.

    Raises:
        InputError: a count, seed or size out of range.
    """

    name: str = "default"
    """For people."""
    compiled: int = 6_000
    """RASP programs, compiled."""
    trained: int = 12_000
    """Flowcharts, each learned by a transformer of its own."""
    untrained: int = 400
    """Transformers with random weights only, the control."""
    seed: int = 0
    """Of everything that is drawn."""
    size: float = 1.0
    """Multiplies the three counts."""
    splits: tuple[str, ...] = SPLITS
    """Splits whose functions are made; ("test", "structure") gives targets that no oracle was trained on."""
    chunk: int = 128
    """Targets built at once, and in one shard."""
    flowcharts: FlowchartConfig = field(default_factory=FlowchartConfig)
    """What the trained targets learn."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """How they learn it."""
    architectures: tuple[Architecture, ...] = (Architecture(),)
    """Shapes of trained and untrained targets; chunks take them in turn."""
    programs: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `tracr_tasks.SamplerConfig` that differ from its defaults; bounds on size are among them."""

    def __post_init__(self) -> None:
        for name in REGIMES:
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count <= MAX_COUNT:
                raise InputError(f"spec: {name} = {count!r}, expected 0 to {MAX_COUNT}")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise InputError(f"spec: seed = {self.seed!r}, expected 0 to 2^63 - 1")
        if type(self.chunk) is not int or not 1 <= self.chunk <= 4_096:
            raise InputError(f"spec: chunk = {self.chunk!r}, expected 1 to 4096")
        if not 0 < self.size <= 1_000:
            raise InputError(f"spec: size = {self.size!r}, expected more than 0, at most 1000")
        if not 0 < (total := sum(self.count(regime) for regime in REGIMES)) <= MAX_COUNT:
            raise InputError(f"spec: {total} targets in all, expected 1 to {MAX_COUNT}")
        if not self.splits or set(self.splits) - set(SPLITS):
            raise InputError(f"spec: splits = {list(self.splits)!r}, expected some of {', '.join(SPLITS)}")
        if not self.architectures:
            raise InputError("spec: architectures is empty, expected at least one")

    def count(self, regime: str) -> int:
        """Targets of a regime, the size dial applied; a regime that is asked for has at least one."""
        asked: int = getattr(self, regime)
        return max(1, round(asked * self.size)) if asked else 0

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object; `spec_from_fields` reads it back."""
        return asdict(replace(self, programs=dict(self.programs)))

    def hash(self) -> str:
        """16 hex digits of everything but the name."""
        fields_ = {key: value for key, value in self.to_json().items() if key != "name"}
        return hashlib.sha256(json.dumps(fields_, sort_keys=True).encode()).hexdigest()[:16]


def named_specs() -> dict[str, ZooSpec]:
    """The specs that ship with the package."""
    quick = TrainConfig(steps=40, batch=32, eval_inputs=256)
    small = FlowchartConfig(vocab_size=4, n_answers=4, max_seq_len=4)
    return {
        "tiny": ZooSpec("tiny", 6, 12, 3, chunk=8, flowcharts=small, training=quick),
        "quickstart": ZooSpec("quickstart", 16, 16, 2, seed=2026, splits=("test", "structure"), chunk=16),
        "unseen": ZooSpec("unseen", 300, 300, 60, seed=1_000_003, splits=("test", "structure")),
        "default": ZooSpec(),
    }


def named_spec(name: str) -> ZooSpec:
    """A spec that ships with the package.

    Raises:
        InputError: no such spec.
    """
    specs = named_specs()
    if name not in specs:
        raise InputError(f"zoo spec '{name}': expected {', '.join(specs)} or a .toml file{_nearest(name, list(specs))}")
    return specs[name]


def load_spec(name_or_path: str | Path) -> ZooSpec:
    """A spec by name, or out of a TOML (or JSON) file.

    Raises:
        InputError: no such spec or file, not TOML, an unknown field (with the nearest name), a value out of range.
    """
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json"):
        return named_spec(str(name_or_path))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if (size := path.stat().st_size) > MAX_SPEC_BYTES:
        raise InputError(f"{path}: {size} bytes, expected at most {MAX_SPEC_BYTES}")
    try:
        text = path.read_text("utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not valid {path.suffix[1:].upper()} ({problem})") from None
    return spec_from_fields(values, str(path))


def spec_from_fields(values: Any, where: str) -> ZooSpec:
    """A spec out of parsed TOML or JSON (see `load_spec` for what is raised)."""
    return _from_fields(ZooSpec, values, where)


def _from_fields(cls: type[T], values: Any, where: str) -> T:
    """A dataclass out of a mapping; nested tables become nested dataclasses."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: got {type(values).__name__}, expected a table of fields")
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise InputError(f"{where}: unknown field '{name}'{_nearest(name, known)}")
    return cls(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """A field's value, checked against its type."""
    if is_dataclass(hint):
        return _from_fields(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: got {value!r}, expected a list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if get_origin(hint) is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: got {value!r}, expected a table of fields")
        return dict(value)
    allowed = (int, float) if hint is float else (hint,)
    if type(value) not in allowed:
        raise InputError(f"{where} = {value!r}, expected {hint.__name__}")
    return hint(value)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; expected {', '.join(known)}"
