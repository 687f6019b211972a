"""Put a base model and an oracle into the package, with their cards:

    python dev/ship.py --base runs/base --oracle runs/oracle --results runs/results

The oracle's configuration is changed to name its base as "house"; sizes are checked against what may ship.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from cards import write_cards

from oracle.bases import ASSETS, FLOWCHARTS, HOUSE, PROGRAMS, fingerprint
from oracle.calibration import FILE as CALIBRATOR
from oracle.decompiler import CONFIG_FILE as DECODER_FILE
from oracle.learned import FILE as FUNCTIONS
from oracle.oracle import ADAPTER, CONFIG_FILE, DRAFTER, ENCODER_FILE

LIMIT = 32 << 20
BASE_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "base_config.json",
)
PATHS = ("zoo", "also", "out", "base", "start", "decoder", "drafts")
"""Fields of the training configuration that name folders of the machine it ran on: only the last part is kept."""
RUN_PATHS = ("zoo", "also", "out", "save", "start")
"""The same of a decoder's run."""
ORACLE_FILES = (ENCODER_FILE, f"{ADAPTER}/adapter_config.json", f"{ADAPTER}/adapter_model.safetensors")


@dataclass(frozen=True)
class Config:
    """What to ship."""

    base: Path
    """Folder that `weight-oracle base` wrote."""
    oracle: Path
    """Folder that `weight-oracle train` wrote, with that base."""
    results: Path
    """Folder that `weight-oracle eval` wrote, with that oracle. Its first two decoders, of flowcharts and of programs,
    are those of `weight-oracle decompile`."""


def last_part(path: Any) -> Any:
    """The name of a path, or of each in a list of them."""
    if isinstance(path, list):
        return [last_part(each) for each in path]
    return Path(path).name if path else path


def without_paths(decoder: Path) -> None:
    """Keep but the names of the folders that a decoder was trained on."""
    facts = json.loads((decoder / DECODER_FILE).read_text())
    run = facts.get("run", {})
    run |= {key: last_part(value) for key, value in run.items() if key in RUN_PATHS}
    (decoder / DECODER_FILE).write_text(json.dumps(facts, indent=1) + "\n")


def main(config: Config) -> None:
    """Copy, rename, check the size."""
    facts = json.loads((config.oracle / CONFIG_FILE).read_text())
    if facts["base_sha256"] != fingerprint(config.base):
        raise SystemExit(f"{config.oracle} was trained on another base than {config.base}")
    also = [name for name in (CALIBRATOR, FUNCTIONS) if (config.oracle / name).exists()]
    also += [str(path.relative_to(config.oracle)) for path in sorted((config.oracle / DRAFTER).glob("*/decoder*"))]
    cards = {card: card.read_bytes() for folder in (FLOWCHARTS, PROGRAMS) for card in folder.glob("*.md")}
    shipped = ((config.base, BASE_FILES, HOUSE), (config.oracle, (*ORACLE_FILES, *also), "oracle"))
    for source, names, folder in shipped:
        shutil.rmtree(ASSETS / folder, ignore_errors=True)
        for name in names:
            target = ASSETS / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / name).read_bytes())
    facts["train"] = {key: last_part(value) if key in PATHS else value for key, value in facts["train"].items()}
    (ASSETS / "oracle" / CONFIG_FILE).write_text(json.dumps(facts | {"base": HOUSE}, indent=1) + "\n")
    adapter = ASSETS / "oracle" / ADAPTER / "adapter_config.json"
    adapter.write_text(
        json.dumps(json.loads(adapter.read_text()) | {"base_model_name_or_path": HOUSE}, indent=1) + "\n"
    )
    for decoder in (ASSETS / "oracle" / DRAFTER).iterdir():
        without_paths(decoder)
    for card, text in cards.items():  # written by people
        card.write_bytes(text)
    write_cards(ASSETS, config.results)
    size = sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file())
    if size > LIMIT:
        raise SystemExit(f"{ASSETS}: {size:,} bytes, expected at most {LIMIT:,}")
    print(f"{ASSETS}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(tyro.cli(Config))
