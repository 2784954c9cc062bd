"""Broken command lines: refused in one line with exit status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from actionopt.cli import COMMANDS
from actionopt.cli.plot import scripts
from tests.fuzz import arguments, sources
from tests.fuzz.harness import FAILED, HOLDS, WRONG_INPUT, status_of

pytestmark = pytest.mark.filterwarnings("ignore")

# a figure is a command with options of its own; the one of a saved path takes no problem file
WORDS = sorted({*COMMANDS} - {"plot"}) + [f"plot {figure}" for figure in scripts() if figure != "trajectory"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid problem file, in a folder of its own that is also where the command runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "valid.py"
    path.write_text(sources.VALID)
    return path


@pytest.mark.parametrize("name", WORDS)
def test_one_thing_wrong(path: Path, name: str) -> None:
    lines = list(arguments.by_hand(name, path, path.parent / "nowhere.py"))
    # a value that build() refuses is one failed run of a sweep, whose status is then 1
    refused = (WRONG_INPUT, FAILED) if name == "sweep" else (WRONG_INPUT,)
    accepted = [line for line in lines if status_of(line) not in refused]
    assert not accepted
    assert len(lines) >= 60


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"plot"}))
def test_junk(path: Path, name: str) -> None:
    count = {"run": 8, "contract": 15}.get(name, 80)  # a line that happens to be valid is carried out
    lines = arguments.by_chance(name, path, count, seed=sorted(COMMANDS).index(name))
    assert [status_of(line) for line in lines].count(WRONG_INPUT) >= count // 2


POINTS = ["3", "None", "'ab'", "[1, 2]", "{'a': 'b'}", "{'a': None}", "{1: [0.0]}", "{'a': [[0.0]]}", "{'a': [0.0]}"]


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("name", ["flow", "action"])
def test_points_that_are_none(path: Path, points: str, name: str) -> None:
    path.write_text(sources.VALID.replace('{"origin": [0.0] * 11, "ones": np.ones(11)}', points))
    for start in ("a", "origin", "1", "1,2,x", ",", "", "nan", ",".join(["nan"] * 11), ",".join(["1e400"] * 11)):
        assert status_of([name, path, "--horizon", "0.1", "--start", start]) == WRONG_INPUT


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["flow", "--horizon", "1", "nowhere.py"],
        ["flow", "valid.py", "--horizon", "x"],
        ["flow", "valid.py", "--horizon", "1", "--set", "width=-1"],
        ["flow", "broken.py", "--horizon", "1", "--json"],
        ["flow", "b\udcffd.py", "--horizon", "1"],
        ["action", "valid.py", "--horizon", "1", "--guess", "valid.npz"],
    ],
)
def test_as_a_program(path: Path, words: list[str]) -> None:
    """The same in a process of its own, where standard output and error are real."""
    (path.parent / "broken.py").write_text("def build():\n    return 1 / 0\n")
    command = [sys.executable, "-c", "from actionopt.cli import main; main()", *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, check=False)
    assert (result.returncode, result.stdout) == (WRONG_INPUT, "")
    assert result.stderr.startswith("actionopt: ")
    assert len(result.stderr.splitlines()) == 1


def test_the_valid_command_line_is_valid(path: Path) -> None:
    assert status_of(["flow", path, "--horizon", "0.1", "--set", "width=3", "--seed", "4"]) == HOLDS
