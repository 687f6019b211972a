"""Models that Tracr compiled: its Haiku parameters beside a tracr.json with residual labels and encodings.

params.npz or params.safetensors holds, under Haiku's names (a '/' may be a '.'):

    token_embed.embeddings                              [tokens, residual]
    pos_embed.embeddings                                [max_seq_len + 1, residual]     position 0 is that of BOS
    transformer/layer_{l}/attn/{query,key,value}.w, .b  [residual, num_heads * key_size]
    transformer/layer_{l}/attn/linear.w, .b             [num_heads * key_size, residual]
    transformer/layer_{l}/mlp/linear_1.w, .b            [residual, mlp_hidden_size]     linear_2 back

tracr.json is an object of

    format, version                 "tracr", 1
    num_layers, num_heads, key_size, mlp_hidden_size, causal
                                    as in Tracr's TransformerConfig
    max_seq_len                     longest input, BOS not counted
    input_encoding                  the token of each id, in order: strings, numbers, booleans
    bos_token, pad_token            two of them
    output_encoding                 the value of each output in order, or null where the output is a number
    residual_labels                 a name for each direction of the residual stream
    unembed                         the label of the direction that each output is read from; one, where it is a number

Tracr has its unembedding in code: an output's logit is one residual direction, so W_U is zeros and ones. Rows of
token_embed are reordered so that BOS comes first and PAD second, as in every target here; nothing else is changed.
Tracr never masks PAD, so neither does the target (pad_token is null), and it answers sequences of one length at a time.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from tracr_tasks.errors import TargetError
from tracr_tasks.exact import format_value
from tracr_tasks.transformer import TargetConfig
from zoo.files import shown
from zoo.readers.checkpoint import Checkpoint, SafetensorsCheckpoint, inside
from zoo.readers.fields import Fields
from zoo.readers.npz import NpzCheckpoint
from zoo.readers.source import Layout, Read, Source, Tensors
from zoo.target import Vocab
from zoo.target_files import MAX_LAYERS, config_from_json, refused

TRACR_FILE = "tracr.json"
PARAMS = "params"
VERSION = 1
MAX_LABELS = 100_000
SIDES = {"Q": "query", "K": "key", "V": "value"}
FIELDS = (
    *("format", "version", "num_layers", "num_heads", "key_size", "mlp_hidden_size", "causal", "max_seq_len"),
    *("input_encoding", "bos_token", "pad_token", "output_encoding", "residual_labels", "unembed"),
)


def from_tracr(folder: Path) -> Source:
    """The source in a folder with an export of Tracr's.

    Raises:
        TargetError: a field or an array is missing, unexpected or does not fit the others.
    """
    folder = Path(folder)
    fields = Fields.read(inside(folder, TRACR_FILE, folder))
    fields.choice("format", {"tracr": True})
    fields.integer("version", None, VERSION, VERSION)
    if unknown := sorted(set(fields.values) - set(FIELDS)):
        raise TargetError(f"{fields.where}: unknown field '{shown(unknown[0])}', expected {', '.join(FIELDS)}")
    order, inputs = _inputs(fields)
    outputs = _outputs(fields)
    directions = _directions(fields, len(outputs))
    config = _config(fields, len(inputs), len(outputs))
    layout = Layout(
        embedding=lambda read, c: embedding(read, c, order),
        block=block,
        unembedding=lambda _, c: {"unembed.W_U": torch.eye(c.d_model)[:, directions]},
    )
    return Source(config, _checkpoint(folder), layout, lambda: Vocab(inputs, outputs))


def embedding(read: Read, c: TargetConfig, order: list[int]) -> Tensors:
    """token_embed, its rows in the order of the vocabulary, and pos_embed."""
    return {
        "embed.W_E": read("token_embed.embeddings", c.d_vocab, c.d_model)[order],
        "pos_embed.W_pos": read("pos_embed.embeddings", c.n_ctx, c.d_model),
    }


def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
    """layer_{layer}: Haiku's linear layers are [in, out], as ours are; heads lie side by side."""
    d, h, k, m = c.d_model, c.n_heads, c.d_head, c.d_mlp
    at, to = f"transformer.layer_{layer}.", f"blocks.{layer}."
    out: Tensors = {}
    for side, name in SIDES.items():
        out[f"{to}attn.W_{side}"] = read(f"{at}attn.{name}.w", d, h * k).view(d, h, k).transpose(0, 1)
        out[f"{to}attn.b_{side}"] = read(f"{at}attn.{name}.b", h * k).view(h, k)
    out[to + "attn.W_O"] = read(at + "attn.linear.w", h * k, d).view(h, k, d)
    out[to + "attn.b_O"] = read(at + "attn.linear.b", d)
    for name, ours, rows, columns in (("linear_1", "in", d, m), ("linear_2", "out", m, d)):
        out[f"{to}mlp.W_{ours}"] = read(f"{at}mlp.{name}.w", rows, columns)
        out[f"{to}mlp.b_{ours}"] = read(f"{at}mlp.{name}.b", columns)
    return out


def _config(fields: Fields, n_inputs: int, n_outputs: int) -> TargetConfig:
    """Tracr's sizes as a configuration; no norm, ReLU, biases everywhere but at the outputs."""
    values = {
        "d_model": len(fields.texts("residual_labels", MAX_LABELS)),
        "n_layers": fields.integer("num_layers", None, 0, MAX_LAYERS),
        "n_heads": fields.integer("num_heads"),
        "d_head": fields.integer("key_size"),
        "d_mlp": fields.integer("mlp_hidden_size"),
        "n_ctx": fields.integer("max_seq_len") + 1,
        "d_vocab": n_inputs,
        "d_vocab_out": n_outputs,
        "attention_dir": "causal" if fields.flag("causal", False) else "bidirectional",
        "output": "numerical" if fields.values.get("output_encoding") is None else "categorical",
        "unembed_bias": False,
    }
    return config_from_json(values, fields.path)


def _inputs(fields: Fields) -> tuple[list[int], tuple[str, ...]]:
    """Tracr's id of each of our tokens, and their names: BOS, PAD, the others in Tracr's order."""
    tokens = _values(fields, "input_encoding")
    special = []
    for field in ("bos_token", "pad_token"):
        value = fields.values.get(field)
        places = [i for i, token in enumerate(tokens) if type(token) is type(value) and token == value]
        if len(places) != 1:
            raise refused(fields.where, field, value, "one of input_encoding")
        special += places
    if special[0] == special[1]:
        raise refused(fields.where, "pad_token", fields.values["pad_token"], "another token than bos_token")
    rest = [i for i in range(len(tokens)) if i not in special]
    return [*special, *rest], _names(fields, "input_encoding", ["BOS", "PAD", *(tokens[i] for i in rest)])


def _outputs(fields: Fields) -> tuple[str, ...]:
    """Names of the outputs."""
    if "output_encoding" in fields.values and fields.values["output_encoding"] is None:
        return ("value",)
    return _names(fields, "output_encoding", _values(fields, "output_encoding"))


def _directions(fields: Fields, n_outputs: int) -> list[int]:
    """The residual direction that each output is read from."""
    labels, wanted = fields.texts("residual_labels", MAX_LABELS), fields.texts("unembed", MAX_LABELS)
    if len(wanted) != n_outputs:
        raise TargetError(f"{fields.where}: unembed has {len(wanted)} labels, expected {n_outputs}")
    for label in wanted:
        if (count := labels.count(label)) != 1:
            raise TargetError(f"{fields.where}: unembed '{shown(label)}' is {count} of residual_labels, expected one")
    return [labels.index(label) for label in wanted]


def _values(fields: Fields, name: str) -> list[Any]:
    values = fields.values.get(name)
    if not isinstance(values, list) or not 0 < len(values) <= MAX_LABELS or not all(map(_is_value, values)):
        raise refused(fields.where, name, values, f"a list of 1 to {MAX_LABELS} strings and finite numbers")
    return values


def _is_value(value: Any) -> bool:
    return math.isfinite(value) if type(value) is float else type(value) in (str, int, bool, type(None))


def _names(fields: Fields, name: str, values: list[Any]) -> tuple[str, ...]:
    """Values as tokens are written here; two of one name cannot be told apart."""
    names = tuple(map(format_value, values))
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise TargetError(f"{fields.where}: {name} has two values that are written '{shown(twice)}'")
    return names


def _checkpoint(folder: Path) -> Checkpoint:
    """The parameters, in either kind of file."""
    for suffix in (".safetensors", ".npz"):
        if (folder / (PARAMS + suffix)).exists():
            path = inside(folder, PARAMS + suffix, folder)
            return NpzCheckpoint(path) if suffix == ".npz" else SafetensorsCheckpoint(folder, r"(?!)", path.name)
    raise TargetError(
        f"{shown(folder, 300)}: neither {PARAMS}.npz nor {PARAMS}.safetensors, expected one beside {TRACR_FILE}"
    )
