"""What docs/action.md and docs/certificates.md show and tell people to type works as typed."""

from __future__ import annotations

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from actionopt.cli import main

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "action.md"


@pytest.mark.parametrize(("page", "least"), [("action.md", 12), ("certificates.md", 12)])
def test_examples(page: str, least: int) -> None:
    result = doctest.testfile(str(GUIDE.with_name(page)), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= least


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, in turn, in a folder that looks like a clone: later ones read the files of earlier ones."""
    for name in ("problems", "plots"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for command in block.splitlines():
        program, *args = shlex.split(command)
        script = main if program == "actionopt" else import_module(args.pop(0)[:-3].replace("/", ".")).main
        done = CliRunner().invoke(script, args)
        assert (done.exit_code, done.stderr) == (0, ""), command
    assert {"flow.npz", "path.npz", "trajectory.png", "landscape.png", "order.png"} <= {
        p.name for p in tmp_path.iterdir()
    }


def test_figures_are_there() -> None:
    for target in re.findall(r"\]\((figures/[^)]+)\)", GUIDE.read_text()):
        assert (GUIDE.parent / target).is_file()
