"""A target: configuration, weights and the names of its tokens; saved as config.json, model.safetensors, vocab.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.exact import format_value
from tracr_tasks.transformer import TargetConfig, forward
from zoo.files import read_json, safetensors_bytes, shown, write_atomic
from zoo.target_files import CONFIG_FILE, VOCAB_FILE, WEIGHTS_FILE, check_weights, config_from_json, read_weights

BOS, PAD = 0, 1
"""Token ids of the first position and of padding, where the configuration says `default_prepend_bos`."""
MAX_VOCAB_BYTES = 16 << 20
"""Size of vocab.json."""
MAX_DENOMINATOR = 300
"""Of the fractions that a numerical output is taken for."""
TOLERANCE = 3e-6
"""How far (relatively, beyond 1) the output may be from the fraction."""


@dataclass(frozen=True)
class Vocab:
    """Names of the rows of W_E and of the columns of W_U."""

    input: tuple[str, ...]
    """Input tokens; the first two are BOS and PAD where the configuration says `default_prepend_bos`."""
    output: tuple[str, ...]
    """Output tokens, or ("value",) for a numerical output."""


@dataclass(frozen=True, eq=False)
class Target:
    """A transformer whose weights are read."""

    config: TargetConfig
    weights: Mapping[str, Tensor]
    vocab: Vocab

    @property
    def n_parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.numel() for tensor in self.weights.values())

    def encode(self, sequences: Sequence[Sequence[str]]) -> Int[Tensor, "batch pos"]:
        """Token ids of sequences of token names: BOS first where the target has one, PAD to the longest.

        Raises:
            TargetError: an unknown token, a sequence longer than fits n_ctx, or different lengths without a PAD.
        """
        index = {token: i for i, token in enumerate(self.vocab.input)}
        lengths = {len(sequence) for sequence in sequences}
        longest, pad, start = max(lengths, default=0), self.config.pad_token, self._start
        if longest + len(start) > self.config.n_ctx:
            raise TargetError(f"a sequence of {longest} tokens, expected at most {self.config.n_ctx - len(start)}")
        if pad is None and len(lengths) > 1:
            raise TargetError(f"sequences of {min(lengths)} to {longest} tokens, expected one length: no token is PAD")
        if unknown := sorted({token for sequence in sequences for token in sequence} - set(index)):
            raise TargetError(f"token '{shown(unknown[0])}' is not in the target's vocabulary")
        rows = [[*start, *(index[t] for t in s)] + [pad or 0] * (longest - len(s)) for s in sequences]
        return torch.tensor(rows, dtype=torch.long).reshape(len(sequences), longest + len(start))

    @property
    def _start(self) -> list[int]:
        """What stands before every sequence."""
        return [BOS] if self.config.default_prepend_bos else []

    def run(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab_out"]:
        """Logits at every position; ids are as `encode` gives them."""
        with torch.no_grad():
            return forward(self.config, self.weights, ids)

    def answers(self, ids: Int[Tensor, "batch pos"]) -> list[list[str]]:
        """What the target says to each sequence, by name: one answer, or one for each position but BOS and PAD."""
        logits = self.run(ids)
        if self.config.read_out == "first":
            return [self._names(row[:1]) for row in logits]
        first, pad = len(self._start), self.config.pad_token
        ends = (first + (ids[:, first:] != (-1 if pad is None else pad)).sum(1)).tolist()
        if self.config.read_out == "last":
            return [self._names(row[end - 1 : end]) for row, end in zip(logits, ends, strict=True)]
        return [self._names(row[first:end]) for row, end in zip(logits, ends, strict=True)]

    def _names(self, logits: Float[Tensor, "pos d_vocab_out"]) -> list[str]:
        """Names of the arg-max outputs, or the numbers of a numerical output."""
        if self.config.output == "numerical":
            return [number_name(value) for value in logits[:, 0].tolist()]
        return [self.vocab.output[i] for i in logits.argmax(-1).tolist()]

    def save(self, directory: Path) -> None:
        """Write the three files, each at once or not at all; the weights last, so that a half-saved target has none."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        names = {"input": self.vocab.input, "output": self.vocab.output}
        tensors = {name: tensor.detach().cpu().float().numpy() for name, tensor in self.weights.items()}
        write_atomic(directory / CONFIG_FILE, [_json(self.config.to_json())])
        write_atomic(directory / VOCAB_FILE, [_json(names)])
        write_atomic(directory / WEIGHTS_FILE, safetensors_bytes(tensors, {}))

    @classmethod
    def load(cls, directory: Path) -> Target:
        """Read a target's folder; every part is checked before it is used.

        Raises:
            TargetError: one line with the file, the field or tensor, what was got and what was expected.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise TargetError(f"{shown(directory, 300)}: expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
        arrays = read_weights(directory)
        path = directory / CONFIG_FILE
        config = config_from_json(read_json(path, 1 << 20, TargetError), path)
        check_weights(config, {name: array.shape for name, array in arrays.items()}, directory / WEIGHTS_FILE)
        vocab = load_vocab(directory / VOCAB_FILE, config)
        return cls(config, {name: torch.from_numpy(array) for name, array in arrays.items()}, vocab)


def number_name(value: float) -> str:
    """A numerical output by name: the simplest fraction within 3e-6, as `format_value` writes it, else 4 decimals.

    A compiled program's numbers are such fractions, and float32 came within 6e-7 of them (150 random programs).
    """
    slack = TOLERANCE * max(1.0, abs(value))
    if slack < 0.25 and abs(abs(value) - (whole := round(abs(value)))) <= slack:  # most are whole
        return format_value(-whole if value < 0 else whole)
    low, high = Fraction(abs(value)) - Fraction(slack), Fraction(abs(value)) + Fraction(slack)
    near = simplest_between(low, high) * (-1 if value < 0 else 1)
    if near.denominator > MAX_DENOMINATOR:
        return format_value(round(value, 4))
    return format_value(near.numerator if near.denominator == 1 else near.numerator / near.denominator)


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest denominator in [low, high], both positive or around 0, by continued fractions."""
    whole = max(0, math.ceil(low))
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / simplest_between(1 / (high - (whole - 1)), 1 / (low - (whole - 1)))


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def load_vocab(path: Path, config: TargetConfig) -> Vocab:
    """The names in a target's vocab.json.

    Raises:
        TargetError: not two lists of as many names as the configuration says.
    """
    fields = read_json(path, MAX_VOCAB_BYTES, TargetError)
    where = shown(path, 300)
    if not isinstance(fields, dict) or set(fields) != {"input", "output"}:
        raise TargetError(f"{where}: expected an object with the fields input and output")
    for field, size in (("input", config.d_vocab), ("output", config.d_vocab_out)):
        names = fields[field]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TargetError(f"{where}: {field} is not a list of strings")
        if len(names) != size:
            raise TargetError(f"{where}: {field} has {len(names)} names, expected {size} as in {CONFIG_FILE}")
    if config.default_prepend_bos and fields["input"][:2] != ["BOS", "PAD"]:
        got = [shown(name) for name in fields["input"][:2]]
        raise TargetError(f"{where}: input starts with {got}, expected ['BOS', 'PAD']")
    return Vocab(tuple(fields["input"]), tuple(fields["output"]))
