"""Importing the package is light: what few runs need loads when it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "matplotlib", "sklearn", "onnx", "google", "pandas", "xarray", "tqdm", "click", "IPython", "tkinter", "torch",
    "dask", "distributed", "mpi4py", "mkdocs", "nbclient", "nbformat", "ipykernel", "PIL",
]  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    """Names in sys.modules after the import, in a fresh interpreter."""
    code = "import sys, json, actionopt; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    names: list[str] = json.loads(run.stdout)
    return names


@pytest.mark.parametrize("library", HEAVY)
def test_leaves_out(loaded: list[str], library: str) -> None:
    assert not [name for name in loaded if name.partition(".")[0] == library]


def test_leaves_out_the_slow_half_of_scipy(loaded: list[str]) -> None:
    assert not {"scipy.integrate", "scipy.optimize", "scipy.stats"}.intersection(loaded)


def test_leaves_out_the_command_line(loaded: list[str]) -> None:
    assert "actionopt" in loaded
    assert not [name for name in loaded if name.startswith("actionopt.cli")]
