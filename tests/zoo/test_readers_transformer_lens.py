"""HookedTransformer objects and state dicts. Those that need transformer_lens (before 4.0) are skipped without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.readers import from_hooked, from_transformer_lens, open_source, to_hooked
from zoo.readers.transformer_lens import stored_name
from zoo.target import Target, Vocab

BASE: dict[str, Any] = {"d_model": 8, "n_layers": 2, "n_ctx": 6, "d_head": 4, "n_heads": 4, "d_vocab": 5}
ROTARY = {"positional_embedding_type": "rotary"}
CASES: dict[str, dict[str, Any]] = {
    "gpt2": {"act_fn": "gelu_new"},
    "bidirectional, no norm": {
        "act_fn": "relu",
        "attention_dir": "bidirectional",
        "normalization_type": None,
        "d_vocab_out": 3,
    },
    "qwen3": {
        **ROTARY,
        "act_fn": "silu",
        "normalization_type": "RMS",
        "gated_mlp": True,
        "n_key_value_heads": 2,
        "use_qk_norm": True,
    },
    "pythia": {**ROTARY, "act_fn": "gelu", "parallel_attn_mlp": True, "rotary_dim": 2, "normalization_type": "LNPre"},
    "gpt-j": {
        **ROTARY,
        "act_fn": "gelu",
        "rotary_adjacent_pairs": True,
        "normalization_type": "RMSPre",
        "attn_scale": 1.5,
    },
    "linear scaling": {**ROTARY, "act_fn": "relu", "rotary_scaling_factor": 3.0, "rotary_base": 100.0},
    "llama 3": {**ROTARY, "act_fn": "silu", "d_head": 16, "use_NTK_by_parts_rope": True, "NTK_original_ctx_len": 20},
    "attention only": {"attn_only": True, "act_fn": None, "use_attn_scale": False},
}
LIMIT = 1e-4


def hooked(name: str) -> Any:
    """A random HookedTransformer, every parameter drawn."""
    lens = pytest.importorskip("transformer_lens.HookedTransformer")
    torch.manual_seed(0)
    config = lens.HookedTransformerConfig(**(BASE | CASES[name]), device="cpu")
    model = lens.HookedTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return model


def save(model: Any, folder: Path) -> Path:
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.cfg.to_dict(), default=str))
    return folder


@pytest.mark.filterwarnings("ignore")  # 3.x warns that it is the last with a HookedTransformer
@pytest.mark.parametrize("name", CASES)
def test_objects_and_state_dicts_are_read_and_written(name: str, tmp_path: Path) -> None:
    model = hooked(name)
    ids = torch.randint(0, 5, (4, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(ids)
    target = from_hooked(model)
    source = open_source(save(model, tmp_path))
    with torch.no_grad():
        again = to_hooked(target)(ids)
    found = [target.run(ids), source.to_target().run(ids), again]
    differences = [(logits - expected).abs().max().item() for logits in found]
    print(name, " ".join(f"{d:.1e}" for d in differences), f"of {expected.abs().max().item():.1f}")
    assert max(differences) <= LIMIT
    assert source.config == target.config
    assert {n: tuple(t.shape) for n, t in target.weights.items()} == shapes(target.config)


@pytest.mark.filterwarnings("ignore")
def test_targets_made_here_go_there_and_back() -> None:
    """Layers of different sizes; a PAD and an answer at BOS, for which TransformerLens has no word."""
    pytest.importorskip("transformer_lens.HookedTransformer")
    config = TargetConfig(6, 2, 2, 3, 5, 5, 5, 3, normalization_type="RMS", read_out="first", pad_token=1)
    rng = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=rng) for name, shape in shapes(config).items()}
    for name, cut in (("attn.W_Q", 1), ("attn.W_K", 1), ("attn.W_V", 1), ("attn.W_O", 1)):
        weights[f"blocks.1.{name}"] = weights[f"blocks.1.{name}"][:cut]
    for side in "QKV":
        weights[f"blocks.1.attn.b_{side}"] = weights[f"blocks.1.attn.b_{side}"][:1]
    target = Target(config, weights, Vocab(("BOS", "PAD", "a", "b", "c"), ("x", "y", "z")))
    ids = target.encode([["a", "b", "c"], ["c", "c", "a"]])
    model = to_hooked(target)
    with torch.no_grad():
        torch.testing.assert_close(model(ids)[:, 0], target.run(ids)[:, 0], atol=LIMIT, rtol=0)
    back = from_hooked(model, target.vocab, read_out="first", pad_token=1, default_prepend_bos=True)
    assert back.answers(ids) == target.answers(ids)
    assert back.config == config


@pytest.mark.filterwarnings("ignore")
def test_tied_embeddings_are_untied_there() -> None:
    pytest.importorskip("transformer_lens.HookedTransformer")
    config = TargetConfig(6, 1, 2, 3, 5, 5, 5, 5, unembed_bias=False, tie_word_embeddings=True)
    target = Target(config, {n: torch.randn(s) for n, s in shapes(config).items()}, Vocab(("a",) * 5, ("a",) * 5))
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    with torch.no_grad():
        torch.testing.assert_close(to_hooked(target)(ids), target.run(ids), atol=LIMIT, rtol=0)


def test_what_transformer_lens_has_not_is_refused() -> None:
    pytest.importorskip("transformer_lens.HookedTransformer")
    vocab = Vocab(("a",) * 4, ("a",) * 4)
    for changes, message in (
        ({"positional_embedding_type": "none"}, "positional_embedding_type = 'none', expected standard or rotary"),
        ({"gated_mlp": True}, "a gated MLP with b_in or b_gate, expected none"),
    ):
        config = TargetConfig(4, 1, 1, 4, 4, 4, 4, 4, **changes)
        with pytest.raises(TargetError, match=message):
            to_hooked(Target(config, {n: torch.ones(s) for n, s in shapes(config).items()}, vocab))


FIELDS = {
    "d_model": 8,
    "n_layers": 1,
    "n_ctx": 6,
    "d_head": 4,
    "n_heads": 2,
    "d_mlp": 5,
    "d_vocab": 5,
    "act_fn": "gelu",
    "normalization_type": "LN",
    "model_name": "custom",
    "dtype": "torch.float32",
    "n_key_value_heads": 1,
}


def write(folder: Path, **changes: Any) -> Path:
    """A state dict as TransformerLens would save it, masks and all, with its config; without TransformerLens."""
    config = TargetConfig(
        **{n: FIELDS[n] for n in ("d_model", "n_layers", "n_heads", "d_head", "d_mlp", "n_ctx", "d_vocab")},
        d_vocab_out=5,
        normalization_type="LN",
        n_key_value_heads=1,
    )
    state = {stored_name(config, name): torch.randn(shape) for name, shape in shapes(config).items()}
    state |= {"blocks.0.attn.mask": torch.ones(6, 6).tril().bool(), "blocks.0.attn.IGNORE": torch.tensor(-torch.inf)}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(FIELDS | changes))
    return folder


def test_a_state_dict_is_read_without_transformer_lens(tmp_path: Path) -> None:
    source = from_transformer_lens(write(tmp_path))
    target = source.to_target()
    assert source.config.extensions() == {"default_prepend_bos": False, "n_key_value_heads": 1}
    assert source.config.attention_dir == "causal"
    assert tuple(target.weights["blocks.0.attn.W_K"].shape) == (1, 8, 4)
    assert source.vocab.output == ("0", "1", "2", "3", "4")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"future": 3}, "unknown field 'future' of a HookedTransformerConfig"),
    "mixture": ({"num_experts": 4}, "num_experts = 4, expected nothing: it is not supported"),
    "soft cap": ({"attn_scores_soft_cap": 50.0}, "attn_scores_soft_cap = 50.0, expected nothing or -1"),
    "local": ({"use_local_attn": True}, "use_local_attn = True, expected nothing or False"),
    "final rms": ({"final_rms": True}, "final_rms = True, expected nothing or False"),
    "norm after": ({"original_architecture": "Olmo2ForCausalLM"}, "original_architecture = 'Olmo2ForCausalLM'"),
    "positions": ({"positional_embedding_type": "shortformer"}, "'shortformer', expected one of standard, rotary"),
    "activation": ({"act_fn": "solu_ln"}, "act_fn = 'solu_ln', expected one of relu"),
    "layers": ({"n_layers": 100_000}, "n_layers = 100000, expected an integer from 0 to 1000"),
    "another width": ({"d_mlp": 6}, "tensor 'blocks.0.mlp.W_in' has shape [8, 5], expected [8, 6]"),
    "ungrouped": ({"n_key_value_heads": None}, "tensor 'blocks.0.attn.W_K' is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_unsupported_configs_are_refused(name: str, tmp_path: Path) -> None:
    changes, message = BAD[name]
    write(tmp_path, **changes)
    with pytest.raises(TargetError) as caught:
        open_source(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
