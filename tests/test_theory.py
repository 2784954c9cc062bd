"""The examples of the documents on theory and on ways in hold, and the public names they mention exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import actionopt as ao

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(("name", "examples"), [("theory.md", 15), ("ways-in.md", 10)])
def test_examples(name: str, examples: int) -> None:
    result = doctest.testfile(str(DOCS / name), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= examples


def test_public_names_exist() -> None:
    names = set(re.findall(r"`(?:ao\.)?([a-z]+_[a-z_]+|[A-Z]\w+[a-z])`", (DOCS / "theory.md").read_text()))
    others = {"output_metric", "weight_decay", "None"}  # options of Problem, and a value
    assert {"SquaredError", "minimize_action", "measure_stability"} <= names
    assert {name for name in names if not hasattr(ao, name)} == others
