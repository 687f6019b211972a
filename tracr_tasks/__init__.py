"""RASP programs: the language, its interpreter, a compiler to transformers, a sampler and a small library.

    from tracr_tasks import compile_program, sample_program

    program = sample_program(seed=0)
    print(program.text(), program.run([1, 2, 3]))
    compiled = compile_program(program)
    compiled.run([[1, 2, 3]])

Names are imported when first used, so that importing the package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CompiledProgram": "compiler.compile",
    "InputError": "errors",
    "OracleError": "errors",
    "Program": "rasp",
    "ProgramError": "errors",
    "Reason": "errors",
    "SamplerConfig": "sampler",
    "TargetConfig": "transformer",
    "TargetError": "errors",
    "Value": "exact",
    "WeightOracleError": "errors",
    "ZooError": "errors",
    "compile_program": "compiler.compile",
    "explain": "explanation",
    "format_program": "text",
    "format_value": "exact",
    "forward": "transformer",
    "function_hash": "batch",
    "hash_inputs": "batch",
    "library_program": "library",
    "mermaid": "diagram",
    "parse_program": "text",
    "run": "interpreter",
    "run_batch": "batch",
    "sample_compiled": "sampler",
    "sample_draw": "sampler",
    "sample_program": "sampler",
    "sample_programs": "sampler",
}

__all__ = [
    "CompiledProgram",
    "InputError",
    "OracleError",
    "Program",
    "ProgramError",
    "Reason",
    "SamplerConfig",
    "TargetConfig",
    "TargetError",
    "Value",
    "WeightOracleError",
    "ZooError",
    "compile_program",
    "explain",
    "format_program",
    "format_value",
    "forward",
    "function_hash",
    "hash_inputs",
    "library_program",
    "mermaid",
    "parse_program",
    "run",
    "run_batch",
    "sample_compiled",
    "sample_draw",
    "sample_program",
    "sample_programs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
