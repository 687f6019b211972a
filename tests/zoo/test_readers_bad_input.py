"""Folders that must be refused, each by one line that names the file, tensor or field, what was got and expected."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig
from zoo.files import safetensors_bytes
from zoo.readers import open_source
from zoo.readers import source as source_module
from zoo.readers.gpt2 import FAMILY as GPT2
from zoo.readers.llama import FAMILY as LLAMA

GPT2_FIELDS = {"model_type": "gpt2", "vocab_size": 5, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 2}
LLAMA_FIELDS = {
    "model_type": "llama",
    "vocab_size": 5,
    "max_position_embeddings": 8,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 7,
}
Spoil = Callable[[Path], object]


def write_model(folder: Path, fields: dict[str, Any]) -> None:
    """A random model with the tensors that its family's layout asks for."""
    from zoo.readers.fields import Fields

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    family = GPT2 if fields["model_type"] == "gpt2" else LLAMA
    config = source_module.TargetConfig(**family.config(Fields(fields, folder)))
    asked: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)

    def read(name: str, *shape: int) -> torch.Tensor:
        stored = name if name in family.layout.heads else family.layout.prefix + name
        asked[stored] = rng.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(asked[stored])

    family.layout.embedding(read, config)
    family.layout.block(read, config, 0)
    family.layout.unembedding(read, config)
    (folder / "model.safetensors").write_bytes(b"".join(safetensors_bytes(asked, {})))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("models")
    for fields in (GPT2_FIELDS, LLAMA_FIELDS):
        write_model(top / fields["model_type"], fields)
    return {path.name: path for path in top.iterdir()}


def config(**changes: Any) -> Spoil:
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    def apply(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors")

    return apply


def index(**weight_map: str) -> Spoil:
    """The weights in one shard called shard.safetensors, with some entries of the index changed."""

    def apply(folder: Path) -> None:
        names = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").rename(folder / "shard.safetensors")
        found = dict.fromkeys(names, "shard.safetensors") | {n.replace("__", "."): f for n, f in weight_map.items()}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": found}))

    return apply


def then(*spoils: Spoil) -> Spoil:
    return lambda folder: [spoil(folder) for spoil in spoils]


def link_out(name: str) -> Spoil:
    def apply(folder: Path) -> None:
        outside = folder.parent / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return apply


def to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def fifo(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def index_file(value: Any) -> Spoil:
    def apply(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(value))

    return apply


def dtype_of(name: str, dtype: torch.dtype) -> Spoil:
    return tensors(lambda held: held.update({name: held[name].to(dtype)}))


WTE = "transformer.wte.weight"
QKV = "transformer.h.0.attn.c_attn.weight"
ROPE = {"rope_theta": 10_000.0, "rope_type": "yarn", "factor": 2.0}
BAD: dict[str, tuple[str, Spoil, str]] = {
    "empty folder": ("gpt2", lambda f: [p.unlink() for p in f.iterdir()], "config.json: no such file"),
    "no weights": ("gpt2", lambda f: (f / "model.safetensors").unlink(), "model.safetensors: no such file"),
    "pickle": ("gpt2", to_pickle, "pytorch_model.bin: a pickle is refused unread, expected model.safetensors; convert"),
    "pickle renamed": (
        "gpt2",
        lambda f: (f / "model.safetensors").write_bytes(pickle.dumps({"a": 1})),
        "a pickle or zip, refused unread",
    ),
    "pickle without config": ("gpt2", then(to_pickle, lambda f: (f / "config.json").unlink()), "a pickle is refused"),
    "fifo": ("gpt2", fifo, "model.safetensors: not a regular file"),
    "config not JSON": ("gpt2", lambda f: (f / "config.json").write_text("{"), "config.json: not valid JSON"),
    "config a list": ("gpt2", lambda f: (f / "config.json").write_text("[]"), "got list, expected an object"),
    "config of nothing": ("gpt2", lambda f: (f / "config.json").write_text("{}"), "neither model_type nor d_model"),
    "custom code": ("gpt2", config(auto_map={"AutoModel": "evil.Model"}), "auto_map names custom code"),
    "unknown family": (
        "gpt2",
        config(model_type="mixtral"),
        "model_type = 'mixtral', expected one of gpt2, gpt_neox, llama, qwen2, qwen3",
    ),
    "family of another type": ("gpt2", config(model_type=["gpt2"]), "model_type = "),
    "quantised": (
        "llama",
        config(quantization_config={"bits": 4}),
        "quantization_config = {'bits': 4}, expected nothing",
    ),
    "many layers": ("gpt2", config(n_layer=100_000), "n_layer = 100000, expected an integer from 0 to 1000"),
    "negative": ("gpt2", config(n_embd=-6), "n_embd = -6, expected an integer from 1 to 1000000"),
    "text for a number": ("gpt2", config(n_embd="6"), "n_embd = '6'"),
    "true for a number": ("gpt2", config(n_positions=True), "n_positions = True"),
    "heads that do not divide": ("gpt2", config(n_head=4), "n_head = 4, expected a divisor of n_embd, which is 6"),
    "eps": ("gpt2", config(layer_norm_epsilon=float("nan")), "layer_norm_epsilon = nan, expected a number from 0 to 1"),
    "activation": ("gpt2", config(activation_function="tanh"), "activation_function = 'tanh', expected one of relu"),
    "layers scaled": ("gpt2", config(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx = True"),
    "cross attention": (
        "gpt2",
        config(add_cross_attention=True),
        "add_cross_attention = True, expected nothing or False",
    ),
    "yarn": ("llama", config(rope_parameters=ROPE), "rope_type = 'yarn', expected one of default, linear, llama3"),
    "dynamic, old": ("llama", config(rope_scaling={"type": "dynamic", "factor": 2.0}), "rope_type = 'dynamic'"),
    "rope of lists": ("llama", config(rope_scaling=[1]), "rope_scaling = [1], expected an object"),
    "rope of layers": ("llama", config(rope_parameters={"full_attention": {}}), "unknown field 'full_attention'"),
    "part of a head": ("llama", config(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
    "linear without factor": ("llama", config(rope_scaling={"type": "linear"}), "field 'factor' is missing"),
    "base": ("llama", config(rope_theta=0), "rope_theta = 0, expected a number from 1 to 1e+12"),
    "odd head": ("llama", config(head_dim=3), "rotary_dim = 3, expected an even number up to d_head"),
    "groups": ("llama", config(num_key_value_heads=3), "num_key_value_heads = 3, expected a divisor"),
    "window": (
        "llama",
        config(model_type="qwen2", use_sliding_window=True, sliding_window=7, max_window_layers=0),
        "sliding_window = 7, expected at least the context of 8",
    ),
    "layer types": ("llama", config(model_type="qwen3", layer_types=["linear_attention"]), "layer_types = 'linear_att"),
    "missing": ("gpt2", tensors(lambda t: t.pop(QKV)), f"tensor '{QKV}' is missing, expected with shape [6, 18]"),
    "unexpected": ("gpt2", tensors(lambda t: t.update(score=torch.ones(1))), "tensor 'score' is unexpected"),
    "deeper than it says": (
        "gpt2",
        tensors(lambda t: t.update({"transformer.h.1.ln_1.bias": torch.ones(6)})),
        "tensor 'transformer.h.1.ln_1.bias' is unexpected for 1 layers",
    ),
    "transposed": (
        "gpt2",
        tensors(lambda t: t.update({QKV: torch.ones(18, 6)})),
        f"tensor '{QKV}' has shape [18, 6], expected [6, 18]",
    ),
    "wider than it says": ("llama", config(hidden_size=16), "has shape [5, 8], expected [5, 16]"),
    "no head": ("llama", tensors(lambda t: t.pop("lm_head.weight")), "tensor 'lm_head.weight' is missing"),
    "other head": (
        "gpt2",
        tensors(lambda t: t.update({"lm_head.weight": t[WTE] + 1})),
        f"tensor 'lm_head.weight' differs from '{WTE}', expected the same numbers: tie_word_embeddings is true",
    ),
    "head of another shape": (
        "gpt2",
        tensors(lambda t: t.update({"lm_head.weight": torch.ones(4, 6)})),
        "tensor 'lm_head.weight' has shape [4, 6], expected [5, 6]",
    ),
    "NaN": ("gpt2", tensors(lambda t: t[WTE].__setitem__((2, 3), torch.nan)), f"tensor '{WTE}' holds nan at [2, 3]"),
    "Inf": ("llama", tensors(lambda t: t["lm_head.weight"].__setitem__((1, 0), torch.inf)), "holds inf at [1, 0]"),
    "integers": ("gpt2", dtype_of(WTE, torch.int32), "dtype I32, expected one of F64, F32, F16, BF16"),
    "bytes": ("gpt2", dtype_of(WTE, torch.uint8), f"tensor '{WTE}': dtype U8, expected one of"),
    "eight-bit floats": ("gpt2", dtype_of(WTE, torch.float8_e4m3fn), "dtype F8_E4M3, expected one of"),
    "bytes beside a mask": (
        "gpt2",
        then(tensors(lambda t: t.update({"h.0.attn.bias": torch.ones(4).bool()})), dtype_of(WTE, torch.uint8)),
        f"tensor '{WTE}': dtype U8",
    ),
    "cut short beside a mask": (
        "gpt2",
        then(
            tensors(lambda t: t.update({"h.0.attn.bias": torch.ones(4).bool()})),
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
        ),
        "cut short",
    ),
    "index outside": (
        "gpt2",
        index(transformer__wte__weight="../outside.safetensors"),
        "file '../outside.safetensors'",
    ),
    "index to root": ("gpt2", index(transformer__wte__weight="/etc/passwd"), "file '/etc/passwd', expected the name"),
    "index of nothing": ("gpt2", index(transformer__wte__weight=""), "file '', expected the name of a file"),
    "index with escapes": ("gpt2", index(transformer__wte__weight="a\x1b[31m"), r"file 'a\x1b[31m'"),
    "missing shard": ("gpt2", index(transformer__wte__weight="none.safetensors"), "none.safetensors: no such file"),
    "shard through a link": (
        "gpt2",
        then(index(), link_out("shard.safetensors")),
        "a link that leads out of the folder",
    ),
    "index names more": ("gpt2", index(other="shard.safetensors"), "tensor 'other' is not in shard.safetensors"),
    "index not JSON": ("gpt2", index_file("x"), "expected an object weight_map of tensor names and file names"),
    "index of lists": ("gpt2", index_file({"weight_map": {"a": ["b"]}}), "expected an object weight_map"),
    "weights through a link": ("gpt2", link_out("model.safetensors"), "model.safetensors: a link that leads out"),
    "config through a link": ("gpt2", link_out("config.json"), "config.json: a link that leads out"),
    "tokenizer through a link": (
        "gpt2",
        then(lambda f: (f / "tokenizer.json").write_text("{}"), link_out("tokenizer.json")),
        "tokenizer.json: a link that leads out",
    ),
    "tokenizer of lists": (
        "gpt2",
        lambda f: (f / "tokenizer.json").write_text("[]"),
        "an object of tokens and their ids",
    ),
    "vocab of lists": ("gpt2", lambda f: (f / "vocab.json").write_text('{"a": "0"}'), "vocab.json: expected an object"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_are_refused_in_one_line(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    kind, spoil, message = BAD[name]
    folder = tmp_path / "model"
    shutil.copytree(models[kind], folder)
    open_source(folder).to_target()
    spoil(folder)
    began = time.monotonic()
    with pytest.raises(TargetError) as caught:
        open_source(folder).to_target()
    assert time.monotonic() - began < 2
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(folder) in str(caught.value)


def test_what_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(TargetError, match="expected a folder"):
            open_source(path)


def test_a_target_too_large_to_be_read_at_once_streams(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.target_files.MAX_PARAMETERS", 100)
    source = open_source(models["gpt2"])
    assert source.block(0)
    with pytest.raises(TargetError, match=r"\d+ parameters, expected at most 100"):
        source.to_target()


def test_weights_are_checked_when_they_are_read(models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models["gpt2"], folder)
    tensors(lambda t: t["transformer.ln_f.bias"].fill_(torch.nan))(folder)
    source = open_source(folder)
    assert isinstance(source.config, TargetConfig) and source.block(0)
    with pytest.raises(TargetError, match=r"tensor 'transformer.ln_f.bias' holds nan at \[0\]"):
        source.unembedding()
