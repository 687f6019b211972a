"""The compiler: program in, transformer out, exact on every input or refused with every reason.

trace     tracr_tasks.trace           nodes, each once, arguments first
infer     values, selectors, tables   possible values of each S-op, what is sure about each selector
lower     lower, heads, held          nodes -> heads and neurons over named variables
schedule  schedule                    heads and neurons -> layers
assemble  assemble                    layers -> tensors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.compiler.assemble import BOS, PAD, Assembled, assemble
from tracr_tasks.compiler.factors import map_chain, needed
from tracr_tasks.compiler.lower import Lowered, Lowering
from tracr_tasks.compiler.schedule import schedule
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import InputError
from tracr_tasks.exact import Exact, Value, exact, format_value, plain
from tracr_tasks.interpreter import check_tokens
from tracr_tasks.rasp import Program
from tracr_tasks.trace import Node
from tracr_tasks.transformer import TargetConfig, forward


@dataclass(frozen=True)
class CompiledProgram:
    """A program as a transformer."""

    program: Program
    config: TargetConfig
    weights: dict[str, Tensor]
    """float32, TransformerLens names (see `tracr_tasks.transformer`)."""
    input_names: tuple[str, ...]
    """Rows of W_E: BOS, PAD, then the vocabulary."""
    output_names: tuple[str, ...]
    """Columns of W_U; ("value",) for a number."""
    output_values: tuple[Value, ...] | None
    """The value that each column stands for; None for a number."""
    residual_labels: tuple[str, ...]
    """What each residual direction holds: BOS, tokens=a, indices=0, v2.share, out=1 ..."""
    provenance: dict[str, tuple[str, ...]]
    """Components of each line: blocks.0.attn.head.1, blocks.1.mlp.neurons.3:7, embed, pos_embed."""

    def encode(self, sequences: Sequence[Sequence[Value]]) -> np.ndarray:
        """Int[batch, max_seq_len + 1] input ids: BOS, the tokens, PAD.

        Raises:
            InputError: a sequence is empty, too long, or holds a token that is not in the vocabulary.
        """
        ids = np.full((len(sequences), self.config.n_ctx), PAD)
        ids[:, 0] = BOS
        place = {token: 2 + i for i, token in enumerate(self.program.exact_vocab)}
        for row, sequence in enumerate(sequences):
            check_tokens(self.program, sequence)
            ids[row, 1 : len(sequence) + 1] = [place[exact(token)] for token in sequence]
        return ids

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """Int[1, pos] input ids of one sequence given by names, BOS first.

        Raises:
            InputError: BOS is not first, the sequence is too long, or a name is not an input.
        """
        if not names or names[0] != self.input_names[BOS]:
            raise InputError(f"an input starts with {self.input_names[BOS]}, not with {list(names[:1])}")
        if len(names) > self.config.n_ctx:
            raise InputError(f"{len(names)} names where at most {self.config.n_ctx} with BOS were expected")
        strange = [name for name in names if name not in self.input_names]
        if strange:
            raise InputError(f"{strange[0]!r} is not among the inputs {list(self.input_names)}")
        return np.array([[self.input_names.index(name) for name in names]])

    def run(self, sequences: Sequence[Sequence[Value]]) -> list[list[Value]]:
        """What the transformer answers at each position of each sequence.

        Raises:
            InputError: a sequence is empty, too long, or holds a token that is not in the vocabulary.
        """
        logits = forward(self.config, self.weights, torch.from_numpy(self.encode(sequences)))
        answers = self.decode(logits)
        return [row[: len(sequence)] for row, sequence in zip(answers, sequences, strict=True)]

    def decode(self, logits: Float[Tensor, "batch pos d_vocab_out"]) -> list[list[Value]]:
        """The values that logits stand for, at every position after BOS."""
        if self.output_values is None:
            return logits[:, 1:, 0].tolist()
        return [[self.output_values[i] for i in row] for row in logits[:, 1:].argmax(-1).tolist()]


def compile_program(program: Program) -> CompiledProgram:
    """Compile a program. Its outputs equal the interpreter's on every input that the interpreter accepts.

    Raises:
        ProgramError: the program cannot be compiled exactly; holds every reason, with lines of `program.text()`.
    """
    inference = Inference(program).run()
    lowered = Lowering(inference).run()
    layers = schedule(lowered.components)
    assembled = assemble(program, lowered, layers)
    return _compiled(program, lowered, assembled)


def _compiled(program: Program, lowered: Lowered, assembled: Assembled) -> CompiledProgram:
    values: tuple[Exact, ...] | None = lowered.output_values
    return CompiledProgram(
        program=program,
        config=assembled.config,
        weights={k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in assembled.weights.items()},
        input_names=("BOS", "PAD", *map(format_value, program.vocab)),
        output_names=("value",) if values is None else tuple(map(format_value, values)),
        output_values=None if values is None else tuple(plain(value) for value in values),
        residual_labels=assembled.residual_labels,
        provenance=provenance(program.nodes, assembled.places),
    )


def provenance(nodes: Sequence[Node], places: Sequence[tuple[int, str]]) -> dict[str, tuple[str, ...]]:
    """Components by line. A selector's are the heads that use it; an annotation has none of its own.

    A map that only maps are applied to has the components of these maps.
    """
    names: dict[int, list[str]] = {place: [] for place in range(len(nodes))}
    for owner, component in places:
        names[owner].append(component)
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        for arg in node.args:
            if nodes[arg].is_selector:
                source = names[place]
                names[arg] += [name for name in source if ".attn." in name and name not in names[arg]]
    own = needed(nodes)
    for place in own:
        if nodes[place].op == "map":
            for inner in map_chain(nodes, place)[1:-1]:
                names[inner] += [name for name in names[place] if inner not in own]
    embedded = {"tokens": "embed", "indices": "pos_embed", "constant": "pos_embed"}
    for place, node in enumerate(nodes):
        if node.op in embedded:
            names[place].insert(0, embedded[node.op])
    return {node.name: tuple(names[place]) for place, node in enumerate(nodes)}
