"""Random programs: how fast they are drawn and compiled, and whether the transformer says what the program says.

    OMP_NUM_THREADS=1 python benchmarks/compile.py --programs 500

Prints one row a setting: programs, how many of them differ from the interpreter on any of the inputs of the function
hash (all inputs, or 2,000), and rates on one thread. The rate of drawing includes draws that the sampler rejects.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import tyro

from tracr_tasks import SamplerConfig, compile_program, sample_program
from tracr_tasks.check import mismatches


@dataclass(frozen=True)
class Config:
    programs: int = 200
    """Programs a setting."""
    seed: int = 0
    """First seed."""


SETTINGS = {
    "vocabulary 5, length 5": SamplerConfig(),
    "causal": SamplerConfig(causal=True),
    "vocabulary 8, length 8": SamplerConfig(vocab_size=8, max_seq_len=8, max_d_model=128),
}


def row(name: str, sampler: SamplerConfig, config: Config) -> str:
    """One row of the table."""
    began = time.perf_counter()
    programs = [sample_program(config.seed + i, sampler) for i in range(config.programs)]
    drawn = time.perf_counter() - began
    seconds = []
    wrong = 0
    for program in programs:
        began = time.perf_counter()
        compiled = compile_program(program)
        seconds.append(time.perf_counter() - began)
        wrong += mismatches(compiled) > 0
    median, slow = 1000 * np.quantile(seconds, [0.5, 0.95])
    rates = f"{len(programs) / drawn:.0f}/s | {len(programs) / sum(seconds):.0f}/s"
    return f"| {name} | {len(programs)} | {wrong} | {rates} | {median:.1f} ms | {slow:.1f} ms |"


def main(config: Config) -> None:
    print("| programs | number | with a mismatch | drawn | compiled | median | 95th percentile |")
    print("|---|---|---|---|---|---|---|")
    for name, sampler in SETTINGS.items():
        print(row(name, replace(sampler), config), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
