from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tracr_tasks.errors import InputError, ProgramError, ZooError
from tracr_tasks.transformer import forward
from zoo.compiled import compile_file, sampler_config
from zoo.padding import crop_layers, layer_sizes, pad_layers
from zoo.spec import named_spec
from zoo.target import Target

REVERSE = """vocab = {'a', 'b', 'c'}
max_seq_len = 4
v1 = select(tokens, tokens, true)
v2 = selector_width(v1)
v3 = linear(1, -1, v2, indices)
v4 = map(x - 1, v3)
v5 = select(indices, v4, ==)
out = aggregate(v5, tokens)
"""


def test_a_file_becomes_a_target_that_runs(tmp_path: Path) -> None:
    (tmp_path / "reverse.rasp").write_text(REVERSE)
    made = compile_file(tmp_path / "reverse.rasp", tmp_path / "out")
    for target in (made, Target.load(tmp_path / "out")):
        ids = target.encode([["a", "b", "c"], ["c"], ["a", "a", "b", "c"]])
        assert target.answers(ids) == [["c", "b", "a"], ["c"], ["c", "b", "a", "a"]]


def test_padded_and_cropped_targets_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "reverse.rasp").write_text(REVERSE)
    target = compile_file(tmp_path / "reverse.rasp", tmp_path / "out")
    ids = target.encode([["a", "b", "c"], ["c", "c", "a", "b"]])
    padded, weights = pad_layers(target.config, target.weights)
    torch.testing.assert_close(forward(padded, weights, ids), target.run(ids), atol=1e-4, rtol=1e-4)
    cropped, small = crop_layers(padded, weights, layer_sizes(target.config, target.weights))
    assert cropped == target.config
    for name, tensor in target.weights.items():
        torch.testing.assert_close(small[name], tensor, atol=0, rtol=1e-6)


def test_words_of_the_command_line_become_values(tmp_path: Path) -> None:
    (tmp_path / "p.rasp").write_text("out = map(x + 1, tokens)\n")
    target = compile_file(tmp_path / "p.rasp", tmp_path / "out", vocab=["0", "1", "2"], max_seq_len=3)
    assert target.vocab.input == ("BOS", "PAD", "0", "1", "2")
    assert target.answers(target.encode([["2", "0"]])) == [["3", "1"]]


def test_bad_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.rasp"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        compile_file(path, tmp_path / "out")
    path.write_text("out = nothing(x)")
    with pytest.raises(ProgramError):
        compile_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_fields_of_the_sampler_are_refused() -> None:
    with pytest.raises(ZooError, match="unknown field 'wide'"):
        sampler_config(replace(named_spec("tiny"), programs={"wide": 1}))
    assert sampler_config(replace(named_spec("tiny"), programs={"max_ops": 3})).max_ops == 3
