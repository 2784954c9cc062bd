"""Imports run one way, down the table in CONTRIBUTING.md; heavy libraries load on use."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "actionopt"
TABLE = re.findall(r"^\| `actionopt/([\w/]+?)(?:\.py|/)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def place(path: Path) -> str:
    """Name the row of the table that a file belongs to; a room inside a room may have a row of its own."""
    return row(path.relative_to(PACKAGE).with_suffix("").as_posix())


def row(name: str) -> str:
    """Name the longest row that a path starts with, or its first part."""
    parts = name.split("/")
    fitting = ["/".join(parts[:k]) for k in range(len(parts), 0, -1)]
    return next((one for one in fitting if one in TABLE), parts[0])


def imported_places(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """List the rows that a file imports from, with the line; imports for type checkers alone count as any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: imports name the package, they are not relative"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "actionopt":
                yield row("/".join(name.split(".")[1:])), node.lineno


def test_table_names_every_place() -> None:
    assert {place(path) for path in FILES} <= set(TABLE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_imports_only_from_its_row_and_rows_above(path: Path) -> None:
    allowed = TABLE[: TABLE.index(place(path)) + 1]
    for name, line in imported_places(ast.parse(path.read_text())):
        assert name in allowed, f"{path.relative_to(ROOT)}, line {line}: {place(path)} may not import {name}"


def test_layers_see_a_wrong_import() -> None:
    tree = ast.parse(
        "def f():\n    from actionopt.cli import main\nimport actionopt.ops.dual\nfrom actionopt import problem"
    )
    assert [name for name, _ in imported_places(tree)] == ["ops", "problem", "cli"]


def module_name(path: Path) -> str:
    """Name the module of a file as an import does."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_files(path: Path) -> set[str]:
    """List the files that a file imports, inside functions and for type checkers alone too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(NAMES) - {"actionopt"}


def test_no_file_imports_itself_in_a_circle() -> None:
    """Results draw and save themselves: their figures and files know them by what they hold."""
    graph = {name: imported_files(path) - {name} for name, path in NAMES.items()}
    packages = {name for name, path in NAMES.items() if path.name == "__init__.py"}
    graph = {name: found - packages for name, found in graph.items() if name not in packages}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


# files that may call a module's own equation: the walk, formulas made of modules, and functions of one module alone
EQUATIONS = {
    "network.py", "repeated.py", "stacking.py", "symbolic.py", "problem.py", "dry_run.py", "metric/recursion.py",
    "contraction/smooth.py", "contraction/proof/sharpen.py",
    "constrained/stages.py", "constrained/stage_point.py", "constrained/expansion.py",
}  # fmt: skip


def test_one_walk() -> None:
    """No other file goes through the modules of a problem: they ask `Network.forward` and `Network.backward`."""
    for path in FILES:
        name = str(path.relative_to(PACKAGE))
        if name in EQUATIONS or name.startswith(("modules/", "ops/")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, method = ast.unparse(node.func.value), node.func.attr
                walked = method in ("forward", "vjp", "jvp") and re.search(r"\bmodules?\b|\.module\b", owner)
                assert not walked, f"{name}, line {node.lineno}: {owner}.{method}"
        for loop in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.For)):
            chained = "zip(problem.modules" in ast.unparse(loop.iter) or "zip(what.modules" in ast.unparse(loop.iter)
            assert not chained, f"{name}, line {loop.lineno}: a walk of its own"


@pytest.mark.parametrize("library", ["matplotlib", "sklearn", "tqdm", "click"])
def test_import_of_the_package_leaves_out(library: str) -> None:
    code = f"import sys, actionopt; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
