"""docs/tutorial.md followed word for word in an empty folder, one step after the other."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.cli import main

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
STEPS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, re.DOTALL)


def follow(kind: str, text: str) -> str:
    """Save a file that names itself in its first line, or run the commands; return what they print."""
    if kind == "python":
        name = re.match(r"# (\w+\.py)", text)
        assert name is not None
        Path(name[1]).write_text(text)
        return ""
    return "".join(_run(line) for line in text.splitlines())


def _run(line: str) -> str:
    program, *arguments = shlex.split(line)
    if program == "python":
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
        return done.stdout
    assert program == "actionopt"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, (line, result.output)
    assert not re.sub(r"^\d+/\d+ .*\n", "", result.stderr, flags=re.MULTILINE), line  # but progress
    return result.stdout


@pytest.mark.slow
def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = {text.strip(): follow(kind, text) for kind, text in STEPS}
    assert "holds: multipliers are the adjoints" in printed["actionopt check dose.py"]
    assert printed["python constants.py"].strip() == "[2.  3.  0.4]"
    assert ao.Trajectory.load("flow.npz").action < 1e-20
    path = ao.Trajectory.load("path.npz")
    climb = float(path.energy[-1] - path.energy[0])
    assert path.action > 2 * climb > 0
    assert "The trajectory is certified." in printed['actionopt run dose.py --start "no idea" --out dose']
    assert "Trajectory('dose and answer'" in printed["python look.py"]
    energies = np.array(re.findall(r"[\d.e+-]+", printed["python look.py"].splitlines()[1]), dtype=float)
    assert energies[1] < energies[0]


def test_commands_named_in_the_text_exist() -> None:
    options = set(re.findall(r"`(--[a-z-]+)", TEXT))
    known = "".join(CliRunner().invoke(main, [name, "--help"]).output for name in ("action", "flow", "run", "check"))
    assert options - {"--help"} <= set(re.findall(r"--[a-z-]+", known))
