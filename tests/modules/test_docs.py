"""The example of the page on modules runs, and every module is on it."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import actionopt as ao
from actionopt import modules

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "modules.md"


def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= 7


def test_every_module_has_its_line() -> None:
    text = PAGE.read_text()
    kinds = [name for name in modules.__all__ if isinstance(getattr(modules, name), type)]
    named = [name for name in kinds if issubclass(getattr(modules, name), ao.Module) and hasattr(ao, name)]
    assert [name for name in named if f"ao.{name}(" not in text and name != "Module"] == []
