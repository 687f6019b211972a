"""Targets and oracles whose files were changed at random: all are read or refused, none crashes or takes long.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py        # 10,000 targets and 500 oracles

A target is opened, read whole, and asked about, for an answer of two tokens by a small oracle; an oracle is loaded and
asked about a sound target. Changes are of bytes, of values in JSON, of safetensors headers and of single weights. Times
are the processor's. The exit status is 1 if anything but a reading or a refusal was seen.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))  # the mutations are those of the tests

from tests.bad_inputs.fuzzing import Bench, Found


@dataclass(frozen=True)
class Fuzz:
    """How much is tried."""

    targets: int = 10_000
    """Changed targets."""
    oracles: int = 500
    """Changed oracles."""
    seed: int = 0
    """Of the first case; the others count on from it."""
    show: int = 12
    """Most frequent kinds of refusal that are shown."""


def kind_of(text: str) -> str:
    """A refusal without its folder, names and numbers."""
    text = re.sub(r"\S*/case/?", "", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*?\]|\(.*?\)|-?\d[\d,.e+]*", "_", text)
    return re.sub(r"(_|\W|nan|inf)+", " ", text).strip()[:90]


def tried(name: str, run: Callable[[int], Found], seeds: range, show: int) -> int:
    """Run all cases, print what became of them; the number of faults."""
    found = {seed: run(seed) for seed in tqdm(seeds, desc=name, disable=not sys.stderr.isatty())}
    counts = Counter(each.kind for each in found.values())
    seconds = sorted(each.seconds for each in found.values())
    times = (
        f"{sum(seconds):.0f} s in all, median {1000 * seconds[len(seconds) // 2]:.0f} ms, longest {seconds[-1]:.2f} s"
    )
    print(f"{len(found):,} {name}: {', '.join(f'{n:,} {kind}' for kind, n in counts.most_common())}; {times}")
    for text, n in Counter(kind_of(each.text) for each in found.values() if each.kind == "refused").most_common(show):
        print(f"  {n:6,}  {text}")
    faults = {seed: each for seed, each in found.items() if each.is_fault}
    for seed, each in list(faults.items())[:20]:
        print(f"  seed {seed}: {each.kind}: {each.text[:300]!r}", flush=True)
    return len(faults)


def main(config: Fuzz) -> int:
    """Try both; 1 if there was a fault."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        seeds = [range(config.seed, config.seed + n) for n in (config.targets, config.oracles)]
        faults = tried("targets", bench.target, seeds[0], config.show)
        faults += tried("oracles", bench.changed_oracle, seeds[1], config.show)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Fuzz, description=__doc__)))
