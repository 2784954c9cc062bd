"""Broken problem files: refused in one line with exit status 2, whatever is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import actionopt as ao
from tests.fuzz import sources
from tests.fuzz.harness import HOLDS, WRONG_INPUT, status_of

pytestmark = pytest.mark.filterwarnings("ignore")  # what a broken file warns about is its own affair


def loads(path: Path) -> bool:
    """Whether the file defines a system; anything but an InputError is an error of ours."""
    try:
        ao.load_problem(path)
    except ao.InputError:
        return False
    return True


def refused(files: Iterable[str | bytes], path: Path) -> int:
    """Run `actionopt flow` on every file: how many were refused. What cannot be loaded must be."""
    count = 0
    for content in files:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        status = status_of(["flow", path, "--horizon", "0.1", "--steps", "2"])
        assert loads(path) or status == WRONG_INPUT, f"exit status {status} for:\n{content!r}"
        count += status == WRONG_INPUT
    return count


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One name for all files; no bytecode, which Python would take for that of the next file of the same second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path / "broken.py"


def test_the_valid_file_is_valid(path: Path) -> None:
    path.write_text(sources.VALID)
    assert status_of(["flow", path, "--horizon", "0.1", "--steps", "2", "--start", "ones"]) == HOLDS


def test_broken_by_hand(path: Path) -> None:
    files = list(sources.by_hand())
    assert refused(files, path) == len(files) >= 180


def test_truncated(path: Path) -> None:
    files = list(sources.truncated(4))
    assert refused(files, path) == len(files) >= 140


def test_exchanged_tokens(path: Path) -> None:
    assert refused(sources.exchanged(400, seed=1), path) >= 250


def test_stray_bytes(path: Path) -> None:
    assert refused(sources.stray_bytes(40, seed=2), path) >= 70
