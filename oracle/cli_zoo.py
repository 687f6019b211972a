"""The verbs `zoo ...` of the command line: the options of each as a frozen dataclass, and the call that does it.

This module imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from oracle.cli_parse import Verb
from tracr_tasks.errors import InputError, ZooError


@dataclass(frozen=True)
class ZooBuildConfig:
    """Build a zoo of targets whose programs are known. Run again after an interruption, it goes on where it was; run
    again with a larger --size or larger counts, it adds to what is there."""

    spec: tyro.conf.Positional[str]
    """What to build: tiny, quickstart, unseen, bench, four, kinds, default, small, broad, blank, programs, legible, or
    a .toml or .json file of `zoo.ZooSpec`."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the zoo."""
    size: float | None = None
    """Multiply the numbers of targets by this, in place of the specification's own size."""
    workers: int = 2
    """Processes, of one thread each; with --engine ray and no --address, those of the cluster that is started."""
    seed: int | None = None
    """Seed in place of the specification's own."""
    engine: Literal["local", "ray"] = "local"
    """Where targets are made: processes of this machine, or a Ray cluster. The zoo is the same."""
    address: str | None = None
    """Of the Ray cluster, as in auto or ray://host:10001; one is started on this machine if not given."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where targets are trained; auto is the GPU if there is one, whose weights differ from a CPU's by rounding."""


@dataclass(frozen=True)
class ZooShowConfig:
    """Show what a zoo holds: counts by regime and split, a histogram of accuracies, and a few programs."""

    zoo: tyro.conf.Positional[Path]
    """Folder of the zoo."""


@dataclass(frozen=True)
class ZooVerifyConfig:
    """Check a zoo from end to end: every byte and program, and some of its targets run again."""

    zoo: tyro.conf.Positional[Path]
    """Folder of the zoo."""
    repair: bool = False
    """First make damaged and missing shards again, then the index; nothing else is touched."""


def run_zoo_build(config: ZooBuildConfig) -> None:
    """`zoo build`: `zoo.build.build`, with a bar where standard error is a terminal; prints what it did."""
    from zoo.spec import load_spec

    dials = {name: value for name in ("size", "seed") if (value := getattr(config, name)) is not None}
    spec = replace(load_spec(config.spec), **dials)
    if config.workers < 1:
        raise InputError(f"--workers {config.workers}: expected at least 1")
    if config.address is not None and config.engine != "ray":
        raise InputError(f"--address {config.address}: expected --engine ray with it")
    from oracle.console import say
    from zoo.build import build

    report = build(
        spec,
        config.out,
        workers=config.workers,
        progress=sys.stderr.isatty(),
        engine=config.engine,
        address=config.address,
        device=config.device,
    )
    say("\n  ".join([f"{config.out}: {report.targets} targets", *report.lines()]))


def run_zoo_show(config: ZooShowConfig) -> None:
    """`zoo show`: `zoo.show_zoo`."""
    from zoo.show import show_zoo

    show_zoo(config.zoo)


def run_zoo_verify(config: ZooVerifyConfig) -> None:
    """`zoo verify`: `zoo.verify_zoo`, or `zoo.verify.repair_zoo`; prints what was made again and every problem.

    Raises:
        ZooError: there is a problem.
    """
    from oracle.console import say
    from zoo.verify import repair_zoo, verify_zoo

    if config.repair:
        repaired = repair_zoo(config.zoo)
        report = repaired.verified
        say(f"{config.zoo}: made again: {', '.join((*repaired.chunks, *repaired.written)) or 'nothing'}")
    else:
        report = verify_zoo(config.zoo)
    for problem in report.problems:
        say(problem)
    if not report.ok:
        hint = "" if config.repair else "; `weight-oracle zoo verify --repair` makes again what is damaged"
        raise ZooError(f"{config.zoo}: {len(report.problems)} problem(s){hint}")
    say(f"{config.zoo}: {report.targets} targets in {report.shards} shards are sound; {report.run} of them were run")


ZOO_VERBS = {
    "zoo build": Verb("build a zoo of targets whose programs are known, or finish one", ZooBuildConfig, run_zoo_build),
    "zoo show": Verb("show what a zoo holds", ZooShowConfig, run_zoo_show),
    "zoo verify": Verb("check a zoo from end to end, or repair it", ZooVerifyConfig, run_zoo_verify),
}
"""Its verbs, in the order of the help text."""
