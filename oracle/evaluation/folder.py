"""The folder of a report: what it is a report of, the answers of each condition as they are finished, and the end."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from oracle import grade
from oracle.bases import FLOWCHARTS, base_folder, fingerprint
from oracle.calibration import FILE as CALIBRATOR
from oracle.config import EvalConfig, to_json
from oracle.decompiler import CONFIG_FILE as DECODER_CONFIG
from oracle.decompiler import WEIGHTS_FILE as DECODER_WEIGHTS
from oracle.evaluation.figures import draw
from oracle.evaluation.page import page
from oracle.evaluation.report import Report
from oracle.evaluation.rows import ANSWERS, Row, read_rows, write_rows
from oracle.oracle import ADAPTER, CONFIG_FILE, DRAFTER, ENCODER_FILE, read_facts
from oracle.statistics import Interval
from tracr_tasks.errors import InputError
from zoo.files import read_json, shown, write_atomic
from zoo.store import Zoo

IDENTITY, RESULTS, TABLES, PAGE = "evaluation.json", "results.json", "results.md", "report.html"
MAX_JSON = 1 << 24
Found = TypeVar("Found")
PARTS = "parts"
"""Folder of the answers of each condition and of the other findings, while the report is not finished and after."""
ELSEWHERE = ("zoo", "oracle", "out", "compare", "decoder", "references", "threads", "processes")
"""Options that say where something lies, whose contents are hashed, and not what is asked."""


def identity_of(config: EvalConfig, oracle: Path, zoo: Zoo) -> dict[str, Any]:
    """What a report is of: two evaluations with the same identity have the same answers.

    Raises:
        OracleError: an oracle or a base that is not there.
        ZooError: references that are no zoo.
    """
    options = {key: value for key, value in to_json(config).items() if key not in ELSEWHERE}
    return {
        "version": version("weight-oracle"),
        "grader": grade.VERSION,
        "oracle": hash_of(oracle),
        "zoo": zoo.content_hash(),
        "references": None if config.references is None else Zoo.open(config.references).content_hash(),
        "decoder": _sha256(config.decoder or FLOWCHARTS, (DECODER_CONFIG, DECODER_WEIGHTS)),
        "options": options,
    }


def hash_of(oracle: Path) -> str:
    """sha256 of what an oracle answers by: configuration, adapter, encoder, drafters, confidence and base."""
    base = fingerprint(base_folder(read_facts(oracle)["base"], oracle))
    drafters = sorted(str(path.relative_to(oracle)) for path in (oracle / DRAFTER).glob(f"*/{DECODER_WEIGHTS}"))
    adapter = f"{ADAPTER}/adapter_model.safetensors"
    own = _sha256(oracle, (CONFIG_FILE, ENCODER_FILE, adapter, CALIBRATOR, *drafters))
    return hashlib.sha256(f"{own} {base}".encode()).hexdigest()


def _sha256(folder: Path, names: Sequence[str]) -> str:
    """Of some files of a folder; one that is missing counts as that."""
    found = hashlib.sha256()
    for name in names:
        path = folder / name
        found.update(path.read_bytes() if path.is_file() else b"none")
    return found.hexdigest()


class ReportFolder:
    """Where a report is kept, finished or not."""

    def __init__(self, path: Path, identity: Mapping[str, Any]):
        """Claim a folder.

        Raises:
            InputError: it holds the report of another oracle, zoo or seed, or something else.
        """
        self.path = path
        wanted = json.loads(json.dumps(dict(identity)))
        if path.exists() and not path.is_dir():
            raise InputError(f"{shown(path, 300)}: is a file, expected a folder for the report")
        if (path / IDENTITY).exists():
            _check_same(path, read_json(path / IDENTITY, 1 << 20), wanted)
        elif path.is_dir() and any(path.iterdir()):
            raise InputError(f"{shown(path, 300)}: is not empty and holds no report, expected a new or empty folder")
        (path / PARTS).mkdir(parents=True, exist_ok=True)
        write_atomic(path / IDENTITY, [(json.dumps(wanted, indent=1) + "\n").encode()])

    def has(self, name: str) -> bool:
        """Whether a part is there: the answers of a condition, or other findings."""
        return self._place(name, "parquet").exists() or self._place(name, "json").exists()

    def keep_rows(self, condition: str, rows: Sequence[Row]) -> None:
        """Keep the answers of a condition."""
        write_rows(self._place(condition, "parquet"), rows)

    def rows(self, condition: str) -> list[Row]:
        """The answers of a condition.

        Raises:
            InputError: they are not there, or damaged.
        """
        return read_rows(self._place(condition, "parquet"))

    def keep(self, name: str, found: Sequence[Any]) -> None:
        """Keep findings: dataclasses of numbers, texts and intervals."""
        write_atomic(self._place(name, "json"), [json.dumps([asdict(each) for each in found], indent=1).encode()])

    def findings(self, name: str, kind: type[Found]) -> tuple[Found, ...]:
        """The findings of a name; none if there are none.

        Raises:
            InputError: they are damaged.
        """
        place = self._place(name, "json")
        if not place.exists():
            return ()
        return tuple(kind(**{k: _interval(v) for k, v in each.items()}) for each in read_json(place, MAX_JSON))

    def finish(self, report: Report, results: Mapping[str, Any], tables: str) -> None:
        """Write the report itself; results.json last: a report that has it is whole."""
        write_rows(self.path / ANSWERS, report.rows)
        write_atomic(self.path / TABLES, [(tables + "\n").encode()])
        write_atomic(self.path / PAGE, [page(report, tables, draw(report, self.path)).encode()])
        write_atomic(self.path / RESULTS, [(json.dumps(dict(results), indent=1) + "\n").encode()])

    def _place(self, name: str, ending: str) -> Path:
        return self.path / PARTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.{ending}"


def _interval(value: Any) -> Any:
    return Interval(**value) if isinstance(value, dict) else value


def _check_same(path: Path, held: Any, wanted: Mapping[str, Any]) -> None:
    flat = [{**each, **each.get("options", {})} if isinstance(each, dict) else {} for each in (held, wanted)]
    for field in sorted((flat[0].keys() | flat[1].keys()) - {"options"}):
        if (was := flat[0].get(field)) != (now := flat[1].get(field)):
            raise InputError(
                f"{shown(path, 300)}: holds the report of an evaluation with {field} = {shown(was)}, now it is "
                f"{shown(now)}; expected a new folder"
            )
