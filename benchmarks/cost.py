"""What it costs to encode a target: seconds and peak memory from 10,000 to 124 million parameters.

    OMP_NUM_THREADS=2 python benchmarks/cost.py       # random GPT-2 models, written to disk as transformers does

Each size is encoded by a process of its own, from the files on disk to weight tokens: header checks, reading layer by
layer, folding, both sweeps, pooling. Memory is the peak of the process above what it had after its imports. The last
line fits seconds = a * parameters^b over the sizes above a million (below, the time is that of starting).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

SHAPES = {
    "10k": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 64, "n_positions": 32},
    "1M": {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 1_500, "n_positions": 128},
    "5M": {"n_embd": 256, "n_layer": 5, "n_head": 4, "vocab_size": 4_000, "n_positions": 256},
    "20M": {"n_embd": 384, "n_layer": 7, "n_head": 6, "vocab_size": 18_000, "n_positions": 512},
    "124M": {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257, "n_positions": 1_024},
}


@dataclass(frozen=True)
class Cost:
    """Which sizes, and how often each."""

    sizes: tuple[str, ...] = tuple(SHAPES)
    """Names of sizes."""
    repeats: int = 3
    """Processes of each size; the median is shown."""
    encode: Path | None = None
    """Encode this folder and print what it took as JSON; what the processes of the benchmark are started with."""


def write_model(name: str, folder: Path) -> None:
    """A random GPT-2 model."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**SHAPES[name])).save_pretrained(folder)


def encode(folder: Path) -> dict[str, float]:
    """Encode one model with a fresh encoder of the default size."""
    import torch

    from oracle.batch import collate
    from oracle.config import EncoderConfig
    from oracle.decoder import TextCodec
    from oracle.encoder import WeightEncoder
    from oracle.neutral import fold_parts
    from zoo.readers import open_source

    torch.manual_seed(0)
    codec, table = TextCodec(), torch.randn(400, 128)
    encoder = WeightEncoder(EncoderConfig(), 128)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    source = open_source(folder)
    names = [str(i) for i in range(source.config.d_vocab)]
    labels = codec.label_ids(names, source.config.n_ctx, names)
    with torch.inference_mode():
        tokens = encoder(collate([fold_parts(source)], [labels]), table)
    seconds = time.perf_counter() - began
    assert bool(tokens.isfinite().all())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    parameters = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 4
    return {"seconds": seconds, "peak_mb": peak / 1024, "parameters": parameters}


def main(config: Cost) -> None:
    """Write, encode, print."""
    if config.encode is not None:
        print(json.dumps(encode(config.encode)))
        return
    print("| target | parameters | seconds | peak above the imports, MB |\n|---|---|---|---|")
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in config.sizes:
            path = Path(folder) / name
            write_model(name, path)
            runs = [
                json.loads(subprocess.check_output([sys.executable, __file__, "--encode", str(path)]))
                for _ in range(config.repeats)
            ]
            one = {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
            found.append(one)
            cells = [f"GPT-2, {name}", f"{one['parameters']:,.0f}", f"{one['seconds']:.2f}", f"{one['peak_mb']:,.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    large = [one for one in found if one["parameters"] > 5e5]
    if len(large) > 1:
        x, y = (np.log([one[key] for one in large]) for key in ("parameters", "seconds"))
        print(f"\nseconds grow as parameters to the power of {np.polyfit(x, y, 1)[0]:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Cost, description=__doc__))
