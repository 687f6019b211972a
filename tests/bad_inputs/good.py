"""Sound folders, small and random: what the tests spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.oracle.targets import SMALL, random_weights
from tracr_tasks.transformer import TargetConfig
from zoo.files import safetensors_bytes
from zoo.target import Target, Vocab

OWN = TargetConfig(6, 1, 2, 3, 5, n_ctx=5, d_vocab=5, d_vocab_out=3, pad_token=1)
VOCAB = Vocab(("BOS", "PAD", "a", "b", "c"), ("x", "y", "z"))
GPT2 = {"model_type": "gpt2", "vocab_size": 5, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 2}
BLOCK = (
    {"ln_1.weight": (6,), "ln_1.bias": (6,), "attn.c_attn.weight": (6, 18), "attn.c_attn.bias": (18,)}
    | {"attn.c_proj.weight": (6, 6), "attn.c_proj.bias": (6,), "ln_2.weight": (6,), "ln_2.bias": (6,)}
    | {"mlp.c_fc.weight": (6, 24), "mlp.c_fc.bias": (24,), "mlp.c_proj.weight": (24, 6), "mlp.c_proj.bias": (6,)}
)
OUTSIDE = {"wte.weight": (5, 6), "wpe.weight": (4, 6), "ln_f.weight": (6,), "ln_f.bias": (6,)}
RANK = 2


def own_target(config: TargetConfig = OWN, vocab: Vocab = VOCAB, scale: float = 1.0) -> Target:
    """A target with random weights, times a scale."""
    weights = {name: (scale * tensor).float() for name, tensor in random_weights(config, 0).items()}
    return Target(config, weights, vocab)


def save_own(folder: Path) -> None:
    """A target made here."""
    own_target().save(folder)


def save_gpt2(folder: Path) -> None:
    """A GPT-2 as transformers saves it, with a tokenizer's vocab.json."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    shapes = {f"transformer.h.0.{name}": shape for name, shape in BLOCK.items()}
    shapes |= {f"transformer.{name}": shape for name, shape in OUTSIDE.items()}
    arrays = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    (folder / "model.safetensors").write_bytes(b"".join(safetensors_bytes(arrays, {"format": "pt"})))
    (folder / "config.json").write_text(json.dumps(GPT2))
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate("abcde")}))


def save_base(folder: Path, seed: int = 0) -> None:
    """A language model as the base of an oracle."""
    from oracle.base import new_model, train_tokenizer
    from oracle.config import BaseConfig

    tokenizer = train_tokenizer(["What does this model compute? if has a then b else c"], 320)
    shape = BaseConfig(folder, d_model=32, n_layers=1, n_heads=2, d_mlp=16, seed=seed)
    model: Any = new_model(shape, len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_oracle(folder: Path, base: Path) -> None:
    """An untrained oracle on a base."""
    from oracle.oracle import new_oracle

    with torch.random.fork_rng():
        new_oracle(str(base), SMALL, RANK, 4.0, seed=0).save_pretrained(folder)


def save_adapter_oracle(folder: Path, base: Path) -> None:
    """An untrained oracle, and its base beside it."""
    save_base(base)
    save_oracle(folder, base)
