"""Run the command line on broken input: it says what is wrong in one line and exits with 2, never with a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from click.testing import CliRunner

from actionopt.cli import main

HOLDS, FAILED, WRONG_INPUT = 0, 1, 2


def status_of(args: Sequence[object]) -> int:
    """Run `actionopt` in this process; the status, after checking what every ending has in common."""
    words = [str(arg) for arg in args]
    result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raised = "".join(traceback.format_exception(result.exception))
        raise AssertionError(f"actionopt {' '.join(words)} ended in a traceback:\n{raised}")
    assert result.exit_code in (HOLDS, FAILED, WRONG_INPUT), f"{words}: exit status {result.exit_code}"
    assert "Traceback" not in result.output, words
    if result.exit_code == WRONG_INPUT:
        assert result.stdout == "", f"{words}: wrote {result.stdout!r} on standard output"
        lines = result.stderr.splitlines()
        assert len(lines) == 1, f"{words}: expected one line, got {lines}"
        assert lines[0].startswith("actionopt: "), f"{words}: {lines[0]}"
        assert len(lines[0]) > len("actionopt: ") + 8, f"{words}: says nothing: {lines[0]}"
    return result.exit_code
