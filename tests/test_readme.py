"""What README.md tells people to type works as typed."""

from __future__ import annotations

import inspect
import re
import shlex
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone, to run commands in."""
    for name in ("problems", "plots"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> str:
    """Run a line of the shell in this process."""
    program, *args = shlex.split(command)
    if program == "actionopt":
        target: object = main
    else:
        assert program == "python"
        target = import_module(args.pop(0).removesuffix(".py").replace("/", ".")).main
    result = CliRunner().invoke(target, args)
    assert result.exit_code == 0, command
    assert not re.sub(r"^\d+/\d+ .*\n", "", result.stderr, flags=re.MULTILINE), command  # but progress
    return result.stdout


def test_first_two_commands_are_targets_of_make() -> None:
    assert SHELL[:2] == ["make demo", "make test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)


@pytest.mark.parametrize("command", SHELL[2:])
def test_commands(clone: Path, command: str) -> None:
    assert run(command)


def test_fifteen_lines() -> None:
    source = PYTHON[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 16
    out = StringIO()
    with redirect_stdout(out):
        exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    error, energies, rate = (np.array(line.split(), dtype=float) for line in out.getvalue().splitlines())
    assert error < 1e-14
    first, last, distance = energies
    assert last < 1e-3 * first
    assert 0 < distance < 1e-7
    assert np.isfinite(rate)


def test_problem_file_of_ones_own(clone: Path) -> None:
    source = PYTHON[1]
    (clone / "mine.py").write_text(source)
    command = re.search(r"actionopt check mine.py .*", source)
    assert command is not None
    assert run(command.group())


def test_calls_in_the_table_exist() -> None:
    for name in set(re.findall(r"`ao\.(\w+)", README)):
        assert hasattr(ao, name), name
    for name in set(re.findall(r"`actionopt (\w+)`", README)):
        assert name in COMMANDS, name


def test_every_problem_is_listed() -> None:
    listed = set(re.findall(r"^\| `(\w+)\.py` \|", README, re.MULTILINE))
    assert listed == {path.stem for path in (ROOT / "problems").glob("[a-z]*.py")}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_options_named_in_the_table_exist() -> None:
    calls = re.findall(r"`ao\.(\w+)\(([^`]*)\)`", README)
    assert len(calls) > 10
    for name, arguments in calls:
        known = inspect.signature(getattr(ao, name)).parameters
        assert set(re.findall(r"(\w+)=", arguments)) <= set(known), name
