"""Our programs in Tracr's language, and what Tracr makes of them; needs `pip install tracr-pypi`.

Tracr takes encodings from the programmer. Where a program leaves them open they are chosen as a Tracr user would:
arguments of a linear map and of a mean are numbers, everything else is categorical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from tracr_tasks.compiler.facts import Fact, SelectorFact
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import exact, plain
from tracr_tasks.functions import Function
from tracr_tasks.rasp import Program


def tracr_is_here() -> bool:
    """Whether Tracr and what it needs can be imported."""
    return all(find_spec(name) is not None for name in ("tracr", "jax", "haiku"))


@dataclass(frozen=True)
class Size:
    """How large a compiled transformer is."""

    n_layers: int
    n_heads: int
    d_head: int
    d_mlp: int
    d_model: int
    parameters: int
    """All numbers in the weights, an unembedding not counted: Tracr has it in code."""

    def exceeds(self, other: Size) -> list[str]:
        """The sizes in which this one is larger."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) > getattr(other, name)]


def size_of_ours(compiled: Any) -> Size:
    """The size of a `CompiledProgram`."""
    config = compiled.config
    counted = sum(tensor.numel() for name, tensor in compiled.weights.items() if not name.startswith("unembed"))
    return Size(config.n_layers, config.n_heads, config.d_head, config.d_mlp, config.d_model, counted)


def size_of_tracrs(model: Any) -> Size:
    """The size of Tracr's `AssembledTransformerModel`."""
    config = model.model_config
    counted = sum(int(np.prod(part.shape)) for module in model.params.values() for part in module.values())
    sizes = config.num_layers, config.num_heads, config.key_size, config.mlp_hidden_size
    return Size(*sizes, len(model.residual_labels), counted)


def compile_with_tracr(program: Program) -> Any:
    """Tracr's model of a program.

    Raises:
        Exception: whatever Tracr raises; it has no error of its own.
    """
    from tracr.compiler.compiling import compile_rasp_to_model

    expression = to_tracr(program)
    vocab = set(program.vocab)
    return compile_rasp_to_model(expression, vocab, program.max_seq_len, causal=program.causal, compiler_bos="BOS")


def to_tracr(program: Program) -> Any:
    """The program as a Tracr expression.

    Raises:
        ProgramError: the program uses what Tracr cannot say.
    """
    from tracr.rasp import rasp

    facts = Inference(program).run().facts
    made: list[Any] = []
    for place, node in enumerate(program.nodes):
        args = [made[arg] for arg in node.args]
        made.append(_node(rasp, node.op, node.params, args, [facts[arg] for arg in node.args]))
        if node.op in ("numerical", "categorical"):
            base = program.nodes[node.args[0]].op in ("tokens", "indices") and node.op == "numerical"
            made[place] = getattr(rasp, node.op)(_same(rasp, args[0]) if base else args[0])
    return made[-1]


def _node(rasp: Any, op: str, params: Sequence[Any], args: list[Any], facts: list[Any]) -> Any:
    match op:
        case "tokens" | "indices" | "length":
            return getattr(rasp, op)
        case "constant":
            return rasp.Full(plain(params[0]))
        case "numerical" | "categorical":
            return args[0]
        case "map":
            return rasp.Map(_python(params[0]), args[0])
        case "sequence_map":
            return rasp.SequenceMap(_python(params[0]), *args)
        case "linear":
            numbers = [rasp.numerical(_same(rasp, arg)) for arg in args]
            return rasp.numerical(rasp.LinearSequenceMap(*numbers, *map(plain, params)))
        case "select":
            return rasp.Select(*args, _predicate(rasp, params[0]))
        case "selector_and" | "selector_or" | "selector_not":
            return getattr(rasp, op)(*args)
        case "selector_width":
            return rasp.SelectorWidth(*args)
        case "aggregate":
            if _is_mean(*facts):
                value = rasp.numerical(_same(rasp, args[1]))
                return rasp.numerical(rasp.Aggregate(args[0], value, default=plain(params[0])))
            return rasp.Aggregate(*args, default=plain(params[0]))
    raise AssertionError(f"no rule for {op}")


def _is_mean(selector: SelectorFact | None, sop: Fact | None) -> bool:
    """Whether an aggregate may average numbers."""
    return selector is not None and sop is not None and sop.is_numeric and not selector.single


def _same(rasp: Any, x: Any) -> Any:
    """A map that changes nothing: where Tracr's encodings are changed."""
    return x if rasp.is_numerical(x) else rasp.Map(lambda value: value, x)


def _python(fn: Function) -> Any:
    return partial(_call, fn)


def _call(fn: Function, *values: Any) -> Any:
    numbers = (Fraction(v).limit_denominator(10**6) if isinstance(v, float) else v for v in values)
    return plain(fn(*(exact(value) for value in numbers)))


def _predicate(rasp: Any, fn: Function) -> Any:
    comparisons = {"==": "EQ", "!=": "NEQ", "<": "LT", "<=": "LEQ", ">": "GT", ">=": "GEQ"}
    comparisons |= {"true": "TRUE", "false": "FALSE"}
    name = comparisons.get(fn.text)
    return rasp.Comparison[name] if name else lambda key, query: bool(_call(fn, key, query))
