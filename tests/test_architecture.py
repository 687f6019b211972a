"""The rules of the house that a machine can check: directions, sizes, lightness at import, docstrings, shapes.

The source is that of the packages as they are imported, so an installed copy is checked where pytest imports one."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

LAYERS = ("tracr_tasks", "zoo", "oracle")  # each may import from itself and from those before it
HEAVY = ("torch", "transformers", "numpy", "peft", "datasets", "pyarrow")
EXTRAS = ("gradio", "ray", "sae_lens", "tensorboard")
JAXTYPING = ("Float", "Float32", "Float64", "Int", "Int64", "Integer", "Bool", "Num", "Real", "Shaped", "Inexact")
BY_NAME = ("dict", "Mapping")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the three packages, by its dotted name."""
    found = {}
    for package in LAYERS:
        top = folder(package)
        for path in sorted(top.rglob("*.py")):
            parts = [package, *path.relative_to(top).with_suffix("").parts]
            name = ".".join(parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def imports(nodes: Iterator[ast.AST], module: str) -> Iterator[str]:
    """Dotted names that the import statements among the nodes ask for: `from a import b` gives `a.b`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: no function bodies, nothing under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_import(node)


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Functions and methods with their dotted names; not those inside functions, nor the headers of overloads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            if any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list):
                continue
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, prefix + node.name + ".")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from functions(node, prefix)


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def bare_tensor(annotation: ast.AST | None) -> bool:
    """Whether the annotation names Tensor anywhere but in a jaxtyping type, which gives it a shape, or in a mapping by
    name, as `Weights` is: there the name says which shape."""
    if annotation is None:
        return False
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).split(".")[-1] in (*JAXTYPING, *BY_NAME):
        return False
    if isinstance(annotation, ast.Name | ast.Attribute) and ast.unparse(annotation) in ("Tensor", "torch.Tensor"):
        return True
    return any(bare_tensor(child) for child in ast.iter_child_nodes(annotation))


@pytest.mark.parametrize("package", LAYERS)
def test_dependencies_point_one_way(package: str) -> None:
    above = LAYERS[LAYERS.index(package) + 1 :]
    wrong = [
        f"{name} imports {wanted}"
        for name, tree in modules().items()
        if name.split(".")[0] == package
        for wanted in imports(ast.walk(tree), name)
        if wanted.split(".")[0] in above
    ]
    assert not wrong


def test_no_module_imports_itself_through_others() -> None:
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, tree in known.items():
        wanted = {w if w in known else w.rpartition(".")[0] for w in imports(at_import(tree), name)}
        graph[name] = {w for w in wanted if w in known and w != name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("package", LAYERS)
def test_files_and_functions_are_short(package: str) -> None:
    long = [
        f"{path.name}: {lines} lines"
        for path in folder(package).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    ]
    long += [
        f"{name}.{node.name}: {lines} lines"
        for name, tree in modules().items()
        if name.split(".")[0] == package
        for node in ast.walk(tree)
        if isinstance(node, Function) and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > 60
    ]
    assert not long


@pytest.mark.parametrize("module", [*LAYERS, "oracle.cli", "oracle.cli_verbs", "oracle.config", "zoo.spec"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_extras_are_imported_by_the_function_that_needs_them() -> None:
    wrong = [
        f"{name} imports {wanted}"
        for name, tree in modules().items()
        for wanted in imports(at_import(tree), name)
        if wanted.split(".")[0] in EXTRAS
    ]
    assert not wrong


@pytest.mark.parametrize("package", LAYERS)
def test_public_surface_resolves(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__, f"{package} has no public surface"
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing
    # Importing the submodule would set the package's attribute of that name, in place of the public thing.
    assert [name for name in module.__all__ if f"{package}.{name}" in modules()] == []
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", LAYERS)
def test_public_things_have_docstrings(package: str) -> None:
    bare = []
    for name, tree in modules().items():
        if name.split(".")[0] != package:
            continue
        classes = [(n.name, n) for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
        things = [(name, tree), *classes, *functions(tree)]
        bare += [f"{name}: {what}" for what, node in things if is_public(what) and not ast.get_docstring(node)]
    assert not bare


@pytest.mark.parametrize("package", LAYERS)
def test_tensors_have_shapes(package: str) -> None:
    bare = []
    for name, tree in modules().items():
        if name.split(".")[0] != package:
            continue
        for what, node in functions(tree):
            args = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
            wrong = [arg.arg for arg in args if arg is not None and bare_tensor(arg.annotation)]
            wrong += ["the result"] if bare_tensor(node.returns) else []
            bare += [f"{name}.{what}: {arg}" for arg in wrong if is_public(what)]
    assert not bare


def test_lint_and_types_are_configured() -> None:
    path = Path(__file__).parent.parent / "pyproject.toml"
    tools = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]
    assert tools["mypy"]["strict"] is True
    assert set(tools["mypy"]["files"]) == set(LAYERS)
    assert {"E", "F", "B", "D1"} <= set(tools["ruff"]["lint"]["select"])


def test_checks_see_what_they_should() -> None:
    """The checks above would pass on anything if their helpers saw nothing."""
    assert bare_tensor(ast.parse("list[Tensor] | None", mode="eval").body)
    assert bare_tensor(ast.parse("torch.Tensor", mode="eval").body)
    assert not bare_tensor(ast.parse("dict[str, Tensor]", mode="eval").body)
    assert not bare_tensor(ast.parse('Float[Tensor, "a b"] | None', mode="eval").body)
    source = ast.parse("import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    from c import d\n")
    assert list(imports(at_import(source), "m")) == ["a"]
    assert list(imports(ast.walk(source), "m")) == ["a", "b", "c.d"]
    assert len(modules()) > 10


def test_shapes_are_checked_while_tests_run() -> None:
    from oracle.batch import pad_ids
    from oracle.slots import order_of_names

    with pytest.raises(TypeCheckError, match="order_of_names"):
        order_of_names(pad_ids([[1]]), torch.ones(1, 1, 1, dtype=torch.bool))
