"""Edits of compiled targets: the program with one line changed is compiled, or the line's own weights are replaced.

The original is compiled from its program too. What a zoo stores is the same up to the last bit of W_Q and b_Q, which
are scaled for storage (`zoo.padding`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from torch import Tensor

from oracle.evaluation.edits import Accept, Edit, Way, computes, differ, every_program, judged
from oracle.evaluation.edits_lines import line_changes
from tracr_tasks.canonical import canonical
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.errors import ProgramError
from tracr_tasks.rasp import Program
from tracr_tasks.rejection import rejection
from tracr_tasks.sampler import DEFAULT
from tracr_tasks.wiring import components
from zoo.compiled import target_of
from zoo.target import Target

OF_A_HEAD = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V")
"""Tensors of attention whose first axis is that of heads."""
Attempt = Callable[[str, str, CompiledProgram, CompiledProgram], Edit | None]
"""From id, what changed, the original and the recompiled one to an edit."""


def recompiled(target_id: str, program: Program, rng: random.Random, accept: Accept = every_program) -> Edit | None:
    """A random line of a program changed, the whole compiled anew; None where no change will do.

    The changed program computes another function, has no idle operation (`tracr_tasks.rejection`), compiles, and is
    accepted.

    Raises:
        ProgramError: the program itself cannot be compiled.
    """
    return _first(target_id, program, rng, accept, _as_recompiled)


def patched(target_id: str, program: Program, rng: random.Random, accept: Accept = every_program) -> Edit | None:
    """A random line of a program changed in the weights of its own heads and neurons; None where no change will do.

    The line is drawn as for `recompiled`, among changes that are possible in this way (see `as_patch`).

    Raises:
        ProgramError: the program itself cannot be compiled.
    """
    return _first(target_id, program, rng, accept, _as_patch)


def as_patch(edit: Edit) -> Edit | None:
    """The change of a recompiled edit in the weights of the line's own heads and neurons; None where it takes more.

    It takes more where what the line may say changes, and with it the residual stream, the output's names or what other
    lines' heads and neurons read. Every entry of every other head and neuron is that of the original, bit by bit.
    """
    return _as_patch(edit.id, edit.what, compile_program(edit.before), compile_program(edit.after))


def _first(target_id: str, program: Program, rng: random.Random, accept: Accept, attempt: Attempt) -> Edit | None:
    """The first change of one line that is acceptable, can be compiled and made in some way."""
    original = compile_program(canonical(program))
    known = original.program.function_hash()
    for what, after in line_changes(original.program, rng):
        try:
            if rejection(after, DEFAULT) or after.function_hash() == known or not accept(after):
                continue
            changed = compile_program(after)
        except ProgramError:
            continue
        if (edit := attempt(target_id, what, original, changed)) is not None:
            return edit
    return None


def _as_recompiled(target_id: str, what: str, original: CompiledProgram, changed: CompiledProgram) -> Edit | None:
    return _edit(target_id, "recompiled", what, original, changed, target_of(changed))


def _as_patch(target_id: str, what: str, original: CompiledProgram, changed: CompiledProgram) -> Edit | None:
    if not _same_layout(original, changed):
        return None
    line = what.partition(" = ")[0]
    target = Target(original.config, _with_line(original, changed, line), target_of(original).vocab)
    return _edit(target_id, "patched", what, original, changed, target)


def _same_layout(one: CompiledProgram, other: CompiledProgram) -> bool:
    """Whether two transformers have the same tensors, outputs, and heads and neurons for every line."""
    shapes = ({name: tensor.shape for name, tensor in compiled.weights.items()} for compiled in (one, other))
    alike = one.config == other.config and one.output_names == other.output_names
    return alike and one.provenance == other.provenance and next(shapes) == next(shapes)


def _with_line(original: CompiledProgram, changed: CompiledProgram, line: str) -> dict[str, Tensor]:
    """The original's weights, the heads and neurons of one line replaced by those of another transformer."""
    out = {name: tensor.clone() for name, tensor in original.weights.items()}
    for name, place in entries_of(original, line):
        out[name][place] = changed.weights[name][place]
    return out


def entries_of(compiled: CompiledProgram, line: str) -> Iterator[tuple[str, tuple[int | slice, ...]]]:
    """Where the weights of a line's heads and neurons stand: a tensor's name and an index into it."""
    for component in components(compiled)[line]:
        at = f"blocks.{component.layer}."
        if component.kind == "head":
            yield from ((f"{at}attn.{name}", (component.start,)) for name in OF_A_HEAD)
        elif component.kind == "neurons":
            neurons = slice(component.start, component.stop)
            yield f"{at}mlp.W_in", (slice(None), neurons)
            yield from ((f"{at}mlp.{name}", (neurons,)) for name in ("b_in", "W_out"))


def _edit(
    target_id: str, way: Way, what: str, original: CompiledProgram, changed: CompiledProgram, edited: Target
) -> Edit | None:
    """The edit, measured; None if the edited target does not compute the changed program on every input."""
    before, after = original.program, changed.program
    ids, lengths = judged(before)
    if not computes(edited, after, ids, lengths).all():
        return None
    changed_share = float(differ(before, after, ids, lengths).mean())
    return Edit(
        id=target_id,
        way=way,
        what=what,
        before=before,
        after=after,
        original=target_of(original),
        edited=edited,
        changed=changed_share,
        follows_before=1 - changed_share,
        follows_after=1.0,
        follows_where_changed=1.0,
    )
