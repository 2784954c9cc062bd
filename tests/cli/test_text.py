"""Names, paths and streams of any kind: no traceback, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.cli import points
from actionopt.files import replacing
from actionopt.fingerprint import fingerprint
from actionopt.report.workspace import write_text

NAMED = """
def build():
    X = np.linspace(-1.0, 1.0, 8).reshape(4, 2)
    return ao.Problem([ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)], X, X[:, 0] ** 2, ao.SquaredError(), name=NAME)
"""
NAMES = [
    "half \udcff",
    "bell \x07 esc \x1b[31m nul \x00",
    r"$\frac{",
    "é漢字🎉",
    "<script>&'\"",
    "a\nb\u2028\u202e",
]
FLOW = ("--horizon", "1", "--steps", "3")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names(name: str, run: Callable, problem_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = problem_file(NAMED.replace("NAME", ascii(name)))
    outcome = run("flow", path, *FLOW, "--out", tmp_path / "flow.npz")
    assert (outcome.status, outcome.err) == (0, "")
    assert not set(outcome.out) & set("\x00\x07\x1b")
    assert ao.Trajectory.load(tmp_path / "flow.npz").name == name
    assert run("flow", path, *FLOW, "--json").record["name"] == name
    assert len(fingerprint(ao.load_problem(path))) == 64


def test_figures_of_names_that_no_font_has(tmp_path: Path) -> None:
    from actionopt import figures

    fig, ax = figures.figure()
    ax.set_title("half \udcff, nul \x00")
    assert "half \\udcff, nul \\x00" in figures.save(fig, tmp_path / "figure.svg").read_text()


def test_texts_that_no_encoding_has_are_written_out(tmp_path: Path) -> None:
    write_text(tmp_path / "page.html", "half \udcff é")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "half \\udcff é"


def started(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "actionopt", *words],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there alone")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_streams_and_paths_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = os.fsencode(tmp_path) + b"/n\xff.py"
    source = "import numpy as np\nimport actionopt as ao\n" + NAMED.replace("NAME", "'é \\udcff'")
    Path(os.fsdecode(path)).write_text(source)
    out = os.fsdecode(os.fsencode(tmp_path) + b"/out\xff.npz")
    done = started(["flow", os.fsdecode(path), *FLOW, "--out", out], tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"\\xe9 \\udcff" if encoding == "ascii" else b"\xc3\xa9 \\udcff") in done.stdout
    assert ao.Trajectory.load(out).success
    done = started(["flow", os.fsdecode(b"no\xff.py"), *FLOW], tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert done.stderr.startswith(b"actionopt: no problem file no")


def test_a_working_directory_that_is_gone(tmp_path: Path, problem_file: Callable[[str], Path]) -> None:
    path = problem_file(NAMED.replace("NAME", "'x'"))
    folder = tmp_path / "gone"
    code = (
        "import os, sys; os.rmdir(os.getcwd()); sys.argv[0] = 'actionopt'; sys.path.pop(0)\n"
        "from actionopt.cli import main; main(sys.argv[1:])"
    )
    for out, status, said in (
        (tmp_path / "kept.npz", 0, ""),
        ("relative.npz", 2, "actionopt: cannot write relative.npz: No such file or directory\n"),
    ):
        folder.mkdir()
        words = [sys.executable, "-c", code, "flow", str(path), *FLOW, "--out", str(out)]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
        assert (done.returncode, done.stderr) == (status, said)
    assert ao.Trajectory.load(tmp_path / "kept.npz").success


def test_what_ctrl_c_left_goes_elsewhere_where_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(points.os, "getcwd", gone)
    monkeypatch.setattr(points.tempfile, "gettempdir", lambda: str(tmp_path))

    def save(where: Path) -> None:
        with replacing(where) as temporary:
            temporary.write_text("kept")

    assert points.save_result(save, Path("mine.py"), None, ".npy", False) is None
    where = points.save_result(save, Path("mine.py"), None, ".npy", True)
    assert where == tmp_path / "mine-interrupted.npy"
    assert where.read_text() == "kept"


@pytest.mark.parametrize("command", ["flow", "train"])
def test_a_result_that_cannot_be_saved_is_printed(
    command: str, run: Callable, problem_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ending = problem_file(NAMED.replace("NAME", "'x'")), "npz" if command == "flow" else "npy"
    out = tmp_path / "full" / f"result.{ending}"

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed" if command == "flow" else "save", full)
    outcome = run(command, path, *(FLOW if command == "flow" else ()), "--out", out, "--json")
    assert (outcome.status, outcome.err) == (2, f"actionopt: cannot write {out}: No space left on device\n")
    assert np.isfinite(outcome.record["weights"]).all()
