"""Base models: where they lie, which one an oracle was trained with, and what a reader needs of any causal LM.

The house model has a placeholder and a padding token. Another family's gets the placeholder as a further token (its
embedding is never used: weight tokens stand over it), and pads with its end token where it has none for padding.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from oracle.template import PLACEHOLDER
from tracr_tasks.errors import OracleError
from zoo.files import read_json, regular_file, shown
from zoo.target_files import MAX_LAYERS

ASSETS = Path(__file__).parent / "assets"
"""What ships with the package: the house base model and the default oracle."""
FLOWCHARTS, PROGRAMS = (ASSETS / "oracle" / "drafter" / number for number in "01")
"""The decoders that ship, of flowcharts and of RASP programs: those that the default oracle asks first for a draft."""
HOUSE = "house"
BASE_BESIDE = "base"
"""Subfolder of an oracle's folder that has its base, where the configuration says `BESIDE`."""
BESIDE = f"./{BASE_BESIDE}"
ATTENTION = "eager"
"""For texts of a hundred tokens on a CPU two to three times faster, forward and backward, than the fused kernel."""


def base_folder(name: str, oracle: Path | None = None) -> Path:
    """Where a base model lies: "house" is the one that ships, "./base" lies in the folder of its oracle, anything else
    is a folder or a hub name that is fetched.

    Raises:
        OracleError: neither a folder nor a model of the hub, or a link that leads out of the oracle's folder.
    """
    if name == BESIDE and oracle is not None:
        beside = oracle / BASE_BESIDE
        if not beside.is_dir() or beside.resolve() != oracle.resolve() / BASE_BESIDE:
            raise OracleError(f"{shown(beside, 300)}: expected a folder with the base, as base = {name!r} says")
        return beside
    if name == HOUSE:
        if not (ASSETS / HOUSE / "config.json").is_file():
            raise OracleError(f"{ASSETS / HOUSE}: the house base model is missing; install the package again")
        return ASSETS / HOUSE
    where = "" if oracle is None else f"{shown(oracle, 300)}: "
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise OracleError(
                f"{where}base '{shown(name)}': a folder without config.json, expected that of a base model"
            )
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.model", "*.txt"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        problem = f"base '{shown(name)}': neither a folder nor a model that the hub gives ({shown(reason, 300)})"
        raise OracleError(where + problem) from error


def copy_base(folder: Path, out: Path) -> None:
    """Copy what a base is loaded from, as files of data; a chat template goes into the tokenizer's configuration."""
    out.mkdir(parents=True, exist_ok=True)
    if folder.resolve() == out.resolve():
        return
    for file in [*folder.glob("*.json"), *folder.glob("*.safetensors")]:
        shutil.copyfile(file, out / file.name)
    template, config = folder / "chat_template.jinja", out / "tokenizer_config.json"
    if template.is_file():
        fields = read_json(config, 1 << 24, OracleError) | {"chat_template": template.read_text(encoding="utf-8")}
        config.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """sha256 over the base's weight files and tokenizer: what the adapter and the template were trained with."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json"]):
        regular_file(file, OracleError)
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_base(folder: Path, sha256: str, d_llm: int, where: Path) -> None:
    """See that a base is the one that an oracle was trained with.

    Raises:
        OracleError: its width or its weights are others; says both values. `where` has those that were expected.
    """
    config = read_json(folder / "config.json", 1 << 20, OracleError)
    if not isinstance(config, dict):
        raise OracleError(
            f"{shown(folder, 300)}/config.json: got {type(config).__name__}, expected an object of fields"
        )
    for name in ("num_hidden_layers", "n_layer", "num_layers"):
        if type(layers := config.get(name, 0)) is not int or not 0 <= layers <= MAX_LAYERS:
            problem = f"{name} = {shown(repr(layers))}, expected an integer from 0 to {MAX_LAYERS}"
            raise OracleError(f"{shown(folder, 300)}/config.json: {problem}")
    width = next((config[name] for name in ("hidden_size", "n_embd", "d_model") if name in config), d_llm)
    if width != d_llm:
        raise OracleError(f"{shown(folder, 300)}: base of width {width}, expected {d_llm} as in {shown(where, 300)}")
    if (got := fingerprint(folder)) != sha256:
        raise OracleError(
            f"{shown(folder, 300)}: base has sha256 {got[:12]}, expected {sha256[:12]} as in {shown(where, 300)}"
        )


def load(path: Path) -> tuple[torch.nn.Module, Any]:
    """A base model in float32 and its tokenizer, from a folder; nothing is fetched, no code of it is run and no pickle
    opened.

    Raises:
        OracleError: it cannot be loaded, lacks a tensor, or its tokenizer has no end token.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from_files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            use_safetensors=True,
            output_loading_info=True,
            **from_files,
        )
        tokenizer = AutoTokenizer.from_pretrained(path, **from_files)
    except Exception as problem:  # whatever the library raises of files that do not fit each other
        reason = shown(" ".join(str(problem).split()), 300)
        raise OracleError(
            f"{shown(path, 300)}: not loaded ({reason}); expected the folder of a causal language model of "
            "transformers, in safetensors and without custom code"
        ) from problem
    if missing := sorted(found["missing_keys"]):
        raise OracleError(
            f"{shown(path, 300)}: tensor {shown(missing[0])} is missing, expected it in the base's weights"
        )
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
