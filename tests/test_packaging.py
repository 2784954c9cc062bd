"""Wheel and source distribution build, and install into an environment with nothing else in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import actionopt as ao

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks")
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in a folder, away from the checkout, and return what it prints."""
    result = subprocess.run([str(part) for part in command], cwd=folder, env=CLEAN, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def environment(folder: Path, *packages: str | Path) -> Path:
    """Make a virtual environment with these packages and return its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run([programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], folder)
    return programs


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A copy of the sources, the source distribution, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    tools = environment(folder / "tools", "build")
    run([tools / "python", "-m", "build", "--outdir", folder / "dist", folder / "source"], folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return folder / "source", sdist, wheel


def test_contents(distributions: tuple[Path, Path, Path]) -> None:
    source, sdist, wheel = distributions
    modules = {path.relative_to(source).as_posix() for path in (source / "actionopt").rglob("*") if path.is_file()}
    assert {"actionopt/py.typed", "actionopt/__init__.py"} <= modules
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == modules
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    assert modules | {"setup.cfg", "pyproject.toml", "LICENSE"} <= sources


def test_installs_into_a_bare_environment(distributions: tuple[Path, Path, Path], tmp_path: Path) -> None:
    programs = environment(tmp_path / "bare", distributions[2])
    assert ao.__version__ in run([programs / "actionopt", "--version"], tmp_path)
    code = (
        "import actionopt as ao, numpy as np; "
        "p = ao.Problem(ao.Dense(2, 1, 'tanh'), np.eye(2), np.ones(2), ao.SquaredError()); "
        "print(ao.__file__, ao.flow(p, p.initial_weights(), horizon=1.0, steps=4).success)"
    )
    place, success = run([programs / "python", "-W", "error", "-c", code], tmp_path).split()
    assert success == "True"
    assert (tmp_path / "bare") in Path(place).parents
    run([programs / "python", "-m", "pip", "check"], tmp_path)
