"""The sampler: random programs under a seed, each compilable and none trivial.

families.py         what programs are made of: function families as tables
sampler_config.py   what is drawn and what is rejected
drawing.py          how one draw grows
rejection.py        why a draw is rejected, on a fixed sample of inputs

A draw that none of the checks rejects is compiled; it is accepted if that works and the transformer is small enough.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tracr_tasks import rasp
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.drawing import draw, size_of
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.rejection import REASONS, rejection, trial_inputs
from tracr_tasks.sampler_config import SamplerConfig

__all__ = [
    "DEFAULT",
    "REASONS",
    "Draw",
    "SamplerConfig",
    "draw",
    "draws",
    "fits",
    "rejection",
    "sample_compiled",
    "sample_draw",
    "sample_program",
    "sample_programs",
    "size_of",
    "trial_inputs",
]

DEFAULT = SamplerConfig()


@dataclass(frozen=True)
class Draw:
    """One draw."""

    program: rasp.Program | None
    """What was drawn; None if it had another size than was asked for."""
    rejected: str | None
    """Why it is rejected before it is compiled, one of `REASONS`; None if it is not."""


def draws(seed: int, config: SamplerConfig = DEFAULT) -> Iterator[Draw]:
    """The first `config.max_draws` draws of a seed, rejected ones too, all of one size. Nothing is compiled."""
    rng = random.Random(seed)
    count = rng.randint(config.min_ops, config.max_ops)
    for _ in range(config.max_draws):
        program = draw(rng, config, count)
        yield Draw(program, "size" if program is None else rejection(program, config))


def sample_draw(seed: int, config: SamplerConfig = DEFAULT) -> rasp.Program:
    """The first program of a seed that passes every check but the compiler's; it may be refused or come out large.

    Raises:
        InputError: there was none in `config.max_draws` draws.
    """
    return next(_passed(seed, config))


def sample_compiled(seed: int, config: SamplerConfig = DEFAULT) -> CompiledProgram:
    """The first program of a seed that passes every check, can be compiled and `fits`, with its transformer.

    Raises:
        InputError: there was none in `config.max_draws` draws.
    """
    for program in _passed(seed, config):
        try:
            compiled = compile_program(program)
        except ProgramError:  # not every program can be compiled; the next one is tried
            continue
        if fits(compiled, config):
            return compiled
    raise AssertionError("the draws end with an error")


def sample_program(seed: int, config: SamplerConfig = DEFAULT) -> rasp.Program:
    """As `sample_compiled`, the program alone: random, the same for the same seed and configuration."""
    return sample_compiled(seed, config).program


def sample_programs(count: int, seed: int, config: SamplerConfig = DEFAULT) -> Iterator[CompiledProgram]:
    """As many programs, no two with one function hash; the same for the same seed and configuration.

    Raises:
        InputError: `config.max_draws` programs in a row had hashes that were there, or `sample_compiled` found none.
    """
    rng, seen = random.Random(seed), set[str]()
    while len(seen) < count:
        for _ in range(config.max_draws):
            compiled = sample_compiled(rng.getrandbits(63), config)
            if (name := compiled.program.function_hash()) not in seen:
                break
        else:
            raise InputError(f"no new function in {config.max_draws} programs after {len(seen)}; widen the sampler")
        seen.add(name)
        yield compiled


def fits(compiled: CompiledProgram, config: SamplerConfig) -> bool:
    """Whether the transformer is small enough."""
    shape = compiled.config
    return (
        shape.d_model <= config.max_d_model
        and shape.d_mlp <= config.max_neurons
        and shape.n_layers <= config.max_layers
    )


def _passed(seed: int, config: SamplerConfig) -> Iterator[rasp.Program]:
    """The programs of a seed's draws that pass the checks; an InputError ends them."""
    for drawn in draws(seed, config):
        if drawn.program is not None and drawn.rejected is None:
            yield drawn.program
    raise InputError(f"no program accepted in {config.max_draws} draws; relax the sampler's limits")
