"""How long answers take: the first from the start of the command, each further one, and eight at once.

    python benchmarks/ask.py                    the oracle that ships
    python benchmarks/ask.py --oracle DIR       another one

All of it in one run, about a target of about ten thousand parameters. Times are medians of wall clock, beside the time
that the processor spent: on a machine that does other work the first is longer.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BARS = {"first": 10.0, "further": 1.0, "batched": 3.0}
"""Seconds, seconds, times faster."""
QUESTIONS = (
    "What does this model compute?",
    "Does this model use aggregate?",
    "Does this model use selector_width?",
    "What is the output on a b a?",
    "Does any rule name c?",
    "Is a map used?",
    "What is the output on c c b?",
    "Decompile the model.",
)
PARAMETERS = 10_000


def make_target(folder: Path) -> int:
    """A random target of two layers; its number of parameters."""
    import torch

    from tracr_tasks.transformer import TargetConfig, shapes
    from zoo.target import Target, Vocab

    config = TargetConfig(24, 2, 4, 6, 48, n_ctx=7, d_vocab=8, d_vocab_out=6, normalization_type="RMSPre", pad_token=1)
    rng = torch.Generator().manual_seed(0)
    weights = {name: 0.3 * torch.randn(shape, generator=rng) for name, shape in shapes(config).items()}
    target = Target(config, weights, Vocab(("BOS", "PAD", *"abcdef"), tuple("pqrstu")))
    target.save(folder)
    return target.n_parameters


def command(folder: Path, oracle: Path | None) -> tuple[float, float]:
    """Seconds of wall clock and of processor for `weight-oracle ask`, in a process of its own."""
    more = [] if oracle is None else ["--oracle", str(oracle)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [sys.executable, "-m", "oracle.cli", "ask", str(folder), QUESTIONS[0], *more]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall clock and of processor for a call in this process."""
    start, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - spent


def row(name: str, found: list[tuple[float, float]], bar: str = "") -> float:
    """Print the medians; that of the wall clock."""
    wall, processor = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"| {name} | {wall:.2f} | {processor:.2f} | {bar} |")
    return wall


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", type=Path, default=None, help="folder of an oracle; the one that ships by default")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n = make_target(Path(folder))
        print(f"target of {n:,} parameters; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print("| what | seconds | of processor | bar |\n|---|---|---|---|")
        found = [command(Path(folder), options.oracle) for _ in range(options.repeats)]
        row("first answer, from the start of the command", found, f"{BARS['first']:.0f} s")
        in_process(Path(folder), options)
    print(f"\nload of the machine {os.getloadavg()[0]:.1f} at the end")


def in_process(folder: Path, options: argparse.Namespace) -> None:
    """The rows of questions to a target that is open."""
    from oracle.cli_ask import load_target
    from oracle.oracle import WeightOracle

    target, oracle = load_target(str(folder)), WeightOracle.from_pretrained(options.oracle)
    oracle.ask(target, QUESTIONS[0])  # what is made once in a process
    row("reading the target", [timed(lambda: oracle.open(target)) for _ in range(options.repeats)])
    opened = oracle.open(target)
    alone, batched = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(options.repeats):
        alone += [timed(lambda question=question: opened.ask(question)) for question in QUESTIONS]
        batched.append(timed(lambda: opened.ask(QUESTIONS)))
    row("each further question", alone, f"{BARS['further']:.0f} s")
    row("the slowest of them", [max(alone)])
    each = [
        timed(lambda: [oracle.ask(target, question) for question in QUESTIONS]),
        timed(lambda: oracle.ask(target, QUESTIONS)),
    ]
    one_by_one = [tuple(map(sum, zip(*alone[i : i + 8], strict=True))) for i in range(0, len(alone), 8)]
    slow = row("8 questions one by one, target open", one_by_one)
    fast = row("8 questions at once, target open", batched)
    row("8 questions one by one, the target read each time", each[:1])
    row("8 questions at once, the target read once", each[1:])
    row("explaining an answer", [timed(lambda: oracle.open(target).explain(QUESTIONS[0]))])
    opened.explain(QUESTIONS[0])
    row("explaining a further one", [timed(lambda: opened.explain(QUESTIONS[1])) for _ in range(options.repeats)])
    print(
        f"\n8 at once: {slow / fast:.1f} times as fast, target open; {each[0][0] / each[1][0]:.1f} times, target read"
    )
    print(f"(bar: {BARS['batched']:.0f})")


if __name__ == "__main__":
    main()
