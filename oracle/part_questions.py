"""Questions about the parts of a compiled target: which layer computes what.

    where     the layers in which an operation is computed: 0 2
    inside    the operations that the heads, or the neurons, of a layer compute: aggregate selector_width

Layers are numbered from 0. The heads of a layer have no order and neither have its neurons: permuting them
changes nothing that the model does. None is asked about by number. The truth is the compiler's own provenance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache

from oracle.facts import Subject
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.rasp import Program
from tracr_tasks.wiring import owners

COMPUTED = ("aggregate", "selector_width", "map", "sequence_map", "linear", "length")
"""Operations that heads and neurons compute; selectors are a part of the heads that use them."""
NOTHING = "nothing"
KINDS = {"head": "heads", "neurons": "neurons"}
Part = tuple[int, str]
"""A layer, and heads or neurons."""


@lru_cache(maxsize=1 << 16)
def parts_of(program: Program) -> Mapping[Part, frozenset[str]]:
    """The operations that the heads and the neurons of each layer of a program's transformer compute."""
    compiled = compile_program(program)
    found = {(layer, kind): frozenset[str]() for layer in range(compiled.config.n_layers) for kind in KINDS.values()}
    for component, nodes in owners(compiled).items():
        if component.layer >= 0:
            found[component.layer, KINDS[component.kind]] |= {node.op for node in nodes if node.op in COMPUTED}
    return found


def layers_of(program: Program) -> dict[str, list[int]]:
    """The layers in which each operation is computed."""
    layers: dict[str, set[int]] = {}
    for (layer, _), operations in parts_of(program).items():
        for operation in operations:
            layers.setdefault(operation, set()).add(layer)
    return {operation: sorted(found) for operation, found in sorted(layers.items())}


def where_text(program: Program, operation: str) -> str | None:
    """The layers in which an operation is computed, as an answer; None if it is nowhere."""
    layers = layers_of(program).get(operation)
    return None if layers is None else " ".join(map(str, layers))


def inside_text(program: Program, part: str) -> str | None:
    """What "heads of layer 0", say, compute, as an answer; None if there is no such part."""
    kind, _, layer = part.partition(" of layer ")
    found = parts_of(program).get((int(layer), kind)) if layer.isdecimal() else None
    return None if found is None else " ".join(sorted(found)) or NOTHING


def _where(subject: Subject, rng: random.Random) -> tuple[str, str]:
    layers = layers_of(subject.program)
    operation = rng.choice(list(layers))
    return operation, where_text(subject.program, operation) or ""


def _inside(subject: Subject, rng: random.Random) -> tuple[str, str]:
    layer, kind = rng.choice(sorted(parts_of(subject.program)))
    part = f"{kind} of layer {layer}"
    return part, inside_text(subject.program, part) or ""


PARTS: dict[str, Callable[[Subject, random.Random], tuple[str, str]]] = {"where": _where, "inside": _inside}
"""Family -> (detail, truth) of a random question."""
PARTS_SLOTS = {"where": "operation", "inside": "part"}


def has_parts(subject: Subject) -> bool:
    """Whether a subject is the transformer that its program compiles to (one with a history may be a part of another),
    and computes anything."""
    if (subject.kind, subject.regime) != ("rasp", "compiled") or "history" in subject.labels:
        return False
    return any(node.op in COMPUTED for node in subject.program.nodes)
