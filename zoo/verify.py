"""Checking a zoo from end to end: bytes, index, programs, and a sample of targets run again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracr_tasks.errors import ProgramError, ZooError
from tracr_tasks.exact import format_value
from zoo.accuracy import RUN_INPUTS, flowchart_accuracy
from zoo.chunks import plan_chunks
from zoo.flowchart import Flowchart
from zoo.rows import HOW_TO_REPAIR, ZooRow
from zoo.shard import Shard, damage, read_shard, shard_names, shard_path
from zoo.split import split_of
from zoo.store import Zoo, program_of
from zoo.target import Target

LEARNED_SLACK = 0.005
"""How far the accuracy of a hidden network may be from that measured before; rounding moves an answer in a thousand."""
RECORDED_INPUTS = 256
"""Inputs that a recorded accuracy was measured on, at least, in the specs that ship."""


@dataclass(frozen=True)
class VerifyReport:
    """What was checked and what is wrong."""

    targets: int
    """Targets in the index."""
    shards: int
    """Shards read."""
    run: int
    """Targets run again."""
    problems: tuple[str, ...]
    """One line each; empty if the zoo is sound."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_zoo(directory: Path | str, *, sample: int = 64) -> VerifyReport:
    """Check every byte and every program of a zoo, and run `sample` targets of each part and regime again.

    Raises:
        ZooError: the folder is no zoo, or its index or layout cannot be read at all.
    """
    zoo = Zoo.open(directory)
    problems: list[str] = []
    names = shard_names(zoo.directory)
    shards: dict[str, Shard] = {}
    for name in names:
        try:
            shards[name] = read_shard(shard_path(zoo.directory, name))
        except ZooError as problem:
            problems.append(str(problem))
    for name, shard in shards.items():
        problems += damage(shard_path(zoo.directory, name), shard)
    problems += _missing(zoo, names)
    problems += _index_problems(zoo, shards)
    for row in zoo:
        problems += _program_problems(row)
    chosen = [row for row in _sample(zoo, sample) if row.shard in shards]
    for row in chosen:
        problems += _run_problems(zoo, row)
    return VerifyReport(len(zoo), len(names), len(chosen), tuple(problems))


@dataclass(frozen=True)
class RepairReport:
    """What was made again, and what is wrong still."""

    chunks: tuple[str, ...]
    """Chunks of which a shard was missing or damaged."""
    written: tuple[str, ...]
    """Other files that were not what they had to be."""
    verified: VerifyReport
    """Of the zoo afterwards."""


def repair_zoo(directory: Path | str, *, workers: int = 1, sample: int = 64) -> RepairReport:
    """Make the damaged and missing shards of a zoo again, then its index, layout and card; no other file is touched.

    Raises:
        ZooError: the folder is no zoo, its spec cannot be read, or it cannot be written to.
    """
    from zoo.build import build

    report = build(None, directory, workers=workers, progress=False)
    return RepairReport(report.chunks, report.written, verify_zoo(directory, sample=sample))


def _missing(zoo: Zoo, names: list[str]) -> Iterator[str]:
    """Shards that the index names or the spec plans and that are not there."""
    wanted = {row.shard for row in zoo}
    try:
        wanted |= {plan.name for plan in plan_chunks(zoo.spec)}
    except ZooError as problem:
        yield str(problem)
    for name in sorted(wanted - set(names)):
        yield f"{shard_path(zoo.directory, name)}: no such file; {HOW_TO_REPAIR}"


def _index_problems(zoo: Zoo, shards: dict[str, Shard]) -> Iterator[str]:
    """Differences between the index, the layout and the shards."""
    written = {row.id: row for shard in shards.values() for row in shard.rows}
    functions = {row.function_key() for row in written.values()}
    indexed = {row.function_key() for row in zoo}
    where = zoo.directory
    for row in zoo:
        if row.shard in shards and written.get(row.id) != row:
            yield f"{where}: the index has another row for '{row.id}' than its shard; {HOW_TO_REPAIR}"
        if row.family not in zoo.families:
            yield f"{where}: the layout lacks family '{row.family}'; {HOW_TO_REPAIR}"
        elif row.shard in shards and shards[row.shard].families.get(row.family) != zoo.families[row.family]:
            yield f"{where}: layout and shard '{row.shard}' differ on family '{row.family}'; {HOW_TO_REPAIR}"
    if missing := functions - indexed:
        yield f"{where}: the index lacks {len(missing)} targets of its shards; {HOW_TO_REPAIR}"
    if len(indexed) != len(zoo):
        yield f"{where}: {len(zoo) - len(indexed)} targets repeat a function; {HOW_TO_REPAIR}"


def _program_problems(row: ZooRow) -> Iterator[str]:
    """A program that does not parse, or is not the one that was hashed."""
    try:
        program = program_of(row)
    except ProgramError as problem:
        yield f"'{row.id}': its program does not parse ({problem})"
        return
    if program is not None:
        if program.text() != row.text:
            yield f"'{row.id}': the text of its program is not canonical"
        if program.function_hash() != row.function_hash:
            yield f"'{row.id}': its program has function hash {program.function_hash()}, expected {row.function_hash}"
        if isinstance(program, Flowchart) and (got := program.structure_hash()) != row.structure_hash:
            yield f"'{row.id}': its program has structure hash {got}, expected {row.structure_hash}"
    if split_of(row.function_hash, row.structure_hash) != row.split:
        yield f"'{row.id}': its split is {row.split}, expected {split_of(row.function_hash, row.structure_hash)}"


def _sample(zoo: Zoo, size: int) -> list[ZooRow]:
    """Up to `size` rows of each part and regime that have a program, spread over the index."""
    groups: dict[tuple[str, str], list[ZooRow]] = {}
    for row in zoo:
        if row.kind != "none":
            groups.setdefault((row.part, row.regime), []).append(row)
    out = []
    for rows in groups.values():
        out += [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(size, len(rows))).astype(int))]
    return out


def _run_problems(zoo: Zoo, row: ZooRow) -> Iterator[str]:
    """A compiled target that is not its program, or a trained one that has lost the accuracy recorded."""
    target, program = zoo.target(row.id), program_of(row)
    if "history" in row.labels and row.regime != "compiled":
        yield from _learned_problems(row, target)
        return
    if isinstance(program, Flowchart):
        accuracy = flowchart_accuracy(target, program)
        if abs(accuracy - row.labels["accuracy"]) > accuracy_slack(row.labels["accuracy"]):
            yield f"'{row.id}': accuracy {accuracy:.4f}, recorded {row.labels['accuracy']:.4f}"
        return
    assert program is not None
    rng = np.random.Generator(np.random.PCG64([row.seed, 3]))
    names = {format_value(value): value for value in program.vocab}
    lengths = rng.integers(1, row.max_seq_len + 1, RUN_INPUTS // 8)
    inputs = [[str(name) for name in rng.choice(list(names), length)] for length in lengths]
    said = target.answers(target.encode(inputs))
    for sequence, answers in zip(inputs, said, strict=True):
        expected = [format_value(value) for value in program.run([names[name] for name in sequence])]
        if not all(_same(*pair) for pair in zip(answers, expected, strict=True)):
            yield f"'{row.id}': on {sequence} the target says {answers}, its program {expected}"
            return


def _learned_problems(row: ZooRow, target: Target) -> Iterator[str]:
    """A network that has learned a RASP program and lost the accuracy recorded, which was measured on all inputs."""
    from zoo.legible.networks import own_accuracy
    from zoo.legible.tasks import task_of

    program = program_of(row)
    assert program is not None
    accuracy = own_accuracy(target.config, target.weights, task_of(program))
    if abs(accuracy - row.labels["accuracy"]) > LEARNED_SLACK:
        yield f"'{row.id}': accuracy {accuracy:.4f}, recorded {row.labels['accuracy']:.4f}"


def accuracy_slack(recorded: float) -> float:
    """How far two accuracies of one target on different random inputs may lie apart: five standard errors."""
    share = min(max(recorded, 0.02), 0.98)
    return 5 * math.sqrt(share * (1 - share) * (1 / RUN_INPUTS + 1 / RECORDED_INPUTS))


def _same(answer: str, expected: str) -> bool:
    """Whether two answers are one, numbers up to the rounding of float32."""
    try:
        return abs(float(answer) - float(expected)) <= 1e-4 * max(1.0, abs(float(expected)))
    except ValueError:  # not two numbers
        return answer == expected
