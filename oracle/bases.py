"""Base models: where they lie, which one an oracle was trained with, and what a reader needs of any causal LM.

The house model has a placeholder and a padding token. Another family's gets the placeholder as a further token (its
embedding is never used: weight tokens stand over it), and pads with its end token where it has none for padding.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from oracle.template import PLACEHOLDER
from tracr_tasks.errors import OracleError
from zoo.files import read_json, shown

ASSETS = Path(__file__).parent / "assets"
"""What ships with the package: the house base model and the default oracle."""
HOUSE = "house"
ATTENTION = "eager"
"""For texts of a hundred tokens on a CPU two to three times faster, forward and backward, than the fused kernel."""


def base_folder(name: str) -> Path:
    """Where a base model lies: "house" is the one that ships, anything else a folder or a hub name that is fetched.

    Raises:
        OracleError: neither a folder nor a model of the hub.
    """
    if name == HOUSE:
        if not (ASSETS / HOUSE / "config.json").is_file():
            raise OracleError(f"{ASSETS / HOUSE}: the house base model is missing; install the package again")
        return ASSETS / HOUSE
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.model", "*.txt"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise OracleError(f"base '{name}': neither a folder nor a model that the hub gives ({reason})") from error


def fingerprint(folder: Path) -> str:
    """sha256 over the base's weight files and tokenizer: what the adapter and the template were trained with."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json"]):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_base(folder: Path, sha256: str, d_llm: int, where: Path) -> None:
    """See that a base is the one that an oracle was trained with.

    Raises:
        OracleError: its width or its weights are others; says both values. `where` has those that were expected.
    """
    config = read_json(folder / "config.json", 1 << 20, OracleError)
    width = next((config[name] for name in ("hidden_size", "n_embd", "d_model") if name in config), d_llm)
    if width != d_llm:
        raise OracleError(f"{shown(folder, 300)}: base of width {width}, expected {d_llm} as in {shown(where, 300)}")
    if (got := fingerprint(folder)) != sha256:
        raise OracleError(
            f"{shown(folder, 300)}: base has sha256 {got[:12]}, expected {sha256[:12]} as in {shown(where, 300)}"
        )


def load(path: Path) -> tuple[torch.nn.Module, Any]:
    """A base model in float32 and its tokenizer, from a folder; nothing is fetched and no code of it is run.

    Raises:
        OracleError: its tokenizer has no end token.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation=ATTENTION, local_files_only=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return fitted_out(model.eval(), tokenizer, path), tokenizer


def fitted_out(model: Any, tokenizer: Any, path: Path) -> torch.nn.Module:
    """The model and its tokenizer with all that a reader needs: an end, padding on the left, the placeholder."""
    if tokenizer.eos_token_id is None:
        raise OracleError(f"{shown(path, 300)}: its tokenizer has no end token, expected one (eos_token)")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if PLACEHOLDER not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [PLACEHOLDER]})
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight.data[rows:] = 0  # the same at every load
    out: torch.nn.Module = model
    return out
