"""A compiled program explained to people: what each line may be and what computes it, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from tracr_tasks.compiler.compile import CompiledProgram
from tracr_tasks.compiler.facts import Fact, SelectorFact
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import literal
from tracr_tasks.text import format_program
from tracr_tasks.trace import Node
from tracr_tasks.wiring import Component, Wiring, components, owners

MAX_SHOWN = 8
"""Values that are listed; of more, the number is given and some are shown."""
ALIGNED = 60
"""Characters of the longest line whose comment is aligned with the others'."""


def explain(compiled: CompiledProgram) -> str:
    """A compiled program in three sections: the program with what computes each line, the layers, the sizes.

    The first section is the program itself, which parses back: what is added is in comments.
    """
    sections = {
        "program": program_lines(compiled),
        "layers": layer_lines(compiled),
        "sizes": size_lines(compiled),
    }
    return "\n\n".join("\n".join([title, *(f"    {line}" for line in lines)]) for title, lines in sections.items())


# the program


def program_lines(compiled: CompiledProgram) -> list[str]:
    """The canonical text; in a comment beside each line its possible values and, after a bar, its components."""
    program = compiled.program
    notes = _notes(compiled)
    lines = format_program(program).splitlines()
    header, lines = lines[:3], lines[3:]
    inputs = [f"# {node.name}: {notes[node.name]}" for node in program.nodes if node.line is None]
    names = [node.name for node in program.nodes if node.line is not None]
    width = max((len(line) for line in lines if len(line) <= ALIGNED), default=0)
    return [*header, *inputs, *(f"{line:<{width}}  # {notes[name]}" for name, line in zip(names, lines, strict=True))]


def _notes(compiled: CompiledProgram) -> dict[str, str]:
    """What is known about each line, and its components."""
    program, parts = compiled.program, components(compiled)
    notes = {}
    for node, fact in zip(program.nodes, Inference(program).run().facts, strict=True):
        known = how_many_keys(fact, program.causal) if node.is_selector else possible_values(fact)
        where = ", ".join(map(str, parts[node.name])) or _instead_of_components(node, program.nodes)
        notes[node.name] = f"{known} | {where}"
    return notes


def _instead_of_components(node: Node, nodes: Sequence[Node]) -> str:
    is_annotation = node.op in ("numerical", "categorical")
    return f"as {nodes[node.args[0]].name}" if is_annotation else "no component"


def possible_values(fact: Fact) -> str:
    """An S-op's values in words: `0 to 4`, `'a', 'b' or none`, `numbers from -1 to 1`."""
    if fact.values is None:
        return f"numbers from {literal(fact.low)} to {literal(fact.high)}"
    values = [value for value in fact.values if value is not None]
    texts = [literal(value) for value in values]
    if len(values) > 2 and isinstance(values[0], int) and values == [values[0] + i for i in range(len(values))]:
        text = f"{texts[0]} to {texts[-1]}"
    elif len(values) > MAX_SHOWN:
        text = f"{len(values)} values: {', '.join(texts[:3])}, ..., {texts[-1]}"
    else:
        text = ", ".join(texts)
    return " or ".join([text] * bool(values) + ["none"] * fact.may_be_none)


def how_many_keys(fact: SelectorFact, causal: bool) -> str:
    """What is sure about the keys that each query selects, in words."""
    if not fact.terms:
        return "every key up to the query" if causal else "every key"
    if any(not term.relation.any() for term in fact.terms):
        return "no key"
    if fact.single:
        return "exactly one key" if fact.never_empty else "at most one key"
    return "at least one key" if fact.never_empty else "any number of keys"


# the layers


def layer_lines(compiled: CompiledProgram) -> list[str]:
    """Every head and group of neurons in order: the lines that it computes, what it reads and what it writes."""
    wiring, lines_of = Wiring(compiled), owners(compiled)
    lines = [wiring.embeddings()]
    for layer, at_bos in enumerate(wiring.streams_at_bos()):
        lines.append(f"layer {layer}")
        for component, nodes in lines_of.items():
            if component.layer == layer:
                reads = wiring.head(component, at_bos) if component.kind == "head" else wiring.neurons(component)
                lines += [f"    {_task(component, nodes)}", f"        {reads}"]
        lines += [f"    {constant}" for constant in wiring.constants(layer)]
    return [*lines, wiring.unembedding()]


def _task(component: Component, nodes: Sequence[Node]) -> str:
    """`head 0 computes v2, selects by v1`, `neurons 0:8 compute v2`."""
    computed = ", ".join(node.name for node in nodes if not node.is_selector)
    if component.kind != "head":
        return f"{component.text} compute {computed}"
    selectors = ", ".join(node.name for node in nodes if node.is_selector)
    return f"{component.text} computes {computed}" + (f", selects by {selectors}" if selectors else "")


# the sizes


def size_lines(compiled: CompiledProgram) -> list[str]:
    """What the residual stream holds, the sizes of each layer, and the number of parameters."""
    config, weights = compiled.config, compiled.weights
    held = {"BOS": [0]} | Wiring(compiled).variables
    lines = [f"d_model {config.d_model}: {', '.join(f'{name} {len(places)}' for name, places in held.items())}"]
    for layer in range(config.n_layers):
        n_heads, _, d_head = weights[f"blocks.{layer}.attn.W_Q"].shape
        d_mlp = len(weights[f"blocks.{layer}.mlp.b_in"])
        lines.append(f"layer {layer}: n_heads {n_heads}, d_head {d_head}, d_mlp {d_mlp}")
    count = sum(tensor.numel() for tensor in weights.values())
    used = sum(int(tensor.count_nonzero()) for tensor in weights.values())
    return [*lines, f"{count:,} parameters, {used / count:.1%} of them not zero"]
