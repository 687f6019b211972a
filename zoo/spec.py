"""What a zoo is to hold: counts, seed and recipes; read from TOML or by name. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tracr_tasks.errors import InputError
from zoo.fields import from_fields, nearest, no_duplicates, to_fields
from zoo.flowchart_config import FlowchartConfig, Kinds, every_kind
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.recipe import LegibleRecipe
from zoo.parts import MAX_COUNT, REGIMES, Growth, Part, check_counts, check_histories
from zoo.split import SPLITS
from zoo.training_config import Architecture, TrainConfig, for_every_kind

MAX_SPEC_BYTES = 1 << 20


@dataclass(frozen=True)
class ZooSpec:
    """Everything that a zoo is built from; the same spec gives the same bytes.

    Raises:
        InputError: a count, seed or size out of range, or two parts of one name.
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
    """Multiplies all counts."""
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
    compiles: str = "rasp"
    """What compiled targets compute: "rasp" programs, or a "flowchart" each, written into a network of the shape that
    trained targets have (chart_weights.py)."""
    parts: tuple[Part, ...] = ()
    """More targets, made by other recipes, each part under its name; the counts above are the part without a name."""
    growth: Growth | None = None
    """Written by a build that adds to a finished zoo; not for people."""
    seeded: int = 0
    """Networks that begin with a compiled variable of their program in them; so do the three below."""
    permuted: int = 0
    """The control of `seeded`: each seeded tensor's entries are shuffled."""
    decoy: int = 0
    """Networks seeded with a variable of another target's program."""
    seeded_anchored: int = 0
    """Networks both seeded and anchored."""
    anchored: int = 0
    """Networks that learn with a concept pulled towards an axis."""
    rerandomised: int = 0
    """Trained networks whose tensors are drawn anew with the mean and variance that they had."""
    legible: LegibleRecipe | None = None
    """How targets with a history are made; with it, all others are of its programs and networks too."""

    def __post_init__(self) -> None:
        check_counts(self, "spec")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise InputError(f"spec: seed = {self.seed!r}, expected 0 to 2^63 - 1")
        if type(self.chunk) is not int or not 1 <= self.chunk <= 4_096:
            raise InputError(f"spec: chunk = {self.chunk!r}, expected 1 to 4096")
        if not 0 < self.size <= 1_000:
            raise InputError(f"spec: size = {self.size!r}, expected more than 0, at most 1000")
        object.__setattr__(self, "size", float(self.size))  # 2 and 2.0 are one spec, and have one hash
        names = [part.name for part in self.parts]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(
                f"spec: two parts are called '{twice[0]}': expected a name for each, as seeds come from it"
            )
        check_histories(self)
        if not 0 < (total := sum(count for _, _, count in self.counts())) <= MAX_COUNT:
            raise InputError(f"spec: {total} targets in all, expected 1 to {MAX_COUNT}")

    def count(self, regime: str, part: str = "") -> int:
        """Targets of a regime, the size dial applied; a regime that is asked for has at least one."""
        owner = self if not part else next(each for each in self.parts if each.name == part)
        asked: int = getattr(owner, regime)
        return max(1, round(asked * self.size)) if asked else 0

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """Part, regime and number of targets, in the order of the index; those without targets are left out."""
        for part in ("", *sorted(part.name for part in self.parts)):
            for regime in REGIMES:
                if count := self.count(regime, part):
                    yield part, regime, count

    def recipe(self, part: str) -> ZooSpec:
        """The spec of one part alone, without the others."""
        given = next(each for each in self.parts if each.name == part).overrides() if part else {}
        return replace(self, parts=(), **given)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object; `spec_from_fields` reads it back."""
        out: dict[str, Any] = to_fields(self)
        return out

    def hash(self) -> str:
        """16 hex digits of everything but the name."""
        fields_ = {key: value for key, value in self.to_json().items() if key != "name"}
        return hashlib.sha256(json.dumps(fields_, sort_keys=True).encode()).hexdigest()[:16]

    def origin(self) -> str:
        """What the shards of this zoo say they were built from: the hash of the spec that it was begun with."""
        return self.growth.origin if self.growth else self.hash()


PATIENT = TrainConfig(steps=400, stop_accuracy=0.998)
"""For flowcharts of more than two questions."""
UP_TO_FOUR = FlowchartConfig(max_conditions=4, growth=1.0)
"""As many flowcharts of one, two, three and four questions."""
UP_TO_FOUR_IN_TWO: Mapping[str, Any] = {
    "flowcharts": UP_TO_FOUR,
    "training": PATIENT,
    "architectures": tuple(Architecture(d_mlp=d_mlp, n_layers=n) for n in (1, 2) for d_mlp in (32, 48)),
}
"""Of a spec or a part: these, in one and in two layers, narrow and wide."""


def named_specs() -> dict[str, ZooSpec]:
    """The specs that ship with the package.

    The shipped oracle was trained on `default`, `small` (programs of few operations), `broad` (flowcharts of more
    structures, also in two layers), `several` (flowcharts of three and four questions, in one and in two layers) and
    `blank` (untrained networks of their shapes), the decoder of RASP programs on `programs` (as those of `default`, and
    more of them). `kinds` has flowcharts of up to four questions of every kind, three in ten with a rare branch.
    `bench` is the frozen test zoo: held-out functions and structures, then parts that are each unlike the default zoo
    in one way (programs of more S-ops and flowcharts of more questions; every kind of question; width; depth; size of
    the vocabulary; norm, activation and direction of attention). `four` is held out too: as many flowcharts of one,
    two, three and four questions, in one and in two layers. `calibration` is as `bench` and `four` are, of functions
    that are neither learned from nor tested on. `legible` has 150 programs, each with every history, in networks of one
    shape.
    """
    quick = TrainConfig(steps=40, batch=32, eval_inputs=256)
    small = FlowchartConfig(vocab_size=4, n_answers=4, max_seq_len=4)
    held_out = ("test", "structure")
    rich, recipe = for_every_kind()
    return {
        "tiny": ZooSpec("tiny", 6, 12, 3, chunk=8, flowcharts=small, training=quick),
        "quickstart": ZooSpec("quickstart", 16, 16, 2, seed=2026, splits=held_out, chunk=16),
        "unseen": ZooSpec("unseen", 300, 300, 60, seed=1_000_003, splits=held_out),
        "bench": _bench(),
        "four": _four(),
        "calibration": _calibration(),
        "kinds": ZooSpec("kinds", 0, 12_000, 0, flowcharts=every_kind(), training=recipe, architectures=(rich,)),
        "default": ZooSpec("default", 21_000, 21_500, 600, seed=1),
        "small": ZooSpec("small", 30_000, 0, 0, seed=11, programs={"min_ops": 2, "max_ops": 4}),
        "broad": _broad(),
        "several": _several(),
        "blank": _blank(),
        "programs": ZooSpec("programs", 60_000, 0, 0, seed=101, splits=("train",)),
        "legible": _legible(),
    }


def _bench() -> ZooSpec:
    """Held-out targets like those of `default`, then some that are unlike them in one way each."""
    long = Part(
        "long",
        compiled=150,
        trained=150,
        flowcharts=FlowchartConfig(min_conditions=3, max_conditions=3),
        programs={"min_ops": 9, "max_ops": 12, "max_d_model": 128, "max_neurons": 256, "max_layers": 12},
    )
    shapes = (Architecture(24, n_heads=3, d_head=8, d_mlp=48), Architecture(32, n_heads=4, d_head=8, d_mlp=64))
    wide = Part("wide", trained=100, untrained=20, architectures=shapes)
    deep = Part("deep", trained=100, untrained=20, architectures=(Architecture(n_layers=2), Architecture(n_layers=3)))
    vocab = Part(
        "vocab",
        compiled=150,
        trained=150,
        flowcharts=FlowchartConfig(vocab_size=9, n_answers=8),
        programs={"vocab_size": 8, "max_d_model": 128},
    )
    rich, recipe = for_every_kind()
    kinds = Part("kinds", trained=150, flowcharts=every_kind(), training=recipe, architectures=(rich,))
    styles = tuple(
        Architecture(normalization_type=norm, act_fn=act_fn, attention_dir=direction)
        for norm in ("none", "LN", "RMS")
        for act_fn, direction in (("gelu", "bidirectional"), ("relu", "causal"))
    )
    styled = Part("styles", trained=300, training=TrainConfig(lr=0.01), architectures=styles)
    return ZooSpec(
        *("bench", 300, 300, 60),
        seed=1_000_033,
        splits=("test", "structure"),
        chunk=50,
        parts=(long, kinds, wide, deep, vocab, styled),
    )


def _calibration() -> ZooSpec:
    """As `bench` and `four`, of functions that are neither learned from nor tested on."""
    like = _bench()
    parts = (*like.parts, Part("four", trained=250, **UP_TO_FOUR_IN_TWO))
    return replace(like, name="calibration", seed=1_000_081, size=0.4, splits=("val",), parts=parts)


def _four() -> ZooSpec:
    """Unseen flowcharts of one to four questions in one and in two layers."""
    return ZooSpec("four", 0, 400, 40, seed=1_000_039, splits=("test", "structure"), **UP_TO_FOUR_IN_TWO)


def _several() -> ZooSpec:
    """Flowcharts of three questions and, four times as many, of four, in one and in two layers."""
    like_four = ZooSpec("several", 0, 15_000, 0, seed=41, splits=("train",), **UP_TO_FOUR_IN_TWO)
    return replace(like_four, flowcharts=FlowchartConfig(min_conditions=3, max_conditions=4, growth=4.0))


def _broad() -> ZooSpec:
    """Flowcharts of one to three questions in one layer, of up to four in two, and of questions of every kind."""
    kinds = Kinds(pos=4, has=2, of=3, before=2, equals=2, first=1, last=1)
    every_kind = FlowchartConfig(max_count=3, kinds=kinds)
    return ZooSpec(
        *("broad", 0, 4_500, 200),
        seed=23,
        splits=("train",),
        flowcharts=FlowchartConfig(max_conditions=3),
        training=PATIENT,
        architectures=(Architecture(), Architecture(d_mlp=48)),
        parts=(
            Part(
                "four",
                trained=1_500,
                training=PATIENT,
                flowcharts=UP_TO_FOUR,
                architectures=(Architecture(n_layers=2),),
            ),
            Part(
                "rich", trained=1_500, training=PATIENT, flowcharts=every_kind, architectures=(Architecture(d_mlp=48),)
            ),
        ),
    )


def _blank() -> ZooSpec:
    """Untrained networks of the shapes of `default` and `broad`."""
    shapes = (Architecture(), Architecture(d_mlp=48), Architecture(n_layers=2))
    return ZooSpec("blank", 0, 0, 1_600, seed=31, splits=("train",), architectures=shapes)


def _legible() -> ZooSpec:
    """Every history at matched accuracy. States are normalised in none, so that all have one shape; without
    `anti_subspace` they would all lie along the axis (margin 0.18, not 0.92)."""
    n = 150
    return ZooSpec(
        *("legible", n, n, n),
        seed=1_000_037,
        chunk=16,
        seeded=n,
        permuted=n,
        decoy=n,
        seeded_anchored=n,
        anchored=n,
        rerandomised=n,
        legible=LegibleRecipe(normalize_states="none", anchoring=AnchorOptions(label_rate=0.05, anti_subspace=0.3)),
    )


def named_spec(name: str) -> ZooSpec:
    """A spec that ships with the package.

    Raises:
        InputError: no such spec.
    """
    specs = named_specs()
    if name not in specs:
        raise InputError(f"zoo spec '{name}': expected {', '.join(specs)} or a .toml file{nearest(name, list(specs))}")
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
        is_toml = path.suffix == ".toml"
        values = tomllib.loads(text) if is_toml else json.loads(text, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not valid {path.suffix[1:].upper()} ({problem})") from None
    return spec_from_fields(values, str(path))


def spec_from_fields(values: Any, where: str) -> ZooSpec:
    """A spec out of parsed TOML or JSON (see `load_spec` for what is raised)."""
    return from_fields(ZooSpec, values, where)
