"""The examples of docs/theory.md hold."""

from __future__ import annotations

import doctest
from pathlib import Path

THEORY = Path(__file__).parents[1] / "docs" / "theory.md"


def test_examples() -> None:
    result = doctest.testfile(str(THEORY), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= 15
