"""Break zoo builds in every way of the list of faults; print what was done, how often, and what held.

    OMP_NUM_THREADS=1 python benchmarks/faults.py --kills 100      # a few minutes on a quiet machine of two cores

The question of each row is the same: is the finished zoo, file for file, the one that an undisturbed build gives? As
root the disks that are full or read-only are real ones (a tmpfs each); without that right those rows say so.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro
from fault_files import changed_spec, damages, full_disk, lost_index, no_room, one_diverges, power_loss
from fault_processes import dead_workers, kills_between, pool_kills, random_kills, signals, two_builders
from fault_tools import Bench, FaultsConfig

from zoo.store import Zoo

FAULTS = (random_kills, pool_kills, kills_between, signals, full_disk, no_room, two_builders, damages, lost_index)
FAULTS += (dead_workers, one_diverges, changed_spec, power_loss)


def main(config: FaultsConfig) -> None:
    """Build the undisturbed zoo, cause every fault in turn, print what held."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), random.Random(config.seed))
        targets = len(Zoo.open(bench.reference))
        print(f"a zoo of {targets} targets in {bench.chunks} shards, built in {bench.seconds:.1f} s\n")
        print("| fault | what was done | times | what held |\n|---|---|---|---|")
        for fault in FAULTS:
            try:
                row: tuple[Any, ...] = fault(bench, config)
            except PermissionError:
                row = (fault.__name__, "needs the right to mount", 0, "left out")
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        print(f"\n{time.perf_counter() - bench.began:.0f} s in all")


if __name__ == "__main__":
    main(tyro.cli(FaultsConfig, description=__doc__))
