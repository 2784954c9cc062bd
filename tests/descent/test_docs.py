"""The example of the page on mini-batches runs, and the names it mentions exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import actionopt as ao

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "descend.md"


def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= 6


def test_files_and_names_exist() -> None:
    text = PAGE.read_text()
    files = set(re.findall(r"((?:tests|plots|problems|actionopt|benchmarks)/\w[\w/]*\.py)", text))
    assert len(files) > 2
    assert [name for name in files if not (ROOT / name).exists()] == []
    names = set(re.findall(r"ao\.(\w+)", text))
    assert [name for name in names if not hasattr(ao, name)] == []
