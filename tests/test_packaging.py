"""Wheel and source distribution build, and install into an environment with nothing else in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

import actionopt as ao

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks")
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

EXTRAS = ("sklearn", "onnx", "distributed", "dask", "pandas", "pytest", "hypothesis", "mpmath", "torch", "IPython")

pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in a folder, away from the checkout, and return what it prints."""
    result = subprocess.run([str(part) for part in command], cwd=folder, env=CLEAN, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def environment(folder: Path, *packages: str | Path, libraries: bool = False) -> Path:
    """Make a virtual environment with these packages and return its folder of programs.

    With `libraries` it sees the packages beside this interpreter, so that none are fetched again: not the checkout,
    whose own path file is not followed from there.
    """
    venv.create(folder, with_pip=not libraries)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [programs / "python", "-m", "pip"]
    if libraries:
        (site,) = (folder / "lib").glob("python*/site-packages")
        places: dict[str, None] = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        places[str(metadata.distribution("numpy").locate_file(""))] = None
        (site / "libraries.pth").write_text("\n".join(places))
        pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    run([*pip, "install", "--quiet", "--disable-pip-version-check", *packages], folder)
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


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_installs_into_an_empty_environment(distributions: tuple[Path, Path, Path], tmp_path: Path, kind: str) -> None:
    """What is installed is the distribution and not the checkout, and it works by its three doors."""
    programs = environment(tmp_path / "empty", distributions[1 + (kind == "wheel")], libraries=True)
    code = "import actionopt as ao; print(ao.__file__)"
    place = run([programs / "python", "-W", "error", "-c", code], tmp_path)
    assert (tmp_path / "empty") in Path(place.strip()).parents
    assert ao.__version__ in run([programs / "actionopt", "--version"], tmp_path)
    # problem files and figures come along, by their names
    run([programs / "actionopt", "check", "linear_regression"], tmp_path)
    run([programs / "actionopt", "plot", "costates", "problems/xor.py", "--out", "costates.pdf"], tmp_path)
    assert (tmp_path / "costates.pdf").stat().st_size > 3000
    shutil.copy(ROOT / "problems" / "xor.py", tmp_path)
    run([programs / "actionopt", "flow", "xor.py", "--horizon", "1", "--steps", "4", "--out", "flow.npz"], tmp_path)
    said = run([programs / "python", "-m", "actionopt", "check", "xor.py", "--json"], tmp_path)
    assert json.loads(said)["ok"] is True
    # what an extra brings is not needed: it is as if it were not there
    code = (
        "import sys; sys.modules.update(dict.fromkeys(" + repr(EXTRAS) + "))\n"
        "import actionopt as ao; print(ao.Trajectory.load('flow.npz').success, ao.load_problem('xor.py').size)"
    )
    assert run([programs / "python", "-W", "error", "-c", code], tmp_path).split() == ["True", "17"]
    run([sys.executable, "-m", "pip", "--python", programs / "python", "check"], tmp_path)
