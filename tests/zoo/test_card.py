from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import yaml

from zoo.card import COLUMNS, card_text
from zoo.rows import Failure, IndexFacts, ZooRow, content_hash, read_facts
from zoo.spec import ZooSpec, named_spec
from zoo.store import Zoo


def front_matter(text: str) -> dict[str, object]:
    found = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_the_card_is_of_the_hub_and_of_this_zoo(built: Path) -> None:
    zoo, text = Zoo.open(built), (built / "README.md").read_text()
    head = front_matter(text)
    assert head["license"] == "apache-2.0"
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "targets", "path": "index.parquet"}]}
    ]
    assert zoo.content_hash() in text
    assert zoo.spec.hash() in text
    for row in ("| compiled |", "| trained |", "| untrained |"):
        assert text.count(row) == 1
    values = sorted(row.labels["accuracy"] for row in zoo.rows(regime="trained"))
    line = next(line for line in text.splitlines() if line.startswith("| trained |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert (cells[7], cells[-2]) == (f"{values[0]:.4f}", f"{values[-1]:.4f}")
    assert cells[5] == str(len(values))


def test_the_card_loads_as_a_dataset(small_copy: Path, tmp_path: Path) -> None:
    """By its front matter, as the hub would."""
    from datasets import load_dataset

    data = load_dataset(str(small_copy), split="targets", cache_dir=str(tmp_path / "cache"))
    assert len(data) == len(Zoo.open(small_copy))


def test_what_is_missing_is_said(small: ZooSpec, small_zoo: Path) -> None:
    rows = list(Zoo.open(small_zoo))
    facts = IndexFacts(None, 2, (Failure("trained-000003", 5, "its weights are not finite"),))
    text = card_text(small, rows, facts)
    assert "2 left out (their part and regime has their function already); 1 could not be made: its weights" in text
    assert "Not in the index" not in card_text(small, rows, IndexFacts())
    assert card_text(small, rows, read_facts(small_zoo)) == (small_zoo / "README.md").read_text()


def test_every_column_has_a_line() -> None:
    assert list(COLUMNS) == [f.name for f in fields(ZooRow)]


def test_a_card_tells_the_parts_apart() -> None:
    text = card_text(named_spec("bench"), [], IndexFacts())
    assert "- **long-compiled**, 150 drawn: random RASP programs, compiled (min_ops 9, max_ops 12" in text
    assert "- **deep-trained**, 100 drawn: flowcharts (vocab_size 6" in text
    assert "; only functions of test and structure." in text


def test_odd_names_do_not_break_it(small: ZooSpec) -> None:
    text = card_text(replace(small, name='a: "b"\n---\n# x'), [], IndexFacts())
    assert front_matter(text)["pretty_name"] == 'weight-oracle zoo a: "b"\n---\n# x'
    assert "\n# x" not in text
    assert content_hash([]) in text
