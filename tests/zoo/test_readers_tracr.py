"""Tracr's own models: recorded exports under data/, made by `record` where Tracr is installed, and bad archives.

python tests/zoo/test_readers_tracr.py      makes the recordings again
"""

from __future__ import annotations

import io
import json
import math
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tracr_tasks.errors import TargetError
from tracr_tasks.exact import format_value
from zoo.readers import open_source
from zoo.target import Target

DATA = Path(__file__).parent / "data" / "tracr"
RECORDED = ("reverse", "frac_prevs")
PROGRAMS = (*RECORDED, "length", "hist", "sort_unique", "sort_freq", "dyck", "balance")
OUTPUTS = "outputs.json"


def tracr_program(name: str) -> tuple[Any, set[Any], int, bool]:
    """One of Tracr's own library: program, vocabulary, longest input, causal."""
    from tracr.compiler import lib
    from tracr.rasp import rasp

    return {
        "reverse": (lib.make_reverse(rasp.tokens), {1, "a"}, 3, False),
        "frac_prevs": (lib.make_frac_prevs(rasp.tokens == "x"), {"x", "y"}, 4, True),
        "length": (lib.make_length(), {"x", "y"}, 4, False),
        "hist": (lib.make_hist(), {"x", "y"}, 4, False),
        "sort_unique": (lib.make_sort_unique(rasp.tokens, rasp.tokens), {1, 2, 3}, 4, True),
        "sort_freq": (lib.make_sort_freq(max_seq_len=3), {"a", "b"}, 3, False),
        "dyck": (lib.make_shuffle_dyck(pairs=["()"]), {"(", ")"}, 4, False),
        "balance": (lib.make_pair_balance(rasp.tokens, "(", ")"), {"(", ")"}, 4, True),
    }[name]


def record(name: str, folder: Path, *, npz: bool = True) -> None:
    """Compile a program with Tracr, export it, and write what Tracr's model says to some inputs."""
    from tracr.compiler.compiling import compile_rasp_to_model

    from zoo.readers import export_tracr
    from zoo.readers.tracr_export import unembedding

    program, vocab, longest, causal = tracr_program(name)
    model = compile_rasp_to_model(program, vocab=vocab, max_seq_len=longest, compiler_bos="BOS", causal=causal)
    export_tracr(model, folder, npz=npz)
    tokens, rng, rows = sorted(vocab, key=str), np.random.default_rng(0), []
    for n in (1, longest, longest, longest):  # every length makes JAX compile again
        sequence = [tokens[i] for i in rng.integers(0, len(tokens), n)]
        out = model.apply(["BOS", *sequence])
        logits = np.asarray(out.transformer_output[0] @ unembedding(model))
        decoded = [v.item() if isinstance(v, np.generic) else v for v in out.decoded[1:]]
        rows.append({"input": sequence, "logits": logits.round(6).tolist(), "decoded": decoded})
    (folder / OUTPUTS).write_text(json.dumps(rows) + "\n")


def largest_difference(folder: Path, target: Target) -> float:
    """Between Tracr's recorded logits and ours; the decoded answers must agree."""
    worst = 0.0
    for row in json.loads((folder / OUTPUTS).read_text()):
        ids = target.encode([[format_value(token) for token in row["input"]]])
        worst = max(worst, (target.run(ids)[0] - torch.tensor(row["logits"])).abs().max().item())
        (answers,) = target.answers(ids)
        if target.config.output == "categorical":
            assert answers == [format_value(value) for value in row["decoded"]]
        else:
            assert [float(answer) for answer in answers] == pytest.approx(row["decoded"], abs=1e-4)
    return worst


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_exports_say_what_tracr_said(name: str) -> None:
    source = open_source(DATA / name)
    assert largest_difference(DATA / name, source.to_target()) <= 2e-6
    assert source.vocab.input[:2] == ("BOS", "PAD")
    assert source.config.pad_token is None and source.config.extensions() == {"unembed_bias": False}


def test_the_target_is_saved_and_takes_one_length_at_a_time(tmp_path: Path) -> None:
    target = open_source(DATA / "reverse").to_target()
    target.save(tmp_path)
    again = Target.load(tmp_path)
    assert (again.config, again.vocab) == (target.config, target.vocab)
    assert again.answers(again.encode([["a", "1", "1"]])) == [["1", "1", "a"]]
    with pytest.raises(TargetError, match="sequences of 1 to 2 tokens, expected one length: no token is PAD"):
        again.encode([["a"], ["a", "1"]])


@pytest.mark.parametrize("name", PROGRAMS)
def test_tracr_itself(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tracr")
    record(name, tmp_path, npz=len(name) % 2 == 0)
    target = open_source(tmp_path).to_target()
    difference = largest_difference(tmp_path, target)
    print(f"{name}: {difference:.1e}")
    assert difference <= 2e-6
    if name in RECORDED:  # the recordings are what this makes today
        kept = open_source(DATA / name).to_target()
        assert (target.config, target.vocab) == (kept.config, kept.vocab)
        assert all(torch.equal(target.weights[tensor], kept.weights[tensor]) for tensor in kept.weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "reverse", tmp_path / "export")
    return tmp_path / "export"


Spoil = Callable[[Path], object]


def fields(**changes: Any) -> Spoil:
    def apply(folder: Path) -> None:
        path = folder / "tracr.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def members(change: Callable[[dict[str, bytes]], object]) -> Spoil:
    """Members of the archive by name, with their bytes."""

    def apply(folder: Path) -> None:
        path = folder / "params.npz"
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: archive.read(info) for info in archive.infolist()}
        change(held)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in held.items():
                archive.writestr(name, content)

    return apply


def array(value: Any, **how: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(value, **how))
    return out.getvalue()


def put(name: str, value: Any, **how: Any) -> Spoil:
    return members(lambda held: held.update({name: array(value, **how)}))


def edit(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda folder: (folder / "params.npz").write_bytes(change((folder / "params.npz").read_bytes()))


def claim(shape: str) -> bytes:
    """A NumPy header of a huge array and no data."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def encrypted(raw: bytes) -> bytes:
    """With the flag of encryption set in every header."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.find(mark)
        while place >= 0:
            raw = raw[: place + at] + b"\x01" + raw[place + at + 1 :]
            place = raw.find(mark, place + 4)
    return raw


EMBED = "token_embed.embeddings.npy"
BAD: dict[str, tuple[Spoil, str]] = {
    "no parameters": (lambda f: (f / "params.npz").unlink(), "neither params.npz nor params.safetensors"),
    "not a zip": (edit(lambda raw: b"x" * 100), "params.npz: not an archive of arrays"),
    "empty": (edit(lambda raw: b""), "params.npz: the file is empty"),
    "cut": (edit(lambda raw: raw[: len(raw) // 2]), "not an archive of arrays"),
    "one byte wrong": (edit(lambda raw: raw[:120] + bytes([raw[120] ^ 255]) + raw[121:]), "params.npz: "),
    "encrypted": (edit(encrypted), "expected plain .npy arrays alone"),
    "a pickle inside": (members(lambda m: m.update({EMBED: pickle.dumps([1])})), "is not a NumPy array"),
    "objects": (put(EMBED, [None], dtype=object), "tensor 'token_embed.embeddings': dtype object"),
    "integers": (put(EMBED, [[1]]), "tensor 'token_embed.embeddings': dtype int64 and 2 dimensions, expected floats"),
    "a text": (members(lambda m: m.update(readme=b"hello")), "member 'readme', expected plain .npy arrays alone"),
    "a path": (members(lambda m: m.update({"../evil.npy": array([1.0])})), "tensor '...evil' is unexpected"),
    "an escape": (members(lambda m: m.update({"a\x1b.npy": array([1.0])})), r"member 'a\x1b.npy', expected a plain"),
    "a bomb": (members(lambda m: m.update({EMBED: bytes(10_000_000)})), "is not a NumPy array"),
    "a huge claim": (members(lambda m: m.update({EMBED: claim("(1000000, 1000000)")})), "bytes, expected 4000000000"),
    "a negative claim": (members(lambda m: m.update({EMBED: claim("(-1, 4)")})), "tensor 'token_embed.embeddings'"),
    "a claim that is code": (members(lambda m: m.update({EMBED: claim("exit()")})), "is not a NumPy array"),
    "twice": (
        members(lambda m: m.update({"transformer.layer_0.attn.key.b.npy": array([1.0])})),
        "member 'transformer.layer_0.attn.key.b' twice",
    ),
    "NaN": (put("transformer/layer_0/attn/key.b.npy", np.full(8, np.nan)), "holds nan at [0]"),
    "too wide for float32": (put("transformer/layer_0/attn/key.b.npy", np.full(8, 1e300)), "holds inf at [0]"),
    "missing": (members(lambda m: m.pop(EMBED)), "tensor 'token_embed.embeddings' is missing, expected with shape"),
    "unexpected": (put("transformer/layer_9/attn/key.b.npy", [1.0]), "'transformer.layer_9.attn.key.b' is unexpected"),
    "no fields": (lambda f: (f / "tracr.json").write_text("[]"), "got list, expected an object"),
    "another format": (fields(format="craft"), "format = 'craft', expected one of tracr"),
    "another version": (fields(version=2), "version = 2, expected an integer from 1 to 1"),
    "unknown field": (fields(layer_norm=True), "unknown field 'layer_norm'"),
    "many layers": (fields(num_layers=100_000), "num_layers = 100000, expected an integer from 0 to 1000"),
    "another width": (fields(key_size=3), "tensor 'transformer.layer_0.attn.query.w' has shape"),
    "no BOS": (fields(bos_token="?"), "bos_token = '?', expected one of input_encoding"),
    "infinite token": (fields(input_encoding=[1, "BOS", math.inf, "compiler_pad"]), "strings and finite numbers"),
    "infinite output": (fields(output_encoding=[math.nan, "a"]), "strings and finite numbers"),
    "PAD is BOS": (fields(pad_token="BOS"), "pad_token = 'BOS', expected another token than bos_token"),
    "tokens of one name": (
        fields(input_encoding=[1, "1", "BOS", "compiler_pad"]),
        "input_encoding has two values that are written '1'",
    ),
    "outputs of lists": (fields(output_encoding=[[]]), "output_encoding = [[]], expected a list of"),
    "too few labels": (fields(unembed=["one"]), "unembed has 1 labels, expected 2"),
    "an unknown label": (fields(unembed=["one", "two"]), "unembed 'two' is 0 of residual_labels, expected one"),
    "labels of numbers": (fields(residual_labels=[1]), "residual_labels = [1], expected a list of up to"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_exports_are_refused_in_one_line(name: str, folder: Path) -> None:
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(TargetError) as caught:
        open_source(folder).to_target()
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(folder) in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.readers.npz.MAX_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a member was opened"))
    with pytest.raises(TargetError, match=r"\d+ bytes unpacked, expected at most 1000"):
        open_source(folder)


if __name__ == "__main__":
    for recorded in RECORDED:
        record(recorded, DATA / recorded)
        print(recorded, sum(path.stat().st_size for path in (DATA / recorded).iterdir()), "bytes", file=sys.stderr)
