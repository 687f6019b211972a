"""Asks a small oracle about folders that were changed at random, and about sound targets by changed oracles."""

from __future__ import annotations

import random
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from oracle import reader
from oracle.console import one_line
from oracle.oracle import WeightOracle
from tests.bad_inputs.good import own_target, save_adapter_oracle, save_gpt2, save_own
from tests.bad_inputs.mutations import Files, mutated
from tracr_tasks.errors import WeightOracleError
from zoo.readers import open_source
from zoo.target import Target

SECONDS = 2.0
ORACLE_FILES = ("oracle_config.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors")
ORACLE_FILES += ("encoder.safetensors",)
TRACR = Path(__file__).parents[1] / "zoo" / "data" / "tracr" / "reverse"
"""An export of Tracr's, in NumPy's format."""
LONGEST = 2
QUESTION = "What does this model compute?"


@dataclass(frozen=True)
class Found:
    """What became of one case."""

    kind: str
    """"read", "refused", or "crashed", "slow" and "unnamed", which must not be."""
    text: str
    """The refusal, or the crash."""
    seconds: float

    @property
    def is_fault(self) -> bool:
        """Whether it must not be."""
        return self.kind not in ("read", "refused")


class Bench:
    """Sound folders and an oracle to change, in a folder of their own."""

    def __init__(self, folder: Path):
        save_own(folder / "own")
        save_gpt2(folder / "gpt2")
        save_adapter_oracle(folder / "oracle", folder / "base")
        self.place = folder / "case"
        self.targets = [files_in(each) for each in (folder / "own", folder / "own", folder / "gpt2", TRACR)]
        self.parts = {name: (folder / "oracle" / name).read_bytes() for name in ORACLE_FILES}
        self.oracle = WeightOracle.from_pretrained(folder / "oracle")
        self.own = own_target()

    def target(self, seed: int) -> Found:
        """A changed target: opened, read whole, and read by the oracle up to its first logits."""
        rng = random.Random(seed)
        self._put(mutated(rng.choice(self.targets), rng))
        return watched(lambda: read_by(self.oracle, open_source(self.place).to_target()), self.place)

    def changed_oracle(self, seed: int) -> Found:
        """A changed oracle that is loaded, and reads a sound target."""
        rng = random.Random(seed)
        self._put(mutated(self.parts, rng))
        return watched(lambda: read_by(WeightOracle.from_pretrained(self.place), self.own), self.place)

    def _put(self, files: Files) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        for name, raw in files.items():
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            (self.place / name).write_bytes(raw)
        self.place.mkdir(exist_ok=True)


def files_in(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_by(oracle: WeightOracle, target: Target) -> None:
    """Ask, for an answer of `LONGEST` tokens."""
    with mock.patch.object(reader, "MAX_ANSWER", LONGEST):
        (answer,) = oracle.ask(target, QUESTION)
    assert 0 <= answer.confidence <= 1


def watched(run: Callable[[], None], place: Path) -> Found:
    """Run one case: our own errors are refusals, which must name the folder; anything else is a crash."""
    began, text, kind = time.process_time(), "", "read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except WeightOracleError as error:
        text = str(error)
        named = str(place) in text or text.startswith(("weights of up to", "the oracle's probabilities"))
        kind = "refused" if named and one_line(text).isprintable() else "unnamed"
    except Exception as error:
        kind, text = "crashed", f"{type(error).__name__}: {error}"
    seconds = time.process_time() - began
    return Found("slow" if seconds > SECONDS and kind in ("read", "refused") else kind, text, seconds)
