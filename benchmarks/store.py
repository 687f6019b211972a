"""Random reads of single models: a zoo's flat rows beside one safetensors file a model and one npz file a model.

    OMP_NUM_THREADS=1 python benchmarks/store.py              # 4,000 models of 5,000 to 100,000 numbers, 1.8 GB in all

The weights are random. A read gives every tensor of one model by name. The three stores take turns, in rounds of some
hundred reads each, so that whatever else the machine does hits all alike; the page cache is warm.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro

from tracr_tasks.transformer import TargetConfig
from zoo.merge import merge_index
from zoo.rows import ZooRow
from zoo.shard import (
    SHARD_DIR,
    Member,
    chunk_files,
    family_of,
    layout_of,
    row_length,
    row_sha256,
    shard_names,
    unflatten,
    write_chunk,
)
from zoo.store import Zoo


@dataclass(frozen=True)
class StoreConfig:
    """What is stored and how often it is read."""

    models: int = 4_000
    """Models in each store."""
    smallest: int = 5_000
    """Numbers of the smallest, about."""
    largest: int = 100_000
    """Numbers of the largest, about."""
    chunk: int = 128
    """Models of a shard."""
    rounds: int = 15
    """Turns of each store."""
    reads: int = 400
    """Reads of a turn."""
    check: bool = False
    """Compare the sha256 of what the zoo gives, which files of the other kinds do not have."""


def families(config: StoreConfig) -> list[TargetConfig]:
    """Eight architectures, their sizes spread evenly (in the logarithm) from the smallest to the largest."""
    out = []
    for wanted in np.geomspace(config.smallest, config.largest, 8):
        shapes = [TargetConfig(d, 2, 4, d // 4, 4 * d, 16, 32, 32, pad_token=1) for d in range(8, 400, 4)]
        out.append(min(shapes, key=lambda shape: abs(row_length(shape) - wanted)))
    return out


def models(config: StoreConfig) -> Iterator[Member]:
    """Random weights with the rows that a zoo needs."""
    shapes, rng = families(config), np.random.default_rng(0)
    for i in range(config.models):
        shape = shapes[i % len(shapes)]
        flat = rng.standard_normal(row_length(shape), dtype=np.float32)
        digest = row_sha256(flat)
        names = {"input_names": ("BOS", "PAD"), "output_names": ("p",)}
        where = {"shard": "", "row": 0, "family": family_of(shape), "seed": i, "regime": "untrained", "kind": "none"}
        what = {"text": "", "program_vocab": "[]", "max_seq_len": 15, "causal": False, "structure_hash": ""}
        about = {"function_hash": digest[:16], "split": "train", "n_params": len(flat), "sha256": digest}
        yield ZooRow(id=f"untrained-{i:06d}", **where, **what, **about, **names), shape, flat  # type: ignore[arg-type]


def write_all(config: StoreConfig, folder: Path) -> dict[str, float]:
    """Write the three stores; seconds that each took."""
    from safetensors.numpy import save_file

    (folder / "zoo" / SHARD_DIR).mkdir(parents=True)
    for name in ("safetensors", "npz"):
        (folder / name).mkdir()
    seconds, batch = dict.fromkeys(("zoo", "safetensors", "npz"), 0.0), list[Member]()

    def timed(name: str, action: Callable[[], object]) -> None:
        began = time.perf_counter()
        action()
        seconds[name] += time.perf_counter() - began

    for number, member in enumerate(models(config), 1):
        row, shape, flat = member
        tensors = {n: flat[at : at + int(np.prod(size))].reshape(size) for n, size, at in layout_of(shape)}
        timed("safetensors", lambda t=tensors, i=row.id: save_file(t, folder / "safetensors" / f"{i}.safetensors"))
        timed("npz", lambda t=tensors, i=row.id: np.savez(folder / "npz" / f"{i}.npz", **t))
        batch.append(member)
        if len(batch) == config.chunk or number == config.models:
            name = f"untrained-{(number - 1) // config.chunk:05d}"
            timed("zoo", lambda n=name, b=batch: write_chunk(folder / "zoo", n, chunk_files(n, "bench", b, ())))
            batch = []
    timed("zoo", lambda: merge_index(folder / "zoo"))
    return seconds


def readers(config: StoreConfig, folder: Path) -> dict[str, Callable[[str], Mapping[str, Any]]]:
    """How each store gives the tensors of one model."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    zoo = Zoo.open(folder / "zoo")

    def from_zoo(name: str) -> Mapping[str, Any]:
        return unflatten(zoo.families[zoo.row(name).family], zoo.flat(name, check=config.check))

    def from_npz(name: str) -> Mapping[str, Any]:
        with np.load(folder / "npz" / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    def from_torch(name: str) -> Mapping[str, Any]:
        with safe_open(folder / "safetensors" / f"{name}.safetensors", "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)

    return {
        "zoo": from_zoo,
        "safetensors a model (numpy)": lambda name: load_file(folder / "safetensors" / f"{name}.safetensors"),
        "safetensors a model (torch)": from_torch,
        "npz a model": from_npz,
    }


def main(config: StoreConfig) -> None:
    """Write, check that all stores give the same, read in turns, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = write_all(config, folder)
        size = sum(path.stat().st_size for path in (folder / "zoo").rglob("*") if path.is_file()) / 1e6
        shapes = [row_length(shape) for shape in families(config)]
        shards = len(shard_names(folder / "zoo"))
        print(
            f"{config.models} models of {min(shapes):,} to {max(shapes):,} numbers; zoo: {size:.0f} MB, {shards} shards"
        )
        print("writing, s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in written.items()))
        stores, rng = readers(config, folder), np.random.default_rng(1)
        ids = [f"untrained-{i:06d}" for i in range(config.models)]
        for target in ids:
            first, *others = [read(target) for read in stores.values()]
            for other in others:
                assert all(np.array_equal(np.asarray(first[n]), np.asarray(other[n])) for n in first), target
        rates: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(config.rounds):
            chosen = [ids[i] for i in rng.integers(0, len(ids), config.reads)]
            for name, read in stores.items():
                began = time.perf_counter()
                for target in chosen:
                    read(target)
                rates[name].append(config.reads / (time.perf_counter() - began))
        print("\n| store | reads a second, median (best) of the rounds | zoo is faster by |\n|---|---|---|")
        for name, each in rates.items():
            ratio = median(a / b for a, b in zip(rates["zoo"], each, strict=True))
            print(f"| {name} | {median(each):,.0f} ({max(each):,.0f}) | {ratio:.1f} |")


if __name__ == "__main__":
    main(tyro.cli(StoreConfig, description=__doc__))
