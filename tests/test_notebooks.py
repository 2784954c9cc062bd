"""Every notebook runs from its first cell to its last, asserts what it says, and shows its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
needs_jupyter = pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nbclient and ipykernel run notebooks"
)
# in a process of its own, whose sockets and warnings are Jupyter's; on this Python, whatever kernels are registered
EXECUTE = """
import sys, nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, km=KernelManager(kernel_name="python3"), timeout=300).execute()
nbformat.write(notebook, sys.argv[2])
"""


def shown(path: Path) -> list[list[list[str]]]:
    """Return what kinds of output each cell has."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [[sorted(output.get("data", {})) for output in cell.get("outputs", [])] for cell in cells]


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3


@needs_jupyter
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    out = tmp_path / path.name
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path, out], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert shown(out) == shown(path)  # what is committed is what it shows: figures and tables at the same places
    assert any("image/png" in kinds for cell in shown(path) for kinds in cell)
