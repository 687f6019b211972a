"""Cards of what ships, from what the folders say of themselves: `python dev/cards.py --results REPORT` writes both.

REPORT is a folder that `weight-oracle eval` wrote. `dev/ship.py` writes them too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from safetensors import safe_open

from oracle.bases import ASSETS, HOUSE
from oracle.calibration import Calibrator
from oracle.oracle import ADAPTER, CONFIG_FILE, ENCODER_FILE

CARD = "README.md"


@dataclass(frozen=True)
class Config:
    """What the cards are about."""

    results: Path
    """Report of `weight-oracle eval` on the oracle that ships."""
    assets: Path = ASSETS
    """Folder with `house` and `oracle` in it."""


def house_card(folder: Path) -> str:
    """What the house model is, learned from, and gets right with the source in its context."""
    facts, shape = (json.loads((folder / name).read_text()) for name in ("base_config.json", "config.json"))
    config, right = facts["config"], facts["source_in_context"]
    rows = [f"| {name.replace('/', ' | ')} | {share:.2f} |" for name, share in right.items()]
    went_on = f" It went on with a model trained before (`{Path(config['start']).name}`)." if config["start"] else ""
    return "\n".join(
        [
            "# The house language model of weight-oracle",
            "",
            f"A {shape['model_type']} of {parameters(folder / 'model.safetensors'):,} parameters: width "
            f"{shape['hidden_size']}, {shape['num_hidden_layers']} layers, {shape['num_attention_heads']} heads, "
            f"{shape['vocab_size']} tokens of its own. It speaks of RASP programs and flowcharts, and of nothing else.",
            "",
            f"- **Trained on** texts made for it: {config['n_programs']:,} programs of each kind (functions of the "
            f"split train), questions with the program in the context, and drills. Seed {config['seed']}.{went_on}",
            f"- **Time** {config['minutes']:g} minutes, {config['threads']} CPU threads. Options: `base_config.json`; "
            "command: `weight-oracle base`.",
            "- **Right answers** with the source in the context, programs it has not seen, phrasings it has not seen:",
            "",
            "| kind | question | right |",
            "|---|---|---|",
            *rows,
            "",
            "This is the ceiling of what it could say about weights if it read them perfectly.",
            "",
        ]
    )


def oracle_card(folder: Path, results: Path) -> str:
    """What the oracle is, learned from, and gets right beside its controls; where it must not be trusted."""
    facts, calibrator = json.loads((folder / CONFIG_FILE).read_text()), Calibrator.load(folder)
    train, asked = facts["train"], json.loads((results / "results.json").read_text())["options"]
    minutes = max(found.get("minutes", 0.0) for found in facts["history"])
    sizes = [parameters(folder / name) for name in (ENCODER_FILE, f"{ADAPTER}/adapter_model.safetensors")]
    went_on = f" It went on with an oracle trained before (`{train['start']}`)." if train.get("start") else ""
    trust = f"on {calibrator.number:,} answers about val targets: {calibrator.plain.measured}" if calibrator else "none"
    return "\n".join(
        [
            "# The oracle that ships with weight-oracle",
            "",
            f"A weight encoder of {sizes[0]:,} parameters and a LoRA adapter of {sizes[1]:,} (rank "
            f"{train['lora_rank']}) on the {facts['base']} language model: `weight-oracle ask TARGET`, or "
            "`oracle.WeightOracle.from_pretrained()`.",
            "",
            f"- **Trained on** the train split of the zoo with hash `{facts['zoo'][:16]}`, "
            f"{facts['history'][-1]['step']:,} steps of {train['processes']} x {train['targets_per_step']} targets, "
            f"seed {train['seed']}.{went_on}",
            f"- **Time** {minutes:g} minutes and the steps after its last evaluation, {train['processes']} CPU "
            f"processes. Options and learning curve: `{CONFIG_FILE}`; the commands of every stage are in dev/LOG.md "
            "of the project.",
            f"- **Confidence** calibrated by `weight-oracle calibrate`, {trust}",
            f"- **Results**, splits {', '.join(asked['splits'])}, at most {asked['limit']} targets of each, in a "
            "random gauge of its own, phrasings it has not seen:",
            "",
            (results / "results.md").read_text().strip(),
            "",
            "- **Limits** Targets like those that it was trained on, and no others: compiled RASP programs of 3 to 8 "
            "operations over five tokens, one-layer transformers trained on flowcharts of one or two questions. "
            "A target's shape gives its regime away, so that family says nothing about reading weights. Rows whose "
            "intervals overlap those of the controls are not read from the weights.",
            "",
        ]
    )


def parameters(path: Path) -> int:
    """Numbers in a safetensors file."""
    total = 0
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (the file is no mapping)
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            total += size
    return total


def write_cards(assets: Path, results: Path) -> None:
    """Both cards, each in its folder."""
    cards: dict[str, Any] = {HOUSE: house_card(assets / HOUSE), "oracle": oracle_card(assets / "oracle", results)}
    for name, text in cards.items():
        (assets / name / CARD).write_text(text)


def main(config: Config) -> None:
    """Write both."""
    write_cards(config.assets, config.results)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
