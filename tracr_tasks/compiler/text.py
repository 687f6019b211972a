"""From a program's text to a transformer, or to every reason why not: those of the text and those of the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracr_tasks import rasp
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Value
from tracr_tasks.reading import ReadText, read_program


def compile_text(
    text: str, vocab: Sequence[Value] | None = None, max_seq_len: int | None = None, causal: bool | None = None
) -> CompiledProgram:
    """Read and compile a program; what its header does not give must come from the arguments (which win).

    Raises:
        ProgramError: with every reason and its line of the text. Lines that can be read are also tried by the compiler
            where others cannot be read.
    """
    read = read_program(text, vocab, max_seq_len, causal)
    if not read.reasons:
        return compile_program(read.program())
    reasons = dict.fromkeys([*read.reasons, *_refused_by_the_compiler(read)])
    raise ProgramError(sorted(reasons, key=lambda reason: reason.line or 0))


def _refused_by_the_compiler(read: ReadText) -> Iterator[Reason]:
    """Why value inference refuses lines that could be read, over the tokens that a vocabulary may hold."""
    allowed = [token for token in dict.fromkeys(read.vocab or ()) if not rasp.vocabulary_reasons((token,), 1)]
    if not allowed or read.max_seq_len is None or read.max_seq_len < 1:
        return
    for found in read.names.values():
        output = rasp.SelectorWidth(found) if isinstance(found, rasp.Selector) else found
        assert isinstance(output, rasp.SOp)
        try:
            program = rasp.Program(output, tuple(allowed), read.max_seq_len, read.causal)
        except ProgramError as error:
            yield from error.reasons
        else:
            yield from Inference(program).run().reasons
