"""Assembly: layers of components become tensors.

BOS has a direction of its own. What components write at BOS is a constant, since BOS attends to itself alone; it is
found by running BOS through each finished layer, and every matrix that reads the stream gets a BOS row that subtracts
it. So all reads are zero at BOS, whatever stands there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tracr_tasks.compiler.components import Component, Head, Neurons, Read, Variable, Write
from tracr_tasks.compiler.lower import Lowered
from tracr_tasks.compiler.schedule import Layer
from tracr_tasks.exact import format_value
from tracr_tasks.rasp import Program
from tracr_tasks.transformer import TargetConfig

BOS, PAD = 0, 1
"""Rows of W_E."""
LEAKAGE = 1e-9
"""Attention that all keys not selected may take together."""
NONE_BIAS = 0.5
"""Logit of none, against 1 for a value that is there."""


@dataclass(frozen=True)
class Assembled:
    """Weights as float64 arrays, the configuration, and where everything went."""

    config: TargetConfig
    weights: dict[str, np.ndarray]
    residual_labels: tuple[str, ...]
    places: tuple[tuple[int, str], ...]
    """(node, component name) for each component."""


class Stream:
    """The residual stream: BOS first, then each variable's directions."""

    def __init__(self, variables: Iterable[Variable]):
        self.start: dict[Variable, int] = {}
        self.labels = ["BOS"]
        for variable in variables:
            if variable in self.start:
                continue
            self.start[variable] = len(self.labels)
            names = [""] if variable.values is None else [f"={format_value(value)}" for value in variable.values]
            self.labels += [variable.label + name for name in names]
        self.size = len(self.labels)
        self.at_bos = np.zeros(self.size)  # what stands at BOS, without BOS's own direction

    def read(self, reads: Sequence[Read], width: int) -> np.ndarray:
        """[d_model, width], zero at BOS."""
        matrix = np.zeros((self.size, width))
        for variable, part in reads:
            start = self.start[variable]
            matrix[start : start + variable.size] += part
        matrix[0] = -self.at_bos @ matrix
        return matrix

    def write(self, writes: Sequence[Write], width: int) -> np.ndarray:
        """[width, d_model]."""
        matrix = np.zeros((width, self.size))
        for variable, part in writes:
            start = self.start[variable]
            matrix[:, start : start + variable.size] += part
        return matrix


def assemble(program: Program, lowered: Lowered, layers: Sequence[Layer]) -> Assembled:
    """The tensors of a compiled program."""
    stream = Stream(_variables(lowered, layers))
    weights = _embeddings(program, lowered, stream)
    places: list[tuple[int, str]] = []
    sizes = []
    for index, layer in enumerate(layers):
        name = f"blocks.{index}"
        attention = _attention(layer.heads, stream, program.max_seq_len)
        stream.at_bos += _attention_at_bos(layer.heads, stream)
        mlp = _mlp(layer.groups, stream)
        stream.at_bos += np.maximum(mlp["b_in"], 0) @ mlp["W_out"] + mlp["b_out"]
        weights |= {f"{name}.attn.{key}": value for key, value in attention.items()}
        weights |= {f"{name}.mlp.{key}": value for key, value in mlp.items()}
        places += [(head.node, f"{name}.attn.head.{place}") for place, head in enumerate(layer.heads)]
        start = 0
        for group in layer.groups:
            stop = start + len(group.bias)
            places.append((group.node, f"{name}.mlp.neurons.{start}:{stop}"))
            start = stop
        sizes.append((len(layer.heads), attention["W_Q"].shape[-1], len(mlp["b_in"])))
    weights |= _unembedding(lowered, stream)
    heads, d_head, d_mlp = (max(size) for size in zip(*sizes, strict=True))
    config = TargetConfig(
        d_model=stream.size,
        n_layers=len(layers),
        n_heads=heads,
        d_head=d_head,
        d_mlp=d_mlp,
        n_ctx=program.max_seq_len + 1,
        d_vocab=len(program.vocab) + 2,
        d_vocab_out=weights["unembed.b_U"].shape[0],
        attention_dir="causal" if program.causal else "bidirectional",
        output="numerical" if lowered.output_values is None else "categorical",
        pad_token=PAD,
    )
    return Assembled(config, weights, tuple(stream.labels), tuple(places))


def _variables(lowered: Lowered, layers: Sequence[Layer]) -> Iterable[Variable]:
    for variable in (lowered.tokens, lowered.indices, *lowered.constants):
        if variable is not None:
            yield variable
    for layer in layers:
        components: tuple[Component, ...] = (*layer.heads, *layer.groups)
        for component in components:
            writes: tuple[Write, ...] = component.writes
            yield from (variable for variable, _ in writes)
    yield lowered.output[0]


def _embeddings(program: Program, lowered: Lowered, stream: Stream) -> dict[str, np.ndarray]:
    embed = np.zeros((len(program.vocab) + 2, stream.size))
    embed[BOS, 0] = 1
    if lowered.tokens is not None:
        assert lowered.tokens.values is not None
        for row, token in enumerate(program.exact_vocab):
            embed[2 + row, stream.start[lowered.tokens] + lowered.tokens.values.index(token)] = 1
    positions = np.zeros((program.max_seq_len + 1, stream.size))
    if lowered.indices is not None:
        start = stream.start[lowered.indices]
        positions[1:, start : start + lowered.indices.size] = np.eye(program.max_seq_len)
    for variable in lowered.constants:
        positions[1:, stream.start[variable]] = 1
    return {"embed.W_E": embed, "pos_embed.W_pos": positions}


def _attention(heads: Sequence[Head], stream: Stream, length: int) -> dict[str, np.ndarray]:
    """A layer's attention. Each score is exact up to one rounding: query and key share the temperature's square root.

    The temperature makes the leakage to keys that are half a term below BOS, or BOS above them, at most `LEAKAGE`,
    and undoes the division of scores by the square root of d_head.
    """
    qk = max((head.width + head.everywhere + 1 for head in heads), default=0)
    vo = max((len(head.bos_value) for head in heads), default=0)
    n, d, d_head = len(heads), stream.size, max(qk, vo)
    out: dict[str, np.ndarray] = {name: np.zeros((n, d, d_head)) for name in ("W_Q", "W_K", "W_V")}
    out |= {name: np.zeros((n, d_head)) for name in ("b_Q", "b_K", "b_V")}
    out |= {"W_O": np.zeros((n, d_head, d)), "b_O": np.zeros(d)}
    temperature = 2 * math.log(2 * length / LEAKAGE)
    scale = math.sqrt(temperature * math.sqrt(max(1, d_head)))
    for i, head in enumerate(heads):
        width = head.width
        out["W_Q"][i, :, :width] = scale * stream.read(head.queries, width)
        out["W_K"][i, :, :width] = scale * stream.read(head.keys, width)
        if head.everywhere:
            for side in "QK":
                out[f"b_{side}"][i, width] = scale
                out[f"W_{side}"][i, 0, width] = -scale
            width += 1
        out["b_Q"][i, width] = scale
        out["W_K"][i, 0, width] = scale * head.bos_score
        size = len(head.bos_value)
        out["W_V"][i, :, :size] = stream.read(head.values, size)
        out["W_V"][i, 0, :size] += head.bos_value
        out["W_O"][i, :size] = stream.write(head.writes, size)
    return out


def _attention_at_bos(heads: Sequence[Head], stream: Stream) -> np.ndarray:
    """What heads write at BOS, which attends to itself: [d_model]."""
    total = np.zeros(stream.size)
    for head in heads:
        total += head.bos_value @ stream.write(head.writes, len(head.bos_value))
    return total


def _mlp(groups: Sequence[Neurons], stream: Stream) -> dict[str, np.ndarray]:
    """A layer's MLP, its groups side by side."""
    d = stream.size
    w_in = [stream.read(group.inputs, len(group.bias)) for group in groups]
    w_out = [stream.write(group.writes, len(group.bias)) for group in groups]
    constant = sum((stream.write(group.out_bias, 1)[0] for group in groups), np.zeros(d))
    return {
        "W_in": np.hstack([np.zeros((d, 0)), *w_in]),
        "b_in": np.concatenate([np.zeros(0), *(group.bias for group in groups)]),
        "W_out": np.vstack([np.zeros((0, d)), *w_out]),
        "b_out": constant,
    }


def _unembedding(lowered: Lowered, stream: Stream) -> dict[str, np.ndarray]:
    variable, matrix = lowered.output
    values = lowered.output_values
    width = 1 if values is None else len(values)
    unembed = np.zeros((stream.size, width))
    start = stream.start[variable]
    unembed[start : start + variable.size, : matrix.shape[1]] = matrix
    bias = np.zeros(width)
    if values is not None and values[-1] is None:
        bias[-1] = NONE_BIAS
    return {"unembed.W_U": unembed, "unembed.b_U": bias}
