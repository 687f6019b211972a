"""Each family against transformers' own forward on random models; folders that are odd but sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tracr_tasks.transformer import shapes
from zoo.readers import checkpoint, open_source
from zoo.target import Target

LIMIT = 1e-4
TOKENS = 37
GPT2 = {"vocab_size": TOKENS, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3}
SIZES = {"vocab_size": TOKENS, "max_position_embeddings": 16, "hidden_size": 24, "num_hidden_layers": 2}
NEOX = SIZES | {"num_attention_heads": 3, "intermediate_size": 20}
LLAMA = SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 20}
QWEN3 = LLAMA | {"head_dim": 10}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2, tied": ("gpt2", GPT2),
    "gpt2, untied": ("gpt2", GPT2 | {"tie_word_embeddings": False}),
    "gpt2, no scale, exact gelu, narrow mlp": (
        "gpt2",
        GPT2 | {"scale_attn_weights": False, "activation_function": "gelu", "n_inner": 7},
    ),
    "gpt_neox, a quarter turned, parallel": ("gpt_neox", NEOX),
    "gpt_neox, one after the other": ("gpt_neox", NEOX | {"use_parallel_residual": False}),
    "gpt_neox, all turned, no attention biases, tied": (
        "gpt_neox",
        NEOX
        | {"rope_parameters": {"rope_theta": 100.0, "partial_rotary_factor": 1.0}}
        | {"attention_bias": False, "tie_word_embeddings": True},
    ),
    "gpt_neox, linear scaling": (
        "gpt_neox",
        NEOX | {"rope_parameters": {"rope_theta": 9.0, "rope_type": "linear", "factor": 3.0}},
    ),
    "llama, grouped heads": ("llama", LLAMA),
    "llama, wide heads, one group, tied": (
        "llama",
        LLAMA | {"head_dim": 10, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
    "llama, ungrouped, all biases": (
        "llama",
        LLAMA | {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True},
    ),
    "llama 3 positions": ("llama", LLAMA | {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 12}}),
    "qwen2, tied": ("qwen2", LLAMA | {"tie_word_embeddings": True}),
    "qwen2, a window as long as the context": (
        "qwen2",
        LLAMA | {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen3, wide heads": ("qwen3", QWEN3),
    "qwen3, biases, ungrouped": ("qwen3", QWEN3 | {"num_key_value_heads": 4, "attention_bias": True}),
}


def model(name: str, **changes: Any) -> Any:
    """A random model of a case, every parameter drawn, biases and gains too."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, fields = CASES[name]
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(fields | changes))).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            spread = 0.3 * torch.randn(parameter.shape)
            parameter.copy_(spread if parameter.ndim > 1 else parameter + spread)
    return made


def save(made: Any, folder: Path, **how: Any) -> Path:
    made.save_pretrained(folder, **how)
    return folder


def ids() -> torch.Tensor:
    return torch.randint(0, TOKENS, (5, 16), generator=torch.Generator().manual_seed(1))


def change_config(folder: Path, change: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    made = model(name)
    source = open_source(save(made, tmp_path))
    target = source.to_target()
    with torch.no_grad():
        expected = made(ids()).logits
    difference = (target.run(ids()) - expected).abs().max().item()
    print(f"{name}: {difference:.1e} of {expected.abs().max().item():.1f}")
    assert difference <= LIMIT
    assert {n: tuple(t.shape) for n, t in target.weights.items()} == shapes(source.config)
    assert target.weights.keys() == set(source.names())
    assert ("unembed.W_U" in target.weights) != source.config.tie_word_embeddings
    target.save(tmp_path / "own")  # nothing is lost in our own files
    again = Target.load(tmp_path / "own")
    assert again.config == source.config and again.vocab == target.vocab
    assert torch.equal(again.run(ids()), target.run(ids()))
    assert open_source(tmp_path / "own").to_target().config == source.config


@pytest.mark.parametrize("name", ["gpt2, tied", "gpt_neox, a quarter turned, parallel", "qwen3, wide heads"])
def test_shards_hold_the_same_target(name: str, tmp_path: Path) -> None:
    made = model(name)
    whole = open_source(save(made, tmp_path / "whole")).to_target()
    folder = save(made, tmp_path / "shards", max_shard_size=6000)
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert not (folder / "model.safetensors").exists()
    parts = open_source(folder).to_target()
    assert all(torch.equal(parts.weights[name], tensor) for name, tensor in whole.weights.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_float_dtype_is_cast(dtype: torch.dtype, tmp_path: Path) -> None:
    made = model("llama, grouped heads").to(dtype)
    weights = open_source(save(made, tmp_path)).to_target().weights
    assert torch.equal(weights["embed.W_E"], made.get_input_embeddings().weight.float())
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_a_part_reads_its_own_tensors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source_folder = save(model("gpt2, untied"), tmp_path)
    entries = {e: n for n, e in checkpoint.checkpoint_header(tmp_path / "model.safetensors", r"(?!)").items()}
    read, plain = [], checkpoint.read_tensor
    monkeypatch.setattr(checkpoint, "read_tensor", lambda path, e: read.append(entries[e]) or plain(path, e))
    source = open_source(source_folder)
    assert read == [] and source.vocab.input[:3] == ("0", "1", "2")
    block = source.block(1)
    assert read and all(name.startswith("transformer.h.1.") for name in read) and len(set(read)) == len(read)
    assert all(name.startswith("blocks.1.") for name in block)
    read.clear()
    assert set(source.embedding()) == {"embed.W_E", "pos_embed.W_pos"}
    assert sorted(read) == ["transformer.wpe.weight", "transformer.wte.weight"]
    read.clear()
    assert set(source.unembedding()) == {"ln_final.w", "ln_final.b", "unembed.W_U"}
    assert sorted(read) == ["lm_head.weight", "transformer.ln_f.bias", "transformer.ln_f.weight"]
    with pytest.raises(IndexError):
        source.block(2)


def test_configurations_as_transformers_4_wrote_them(tmp_path: Path) -> None:
    def neox(fields: dict[str, Any]) -> dict[str, Any]:
        params = fields.pop("rope_parameters")
        scaling = {"type": params["rope_type"], "factor": params["factor"]}
        return fields | {"rotary_pct": 0.25, "rotary_emb_base": params["rope_theta"], "rope_scaling": scaling}

    def llama(fields: dict[str, Any]) -> dict[str, Any]:
        params = fields.pop("rope_parameters")
        fields.pop("head_dim")
        return fields | {"rope_theta": params.pop("rope_theta"), "rope_scaling": params, "pretraining_tp": 1}

    for name, change in (("gpt_neox, linear scaling", neox), ("llama 3 positions", llama)):
        folder = save(model(name), tmp_path / name)
        config = open_source(folder).config
        assert config.extensions()["rotary_base"] != 10_000
        change_config(folder, change)
        assert open_source(folder).config == config


def test_masks_and_missing_prefixes_of_old_files(tmp_path: Path) -> None:
    """As on the hub: gpt2 without the prefix, with masks among the weights; pythia with boolean masks."""
    for name, prefix in (("gpt2, tied", "transformer."), ("gpt_neox, a quarter turned, parallel", "gpt_neox.")):
        folder = save(model(name), tmp_path / name)
        expected = open_source(folder).to_target().weights
        file = folder / "model.safetensors"
        tensors = {stored.removeprefix(prefix): tensor for stored, tensor in load_file(file).items()}
        mask = torch.ones(1, 1, 16, 16).tril()
        at = "h.0.attn." if prefix == "transformer." else "layers.0.attention."
        tensors |= {at + "masked_bias": torch.tensor(-1e9), at + "bias": mask if "h." in at else mask.bool()}
        save_file(tensors, file)
        got = open_source(folder).to_target().weights
        assert all(torch.equal(got[ours], tensor) for ours, tensor in expected.items())


def test_a_tied_head_may_be_stored_if_it_is_the_embedding(tmp_path: Path) -> None:
    file = save(model("gpt2, tied"), tmp_path) / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    save_file(tensors, file)
    assert "unembed.W_U" not in open_source(tmp_path).to_target().weights
    save_file(tensors | {"lm_head.weight": tensors["lm_head.weight"].double()}, file)
    assert "unembed.W_U" not in open_source(tmp_path).to_target().weights


def test_tokens_are_named_by_the_tokenizer(tmp_path: Path) -> None:
    folder = save(model("qwen2, tied"), tmp_path)
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "Ġb": 2, "far": 99}))
    assert open_source(folder).vocab.input[:4] == ("a", "<1>", "Ġb", "<3>")
    added = [{"id": 3, "content": "<s>"}]
    for vocab in ({"x": 0, "y": 1}, [["x", -1.5], ["y", -2.5]]):
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": added}))
        names = open_source(folder).vocab
        assert names.input == names.output and len(names.input) == TOKENS
        assert names.input[:5] == ("x", "y", "<2>", "<s>", "<4>")


def test_sequences_stand_as_they_are_given(tmp_path: Path) -> None:
    target = open_source(save(model("llama, grouped heads"), tmp_path)).to_target()
    encoded = target.encode([["3", "1"], ["2", "2"]])
    assert encoded.tolist() == [[3, 1], [2, 2]]
    assert [len(answers) for answers in target.answers(encoded)] == [2, 2]
