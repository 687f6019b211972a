from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks.errors import TargetError
from tracr_tasks.exact import format_value
from tracr_tasks.transformer import TargetConfig, forward, shapes
from zoo.files import safetensors_bytes
from zoo.padding import pad_layers
from zoo.target import Target, Vocab, number_name

CONFIG = TargetConfig(
    d_model=6, n_layers=2, n_heads=2, d_head=3, d_mlp=5, n_ctx=5, d_vocab=5, d_vocab_out=3, pad_token=1
)
VOCAB = Vocab(("BOS", "PAD", "a", "b", "c"), ("x", "y", "z"))


def random_weights(config: TargetConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes(config).items()}


def ragged() -> Target:
    """Layer 1 has one head of two of width 2, and four of five neurons."""
    weights = random_weights(CONFIG)
    at = "blocks.1."
    for side in "QKV":
        weights[at + f"attn.W_{side}"] = weights[at + f"attn.W_{side}"][:1, :, :2]
        weights[at + f"attn.b_{side}"] = weights[at + f"attn.b_{side}"][:1, :2]
    weights[at + "attn.W_O"] = weights[at + "attn.W_O"][:1, :2]
    weights[at + "mlp.W_in"] = weights[at + "mlp.W_in"][:, :4]
    weights[at + "mlp.b_in"] = weights[at + "mlp.b_in"][:4]
    weights[at + "mlp.W_out"] = weights[at + "mlp.W_out"][:4]
    return Target(CONFIG, weights, VOCAB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ragged().save(tmp_path / "target")
    return tmp_path / "target"


def test_a_saved_target_is_read_back(folder: Path) -> None:
    target, loaded = ragged(), Target.load(folder)
    assert (loaded.config, loaded.vocab) == (target.config, target.vocab)
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in target.weights.items())
    assert loaded.n_parameters == target.n_parameters == sum(t.numel() for t in target.weights.values())
    ids = target.encode([["a", "b"], ["c", "a", "b"]])
    assert ids.tolist() == [[0, 2, 3, 1], [0, 4, 2, 3]]
    assert [len(answers) for answers in loaded.answers(ids)] == [2, 3]
    assert loaded.answers(ids)[0] == loaded.answers(ids[:1, :3])[0]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_library_files_are_read_in_every_dtype(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, folder / "model.safetensors")
        for name, tensor in Target.load(folder).weights.items():
            assert torch.equal(tensor, weights[name].to(dtype).float())


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 5), st.integers(1, 8))
@settings(deadline=None, max_examples=30)
def test_padding_keeps_the_function(d_model: int, n_heads: int, d_head: int, d_mlp: int) -> None:
    target = ragged()
    config, weights = pad_layers(
        target.config, target.weights, d_model=d_model, n_heads=n_heads, d_head=d_head, d_mlp=d_mlp
    )
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == shapes(config)
    for field, multiple in (("d_model", d_model), ("n_heads", n_heads), ("d_head", d_head), ("d_mlp", d_mlp)):
        assert getattr(config, field) % multiple == 0
    ids = torch.tensor([[0, 2, 3, 4, 2], [0, 4, 4, 3, 1]])
    torch.testing.assert_close(forward(config, weights, ids), target.run(ids), atol=1e-4, rtol=1e-4)


def test_padding_refuses_to_change_a_norm() -> None:
    config = TargetConfig(6, 1, 1, 3, 5, 5, 5, 3, normalization_type="RMSPre")
    with pytest.raises(TargetError, match="d_model 6 cannot become 8"):
        pad_layers(config, random_weights(config), d_model=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"positional_embedding_type": "rotary"},
        {"n_key_value_heads": 1},
        {"attn_scale": 1.0},
        {"use_qk_norm": True},
    ],
)
def test_padding_refuses_to_change_heads_that_are_more_than_their_matrices(changes: dict[str, Any]) -> None:
    config = TargetConfig(6, 1, 2, 4, 5, 5, 5, 3, **changes)
    weights = random_weights(config)
    assert pad_layers(config, weights, d_mlp=8)[0].d_mlp == 8
    for sizes in ({"n_heads": 3}, {"d_head": 8}):
        with pytest.raises(TargetError, match=f"heads cannot be made .* {next(iter(changes))} = "):
            pad_layers(config, weights, **sizes)


def test_numbers_have_their_simplest_name() -> None:
    assert [number_name(v) for v in (2.0000002, 0.33333334, -0.5, 1e-7, 2.71828183)] == [
        "2",
        repr(1 / 3),
        "-0.5",
        "0",
        "2.7183",
    ]


def test_reading_first_and_numbers() -> None:
    config = TargetConfig(4, 1, 1, 2, 3, 4, 4, 1, read_out="first", output="numerical")
    target = Target(config, random_weights(config), Vocab(("BOS", "PAD", "a", "b"), ("value",)))
    ((answer,),) = target.answers(target.encode([["a", "b"]]))
    assert float(answer) == pytest.approx(target.run(target.encode([["a", "b"]]))[0, 0, 0].item(), abs=1e-3)
    with pytest.raises(TargetError, match="'z' is not in"):
        target.encode([["z"]])
    with pytest.raises(TargetError, match="4 tokens, expected at most 3"):
        target.encode([["a"] * 4])


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        value = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(value))

    return change


def change_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        arrays = {name: tensor.numpy().copy() for name, tensor in Target.load(folder).weights.items()}
        change(arrays)
        (folder / "model.safetensors").write_bytes(b"".join(safetensors_bytes(arrays, {})))

    return apply


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def header(fields: Any, data: bytes = b"", length: int | None = None) -> Callable[[Path], None]:
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    return write("model.safetensors", size + text + data)


def edit_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return apply


def make_fifo(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def make_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def put(name: str, place: tuple[int, ...], value: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda arrays: arrays[name].__setitem__(place, value)


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
BAD = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: no such file"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
    "no vocab": (lambda f: (f / "vocab.json").unlink(), "vocab.json: no such file"),
    "empty file": (write("model.safetensors", b""), "the file is empty"),
    "fifo": (make_fifo, "not a regular file"),
    "pickle beside": (make_pickle, "pytorch_model.bin: a pickle is refused unread"),
    "pickle renamed": (write("model.safetensors", pickle.dumps({"a": 1})), "a pickle or zip, refused unread"),
    "zip": (write("model.safetensors", b"PK\x03\x04" + b"x" * 40), "safetensors.torch.save_file"),
    "short": (write("model.safetensors", b"abc"), "3 bytes, expected a safetensors file"),
    "huge header": (header({}, length=2**63), "header of 9223372036854775808 bytes, expected at most 8388608"),
    "header over the end": (header({}, length=100), "cut short"),
    "header not JSON": (header(b"{nope"), "header is not valid JSON"),
    "key twice": (header(TWICE, b"0000"), "key 'a' twice"),
    "many tensors": (header({f"t{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(20_001)}), "20001 tensors"),
    "integers": (header({"a": entry("I32")}, b"0000"), "tensor 'a': dtype I32, expected one of"),
    "rank": (header({"a": entry(shape=(1,) * 5)}, b"0000"), "expected up to 4 sizes"),
    "overflow": (header({"a": entry(shape=(2**40, 2**40))}, b"0000"), "do not hold shape"),
    "overlap": (header({"a": entry(), "b": entry()}, b"0000"), "overlap or hole"),
    "escape": (header({"a\x1b[31m": entry()}, b"0000"), r"tensor 'a\x1b[31m'"),
    "right to left": (header({"a\u202eb": entry()}, b"0000"), r"tensor 'a\u202eb'"),
    "path": (header({"../a": entry()}, b"0000"), "expected a plain name"),
    "cut": (edit_bytes(lambda raw: raw[:-1]), "cut short"),
    "trailing": (edit_bytes(lambda raw: raw + b"0"), "with bytes at its end"),
    "missing": (
        change_tensors(lambda a: a.pop("unembed.W_U")),
        "tensor 'unembed.W_U' is missing, expected with shape [6, 3]",
    ),
    "unexpected": (change_tensors(lambda a: a.update(x=np.zeros(1))), "tensor 'x' is unexpected"),
    "transposed": (
        change_tensors(lambda a: a.update({"embed.W_E": np.zeros((6, 5))})),
        "tensor 'embed.W_E' has shape [6, 5], expected [5, 6]",
    ),
    "one bias too long": (
        change_tensors(lambda a: a.update({"blocks.1.mlp.b_in": np.zeros(5)})),
        "tensor 'blocks.1.mlp.b_in' has shape [5], expected [4]",
    ),
    "rank of W_Q": (
        change_tensors(lambda a: a.update({"blocks.0.attn.W_Q": np.zeros(4)})),
        "has 1 dimensions, expected 3",
    ),
    "too many heads": (
        change_tensors(lambda a: a.update({"blocks.0.attn.W_Q": np.zeros((3, 6, 3))})),
        "n_heads 3, expected at most 2",
    ),
    "NaN": (change_tensors(put("embed.W_E", (2, 3), np.nan)), "tensor 'embed.W_E' holds nan at [2, 3]"),
    "Inf": (change_tensors(put("unembed.b_U", (1,), np.inf)), "tensor 'unembed.b_U' holds inf at [1]"),
    "config not JSON": (write("config.json", b"{"), "config.json: not valid JSON"),
    "config a list": (write("config.json", b"[]"), "got list, expected an object"),
    "many layers": (change_config(n_layers=100_000), "n_layers = 100000, expected an integer from 0 to 1000"),
    "negative": (change_config(d_model=-1), "d_model = -1"),
    "text for a number": (change_config(d_model="6"), "d_model = '6'"),
    "bool for a number": (change_config(d_model=True), "d_model = True"),
    "unknown field": (change_config(auto_map={}), "unknown field 'auto_map'"),
    "unknown kind": (change_config(act_fn="tanh"), "act_fn = 'tanh', expected one of relu, gelu"),
    "kind of another type": (change_config(normalization_type=[]), "normalization_type = []"),
    "eps": (change_config(eps="x"), "eps = 'x'"),
    "pad": (change_config(pad_token=77), "pad_token = 77"),
    "larger than it is": (change_config(n_heads=4), "the largest n_heads of a layer is 2, expected 4"),
    "vocab short": (write("vocab.json", b'{"input":["BOS","PAD"],"output":["x","y","z"]}'), "2 names, expected 5"),
    "vocab types": (write("vocab.json", b'{"input":[1],"output":[]}'), "input is not a list of strings"),
    "vocab start": (write("vocab.json", b'{"input":["a","b","c","d","e"],"output":["x","y","z"]}'), "['BOS', 'PAD']"),
    "vocab fields": (write("vocab.json", b"{}"), "expected an object with the fields input and output"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_targets_are_refused_in_one_line(name: str, folder: Path) -> None:
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(TargetError) as caught:
        Target.load(folder)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(TargetError, match="expected a folder"):
            Target.load(path)
    with pytest.raises(TargetError, match=r"model\.safetensors: no such file"):
        Target.load(tmp_path)


@given(st.fractions(-10, 10, max_denominator=120))
def test_numbers_are_named_after_the_fraction_they_are_close_to(value: Fraction) -> None:
    expected = value.numerator if value.denominator == 1 else float(value)
    assert number_name(float(np.float32(float(value))) + 1e-7) == format_value(expected)


LANGUAGE_MODEL = TargetConfig(
    d_model=6,
    n_layers=2,
    n_heads=4,
    d_head=4,
    d_mlp=5,
    n_ctx=5,
    d_vocab=5,
    d_vocab_out=5,
    default_prepend_bos=False,
    positional_embedding_type="rotary",
    rotary_dim=4,
    n_key_value_heads=2,
    use_qk_norm=True,
    gated_mlp=True,
    mlp_bias=False,
    unembed_bias=False,
    tie_word_embeddings=True,
)
NAMES = tuple("abcde")


def language_model(folder: Path) -> Target:
    target = Target(LANGUAGE_MODEL, random_weights(LANGUAGE_MODEL), Vocab(NAMES, NAMES))
    target.save(folder)
    return target


def test_other_peoples_models_are_saved_and_read_back(tmp_path: Path) -> None:
    target = language_model(tmp_path)
    loaded = Target.load(tmp_path)
    assert (loaded.config, loaded.vocab) == (target.config, target.vocab)
    assert loaded.weights.keys() == target.weights.keys() == shapes(LANGUAGE_MODEL).keys()
    assert target.encode([["a", "b", "c", "d", "e"]]).tolist() == [[0, 1, 2, 3, 4]]
    assert len(loaded.answers(target.encode([["a", "b"]]))[0]) == 2
    with pytest.raises(TargetError, match="6 tokens, expected at most 5"):
        target.encode([["a"] * 6])
    with pytest.raises(TargetError, match="sequences of 1 to 2 tokens, expected one length: no token is PAD"):
        target.encode([["a"], ["a", "b"]])


BAD_MODELS = {
    "unknown field": (change_config(sliding_window=4), "unknown field 'sliding_window'"),
    "number for a flag": (change_config(gated_mlp=1), "gated_mlp = 1, expected true or false"),
    "null for a flag": (change_config(use_qk_norm=None), "use_qk_norm = None, expected true or false"),
    "kind of positions": (
        change_config(positional_embedding_type="alibi"),
        "positional_embedding_type = 'alibi', expected one of standard, rotary, none",
    ),
    "odd rotary_dim": (change_config(rotary_dim=3), "rotary_dim = 3, expected an even number up to d_head, which is 4"),
    "wide rotary_dim": (change_config(rotary_dim=6), "rotary_dim = 6, expected an even number up to d_head"),
    "no rotary_dim": (change_config(rotary_dim=0), "rotary_dim = 0, expected null or an integer from 2 to 1000000"),
    "rotary_dim for nothing": (
        change_config(positional_embedding_type="none"),
        "rotary_dim = 4, expected null where positional_embedding_type is none",
    ),
    "odd heads": (change_config(rotary_dim=None, d_head=3), "d_head = 3, expected an even number"),
    "rotary_base": (change_config(rotary_base=0.5), "rotary_base = 0.5, expected a number from 1 to 1000000000000.0"),
    "rotary_base not a number": (change_config(rotary_base=float("nan")), "rotary_base = nan"),
    "no scaling": (change_config(rotary_scaling_factor=0), "rotary_scaling_factor = 0, expected a number from 1e-06"),
    "two scalings": (
        change_config(use_NTK_by_parts_rope=True, rotary_scaling_factor=2),
        "rotary_scaling_factor = 2.0, expected 1 where use_NTK_by_parts_rope is true",
    ),
    "factors in order": (
        change_config(NTK_by_parts_high_freq_factor=1),
        "NTK_by_parts_high_freq_factor = 1.0, expected more than NTK_by_parts_low_freq_factor, which is 1.0",
    ),
    "NTK context": (change_config(NTK_original_ctx_len=2**40), "NTK_original_ctx_len = 1099511627776, expected an int"),
    "groups": (change_config(n_key_value_heads=3), "n_key_value_heads = 3, expected a divisor of n_heads, which is 4"),
    "no groups": (change_config(n_key_value_heads=0), "n_key_value_heads = 0, expected null or an integer from 1"),
    "scale": (change_config(attn_scale=0), "attn_scale = 0, expected null or a number from 1e-06"),
    "tied to another vocabulary": (
        change_config(d_vocab_out=4),
        "d_vocab_out = 4, expected d_vocab, which is 5, where tie_word_embeddings is true",
    ),
    "a head more": (
        change_config(tie_word_embeddings=False),
        "tensor 'unembed.W_U' is missing, expected with shape [6, 5]",
    ),
    "a bias more": (change_config(unembed_bias=True), "tensor 'unembed.b_U' is missing"),
    "a gate less": (change_config(gated_mlp=False), "tensor 'blocks.0.mlp.W_gate' is unexpected for 2 layers"),
    "keys of every head": (
        change_config(n_key_value_heads=None),
        "'blocks.0.attn.W_K' has shape [2, 6, 4], expected [4",
    ),
    "layers of different sizes": (
        change_tensors(lambda a: a.update({"blocks.1.mlp.W_in": np.zeros((6, 4))})),
        "tensor 'blocks.1.mlp.W_in' has shape [6, 4], expected [6, 5]",
    ),
    "BOS": (change_config(default_prepend_bos=True), "input starts with ['a', 'b'], expected ['BOS', 'PAD']"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models_of_other_people_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    spoil, message = BAD_MODELS[name]
    language_model(tmp_path)
    spoil(tmp_path)
    with pytest.raises(TargetError) as caught:
        Target.load(tmp_path)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(tmp_path) in str(caught.value)
