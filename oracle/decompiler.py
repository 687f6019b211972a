"""Weights to the text of a program by the small decoder, without a language model: loaded, saved, asked.

A folder holds decoder_config.json (sizes, what it was trained on, what it reached) and decoder.safetensors (bfloat16).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from oracle.bases import FLOWCHARTS
from oracle.batch import WeightBatch, collate
from oracle.checked import built, checked_sizes
from oracle.config import EncoderConfig
from oracle.decoder import DecoderConfig, TextCodec, WeightDecoder, Written
from oracle.neutral import Neutral, fold
from oracle.order import in_order
from oracle.rivals import ENCODERS
from oracle.route_encoder import RouteEncoder
from tracr_tasks.errors import InputError, OracleError
from zoo.files import read_json, shown, write_atomic
from zoo.target import Target

CONFIG_FILE, WEIGHTS_FILE = "decoder_config.json", "decoder.safetensors"
MAX_PARAMETERS = 1_000_000
"""Largest target that is read: far beyond any it was trained on."""


def new_decoder(encoder: str, weights: EncoderConfig, decoder: DecoderConfig) -> WeightDecoder:
    """An untrained decoder over an encoder, which is one of `oracle.rivals.ENCODERS`, by its name.

    Raises:
        InputError: no such encoder.
    """
    if encoder not in ENCODERS:
        raise InputError(f"encoder = '{encoder}', expected one of {', '.join(ENCODERS)}")
    return WeightDecoder(decoder, ENCODERS[encoder](weights, decoder.d_model, math.sqrt(decoder.d_model)))


def read_batch(codec: TextCodec, targets: Sequence[Target]) -> WeightBatch:
    """Targets, folded, with the names of their labels as the decoder's pieces."""
    labels = [codec.label_ids(t.vocab.input, t.config.n_ctx, t.vocab.output) for t in targets]
    return collate([in_order(fold(t.config, t.weights)) for t in targets], labels)


class Decompiler:
    """A trained decoder; `facts` is what decoder_config.json says."""

    def __init__(self, decoder: WeightDecoder, facts: dict[str, Any]):
        self.decoder, self.facts = decoder.eval(), facts

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None) -> Decompiler:
        """Load a decoder's folder; the one that ships with the package if no path is given.

        Raises:
            OracleError: a missing or damaged folder.
        """
        folder = FLOWCHARTS if path is None else Path(path)
        if not (folder / CONFIG_FILE).is_file():
            raise OracleError(f"{shown(folder, 300)}: no {CONFIG_FILE}; expected the folder of a trained decoder")
        facts = read_json(folder / CONFIG_FILE, 1 << 20, OracleError)
        decoder = _described(facts, shown(folder / CONFIG_FILE, 300), folder / WEIGHTS_FILE)
        return cls(decoder, facts)

    def save_pretrained(self, path: Path | str) -> None:
        """Write the weights in bfloat16 and, last, the configuration: a half-saved decoder has none."""
        from safetensors.torch import save

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: tensor.detach().cpu().to(torch.bfloat16).contiguous()
            for name, tensor in self.decoder.state_dict().items()
        }
        write_atomic(folder / WEIGHTS_FILE, [save(weights)])
        write_atomic(folder / CONFIG_FILE, [(json.dumps(self.facts, indent=1) + "\n").encode()])

    def decompile(self, targets: Sequence[Target]) -> list[Written]:
        """The likeliest program of each target, piece after piece, and the log-probability (nats) of its text.

        Raises:
            InputError: a target of more than `MAX_PARAMETERS` parameters, or weights whose products are not finite.
        """
        for target in targets:
            check_size(target)
        return finite(self.decoder.write(read_batch(self.decoder.codec, targets)) if targets else [])

    @property
    def by_routes(self) -> bool:
        """Whether it reads small targets alone, by their routes."""
        return isinstance(self.decoder.encoder, RouteEncoder)

    def reads(self, target: Neutral) -> bool:
        """Whether it can read a folded target."""
        return not self.by_routes or target.routes is not None


def check_size(target: Target) -> None:
    """A target is not too large to be read.

    Raises:
        InputError: it is.
    """
    if target.n_parameters > MAX_PARAMETERS:
        raise InputError(f"target of {target.n_parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")


def finite(written: list[Written]) -> list[Written]:
    """What was written, if all of it came from finite numbers.

    Raises:
        InputError: it did not.
    """
    for number, each in enumerate(written, 1):
        if not math.isfinite(each.log_prob):
            raise InputError(f"target {number}: expected weights whose products are finite in float32")
    return written


def _described(facts: Any, where: str, path: Path) -> WeightDecoder:
    """The decoder that a configuration describes, with the weights of a file.

    Raises:
        OracleError: a field is missing or out of range, or the weights are not those of such a decoder.
    """
    where = f"{where}: not what a trained decoder has"
    if not isinstance(facts, dict) or not {"encoder", "weights", "decoder"} <= facts.keys():
        raise OracleError(f"{where}: expected the fields encoder, weights and decoder")
    if not isinstance(kind := facts["encoder"], str) or kind not in ENCODERS:
        raise OracleError(f"{where}: encoder = {shown(repr(kind))}, expected one of {', '.join(ENCODERS)}")
    weights = checked_sizes(EncoderConfig, facts["weights"], f"{where}: weights")
    sizes = checked_sizes(DecoderConfig, facts["decoder"], f"{where}: decoder")
    return built(lambda: new_decoder(kind, weights, sizes), path, where, "encoder.")


def facts_of(encoder: str, weights: EncoderConfig, decoder: DecoderConfig, **more: Any) -> dict[str, Any]:
    """What decoder_config.json says of a decoder: what `new_decoder` needs to build it again, and more."""
    return {"encoder": encoder, "weights": asdict(weights), "decoder": asdict(decoder), **more}
