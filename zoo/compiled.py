"""The compiled regime: random RASP programs and one program from a file, compiled into targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracr_tasks.errors import InputError, ProgramError, Reason
from zoo.chunks import ChunkPlan, Facts, Member, member_of, seed_of, sorted_out
from zoo.files import regular_file, shown
from zoo.padding import pad_layers
from zoo.shard import Failure, row_length
from zoo.spec import ZooSpec
from zoo.target import Target, Vocab

if TYPE_CHECKING:
    from tracr_tasks import CompiledProgram, Program, SamplerConfig

MULTIPLES = {"d_model": 8, "n_heads": 1, "d_head": 4, "d_mlp": 8}
"""Compiled targets are padded up to these in the zoo, so that there are fewer architectures."""
MAX_DRAWS = 50
"""Programs drawn for one target before it counts as failed."""
MAX_PROGRAM_BYTES = 1 << 20


def make_compiled(spec: ZooSpec, plan: ChunkPlan) -> tuple[list[Member], list[Failure]]:
    """Random programs, compiled. One that compile refuses, or that is too large, is drawn again."""
    config = sampler_config(spec)
    return sorted_out(
        [
            _make_one(spec, plan, target_id, seed, config)
            for target_id, seed in zip(plan.ids(), plan.seeds(spec), strict=True)
        ]
    )


def sampler_config(spec: ZooSpec) -> SamplerConfig:
    """The spec's `programs` table as the sampler's configuration.

    Raises:
        InputError: a field that the sampler does not have, or a value it refuses.
    """
    from tracr_tasks import SamplerConfig

    known = [field.name for field in fields(SamplerConfig)]
    if unknown := [name for name in spec.programs if name not in known]:
        raise InputError(f"spec: programs: unknown field '{unknown[0]}'; expected {', '.join(known)}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in spec.programs.items()}
    return SamplerConfig(**values)


def compile_file(
    program: Path, out: Path, *, vocab: Sequence[Any] | None = None, max_seq_len: int | None = None
) -> Target:
    """Compile a RASP program in a file and save it as a target, layers made alike, with the program beside it.

    Raises:
        InputError: the file cannot be read.
        ProgramError: the program cannot be parsed or compiled; every reason with its line.
    """
    from tracr_tasks import compile_program, parse_program

    if (size := regular_file(program)) > MAX_PROGRAM_BYTES:
        raise InputError(f"{shown(program, 300)}: {size} bytes, expected at most {MAX_PROGRAM_BYTES}")
    try:
        text = program.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{shown(program, 300)}: not UTF-8 text") from None
    parsed = parse_program(text, vocab, max_seq_len)
    target = target_of(compile_program(parsed))
    target.save(out)
    return target


def target_of(compiled: CompiledProgram, **multiples: int) -> Target:
    """A compiled program as a target whose layers are alike; sizes are rounded up to the multiples given."""
    config, weights = pad_layers(compiled.config, compiled.weights, **multiples)
    return Target(config, weights, Vocab(tuple(compiled.input_names), tuple(compiled.output_names)))


def _make_one(spec: ZooSpec, plan: ChunkPlan, target_id: str, seed: int, config: SamplerConfig) -> Member | Failure:
    """Draw until a program compiles to at most `max_params` numbers."""
    from tracr_tasks import compile_program, sample_program

    reason = ""
    for draw in range(MAX_DRAWS):
        program = sample_program(seed if draw == 0 else seed_of(seed, "draw", draw), config)
        try:
            compiled = compile_program(program)
        except ProgramError as problem:
            reason = str(problem)
            continue
        target = target_of(compiled, **MULTIPLES)
        if (n_params := row_length(target.config)) > spec.max_params:
            reason = str(Reason(None, f"{n_params} numbers, expected at most {spec.max_params}"))
            continue
        facts = _facts(program, compiled, target, draw)
        return member_of(plan, target_id, seed, target.config, target.weights, facts)
    return Failure(target_id, seed, f"no program fits in {MAX_DRAWS} draws: {reason}")


def _facts(program: Program, compiled: CompiledProgram, target: Target, draw: int) -> Facts:
    sizes = compiled.config
    labels = {"draw": draw, "d_model": sizes.d_model, "n_heads": sizes.n_heads, "d_mlp": sizes.d_mlp}
    return Facts(
        kind="rasp",
        text=program.text(),
        program_vocab=json.dumps(list(program.vocab)),
        vocab=target.vocab,
        max_seq_len=program.max_seq_len,
        causal=program.causal,
        function_hash=program.function_hash(),
        structure_hash="",
        labels=labels,
    )
