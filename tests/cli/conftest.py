"""Run the command line in this process, and write problem files to run it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from actionopt.cli import main


class Outcome(NamedTuple):
    """What a run left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        """The one JSON object of a run with --json."""
        return json.loads(self.out)


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """Run `actionopt` with arguments; whatever is no exit is an error of the test."""

    def run(*args: object) -> Outcome:
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def problem_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a problem file, `import actionopt as ao` included."""

    def write(source: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text("import actionopt as ao\nimport numpy as np\n\n" + source)
        return path

    return write
