"""The card of an oracle on the hub: what it is, what it learned from, how it did beside controls, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.bases import HOUSE
from zoo.files import read_header

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

    from oracle.oracle import WeightOracle

TAGS = ("weight-oracle", "interpretability", "weight-space-learning", "peft", "lora", "safetensors")
UNMEASURED = (
    "No report came with this upload. `weight-oracle eval --oracle DIR --zoo ZOO --out REPORT` measures an oracle "
    "beside its controls; an answer that was not compared with them is no evidence that weights were read."
)
LIMITS = """\
- It answers about targets like those that it was trained on, and no others. About anything else it guesses.
- Each answer has a confidence; below one half it abstains, and the text is its best guess.
- A measure whose interval overlaps that of the controls says nothing about reading weights."""


def card_of(
    oracle: WeightOracle,
    folder: Path,
    repo_id: str,
    base: tuple[str, str] | None,
    results: str | None,
    license: str | None,
) -> ModelCard:
    """The card of an oracle that was saved in `folder`; `base` is name and commit of a base on the hub."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        library_name="weight-oracle",
        base_model=None if base is None else base[0],
        base_model_relation=None if base is None else "adapter",
        license=license,
        tags=list(TAGS),
    )
    parts = {
        f"{repo_id}: a weight oracle": _what(oracle, folder),
        "Load it": _how(repo_id),
        "Base": _base(oracle.facts, base),
        "Data and seeds": _data(oracle.facts),
        "Confidence": _confidence(oracle),
        "Results": results or UNMEASURED,
        "Limits": LIMITS,
    }
    texts = [f"{'#' if i == 0 else '##'} {title}\n\n{text}" for i, (title, text) in enumerate(parts.items())]
    header: str = data.to_yaml(line_break="\n")
    return ModelCard(f"---\n{header}\n---\n\n" + "\n\n".join(texts) + "\n", ignore_metadata_errors=False)


def _what(oracle: WeightOracle, folder: Path) -> str:
    """What it is, and which files."""
    encoder = _numbers(folder / "encoder.safetensors")
    adapter = _numbers(folder / "adapter" / "adapter_model.safetensors")
    rank = oracle.reader.model.peft_config["default"].r  # type: ignore[index, union-attr]
    drafts = "" if oracle.drafter is None else f" Small decoders that write drafts: {len(oracle.drafter.writers)}."
    return (
        "It is given the weights of a small transformer and answers questions in words about what that transformer "
        f"computes. A weight encoder of {encoder:,} parameters and a LoRA adapter of {adapter:,} (rank {rank}) on a "
        f"causal language model.{drafts} Families of questions: {', '.join(oracle.families)}.\n\n"
        "All files are JSON, safetensors and this text. Nothing in them is code, and nothing is executed at load."
    )


def _how(repo_id: str) -> str:
    return (
        "```python\nfrom pathlib import Path\n\nfrom oracle import WeightOracle  # pip install weight-oracle\n"
        f'from zoo import Target\n\noracle = WeightOracle.from_pretrained("{repo_id}")\n'
        'oracle.ask(Target.load(Path("target")), "What does this model compute?")\n```\n\n'
        f'The adapter is a plain PEFT one: `PeftModel.from_pretrained(base, "{repo_id}", subfolder="adapter")`.'
    )


def _base(facts: Mapping[str, Any], base: tuple[str, str] | None) -> str:
    if base is not None:
        where = f"[{base[0]}](https://huggingface.co/{base[0]}), commit `{base[1]}`"
    else:
        own = "the house language model of weight-oracle" if facts["base"] == HOUSE else "a model of its maker's"
        where = f"in the folder `base/` of this repository: {own}"
    checked = f"sha256 of its weights and tokenizer `{facts['base_sha256']}`, checked at load"
    return f"{where[0].upper() + where[1:]}; {checked}."


def _data(facts: Mapping[str, Any]) -> str:
    """Zoos by their hashes, steps, seed."""
    train, history = facts.get("train", {}), facts.get("history", [])
    told = {
        "Trained on the train split of the zoo": facts.get("zoo"),
        "and of the zoos": ", ".join(facts.get("also", [])) or None,
        "Steps": history[-1].get("step") if history else None,
        "Targets a step": _product(train.get("processes"), train.get("targets_per_step")),
        "Questions a target": train.get("questions_per_target"),
        "Seed": train.get("seed"),
        "Version of weight-oracle": facts.get("version"),
    }
    lines = [f"- {name}: `{value}`" for name, value in told.items() if value is not None]
    return "\n".join([*lines, "- Every option and the learning curve: `oracle_config.json`"])


def _product(*numbers: int | None) -> str | None:
    return None if None in numbers else " x ".join(map(str, numbers))


def _confidence(oracle: WeightOracle) -> str:
    if (found := oracle.calibrator) is None:
        return (
            "Not calibrated: the probability that the reader gives to its own words. `weight-oracle calibrate` fits it."
        )
    sampled = (
        "" if found.sampled is None else f"; with the agreement of {found.samples} samples: {found.sampled.measured}"
    )
    return f"Calibrated on {found.number:,} answers about other targets: {found.plain.measured}{sampled}."


def _numbers(path: Path) -> int:
    """Numbers in a safetensors file."""
    from math import prod

    return sum(prod(entry.shape) for entry in read_header(path).tensors.values())
