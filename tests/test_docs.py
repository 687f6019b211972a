"""The documentation says what the packages are: the diagrams are their imports, the reference is their public names."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

from oracle.cli_verbs import VERBS
from tests.test_architecture import LAYERS, imports, modules

TOP = Path(__file__).parent.parent
DOCS = TOP / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NODE = re.compile(r"(\w+)\[\"([\w.]+)(?:<br>[^\"]*)?\"\]")


def diagrams() -> list[tuple[dict[str, str], list[tuple[str, str]]]]:
    """Of each Mermaid diagram of the architecture page: modules by their short names, and arrows between modules."""
    found = []
    for text in re.findall(r"^```mermaid\n(.*?)^```", (DOCS / "architecture.md").read_text("utf-8"), re.M | re.S):
        names = dict(NODE.findall(text))
        arrows = [NODE.sub(r"\1", line).strip().split(" --> ") for line in text.splitlines() if "-->" in line]
        found.append((names, [(names[a], names[b]) for a, b in arrows]))
    return found


def wanted_by(module: str) -> set[str]:
    """Modules that a module imports."""
    known = modules()
    asked = set(imports(ast.walk(known[module]), module))
    return {name if name in known else name.rpartition(".")[0] for name in asked}


def test_arrows_between_packages_are_all_the_imports_between_them() -> None:
    (names, arrows), *_ = diagrams()
    assert set(names.values()) == set(LAYERS)
    real = {
        (name.split(".")[0], wanted.split(".")[0])
        for name, tree in modules().items()
        for wanted in imports(ast.walk(tree), name)
        if wanted.split(".")[0] in LAYERS and wanted.split(".")[0] != name.split(".")[0]
    }
    assert set(arrows) == real


def test_arrows_between_modules_are_imports() -> None:
    _, *data = diagrams()
    assert len(data) == 3 and all(len(arrows) > 8 for _, arrows in data)
    assert [name for names, _ in data for name in names.values() if name not in modules()] == []
    assert [f"{a} --> {b}" for _, arrows in data for a, b in arrows if a not in wanted_by(b)] == []


@pytest.mark.parametrize("package", LAYERS)
def test_the_reference_has_every_public_name_and_no_other(package: str) -> None:
    text = (DOCS / "reference" / f"{package}.md").read_text("utf-8")
    found = re.findall(r"^::: (\S+)$", text, re.M)
    assert sorted(name.rpartition(".")[2] for name in found) == sorted(importlib.import_module(package).__all__)
    for name in found:
        module, _, thing = name.rpartition(".")
        there = getattr(importlib.import_module(module), thing)
        assert there is getattr(importlib.import_module(package), thing), name


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": (\S+\.md)$", (TOP / "mkdocs.yml").read_text("utf-8"), re.M)
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


def test_commands_on_the_pages_are_verbs_and_were_run() -> None:
    texts = {path.name: path.read_text("utf-8") for path in PAGES}
    verbs = {name.split()[0] for name in VERBS}
    used = {verb for text in texts.values() for verb in re.findall(r"weight-oracle ([a-z]+)", text)}
    assert used <= verbs and {"ask", "zoo", "train", "eval", "decompile", "compile"} <= used
    blocks = {name: re.findall(r"^```console\n(.*?)^```", text, re.M | re.S) for name, text in texts.items()}
    assert {name for name, found in blocks.items() if found} == {"ask.md", "zoos.md", "evaluate.md"}
    for name, found in blocks.items():
        for block in found:
            lines = block.splitlines()
            assert lines[0].startswith("$ ") and not lines[-1].startswith("$ "), f"{name}: no output in {lines[:1]}"
            assert "/tmp" not in block and "Traceback" not in block


def test_the_documentation_has_an_extra_of_its_own() -> None:
    extras = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert any(each.startswith("mkdocs-material") for each in extras["docs"])
    assert "'.[docs]' && mkdocs build --strict" in (TOP / "mkdocs.yml").read_text("utf-8")
    assert re.search(r"^strict: true$", (TOP / "mkdocs.yml").read_text("utf-8"), re.M)
