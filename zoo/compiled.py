"""The compiled regime: random RASP programs and one program from a file, compiled into targets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracr_tasks.errors import InputError, ZooError
from zoo.chunks import ChunkPlan, Facts, member_of, sorted_out
from zoo.files import regular_file, shown
from zoo.padding import layer_sizes, pad_layers
from zoo.rows import Failure
from zoo.shard import Member
from zoo.spec import ZooSpec
from zoo.split import draw_of_splits, split_of
from zoo.target import Target, Vocab

if TYPE_CHECKING:
    from tracr_tasks.compiler.compile import CompiledProgram
    from tracr_tasks.sampler import SamplerConfig

MAX_PROGRAM_BYTES = 1 << 20


def make_compiled(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Random programs, compiled. Layers are made alike for storage; `Zoo.target` gives the compiled shape back."""
    from tracr_tasks.sampler import sample_compiled

    recipe = spec.recipe(plan.part)
    config = sampler_config(recipe)
    made: list[Member | Failure] = []
    for target_id, seed in zip(plan.ids(), plan.seeds(spec), strict=True):
        try:
            compiled = draw_of_splits(
                lambda at: sample_compiled(at, config),
                lambda c: split_of(c.program.function_hash()),
                seed,
                recipe.splits,
            )
        except InputError as problem:
            made.append(Failure(target_id, seed, str(problem)))
            continue
        padded, weights = pad_layers(compiled.config, compiled.weights)
        made.append(member_of(plan, target_id, seed, padded, weights, _facts(compiled)))
    return sorted_out(made)


def sampler_config(spec: ZooSpec) -> SamplerConfig:
    """The spec's `programs` table as the sampler's configuration.

    Raises:
        ZooError: a field that the sampler does not have, or a value of another kind.
        InputError: a value that the sampler refuses.
    """
    from tracr_tasks.sampler import SamplerConfig

    known = [field.name for field in fields(SamplerConfig)]
    if unknown := [name for name in spec.programs if name not in known]:
        raise ZooError(f"spec: programs: unknown field '{shown(unknown[0])}'; expected {', '.join(known)}")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in spec.programs.items()}
    try:
        return SamplerConfig(**values)
    except TypeError as problem:
        raise ZooError(f"spec: programs: {problem}") from None


def compile_file(
    program: Path, out: Path, *, vocab: Sequence[Any] | None = None, max_seq_len: int | None = None
) -> Target:
    """Compile a RASP program in a file and save it as a target. Words of `vocab` that are numbers are taken as numbers.

    Raises:
        InputError: the file cannot be read.
        ProgramError: the program cannot be parsed or compiled; every reason with its line.
    """
    from tracr_tasks.compiler.text import compile_text

    values = None if vocab is None else [named_value(word) if isinstance(word, str) else word for word in vocab]
    target = target_of(compile_text(program_text(program), values, max_seq_len))
    target.save(out)
    return target


def program_text(path: Path) -> str:
    """The text of a program's file.

    Raises:
        InputError: the file cannot be read, is too large or not UTF-8.
    """

    if (size := regular_file(path)) > MAX_PROGRAM_BYTES:
        raise InputError(f"{shown(path, 300)}: {size} bytes, expected at most {MAX_PROGRAM_BYTES}")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{shown(path, 300)}: not UTF-8 text") from None


def target_of(compiled: CompiledProgram) -> Target:
    """A compiled program as a target, its layers as they were compiled."""
    return Target(compiled.config, compiled.weights, Vocab(compiled.input_names, compiled.output_names))


def named_value(word: str) -> Any:
    """A token of the command line: "3" and "0.5" are numbers, the rest are strings."""
    if re.fullmatch(r"-?\d{1,9}", word):
        return int(word)
    return float(word) if re.fullmatch(r"-?\d{1,9}\.\d{1,9}", word) else word


def _facts(compiled: CompiledProgram) -> Facts:
    program = compiled.program
    return Facts(
        kind="rasp",
        text=program.text(),
        program_vocab=json.dumps(list(program.vocab)),
        vocab=Vocab(compiled.input_names, compiled.output_names),
        max_seq_len=program.max_seq_len,
        causal=program.causal,
        function_hash=program.function_hash(),
        structure_hash="",
        labels={"layers": [list(sizes) for sizes in layer_sizes(compiled.config, compiled.weights)]},
    )
