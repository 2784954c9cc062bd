"""Damaged trajectory files: refused with a reason, or read as what was written; never half, never a traceback."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from tests.fuzz.harness import WRONG_INPUT, status_of
from tests.fuzz.sources import VALID


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A trajectory file as it should be."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "valid.py").write_text(VALID)
    problem = ao.load_problem(folder / "valid.py")
    path = folder / "whole.npz"
    ao.flow(problem, problem.initial_weights(), horizon=0.1, steps=4).save(path)
    return path.read_bytes()


def damaged(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Bytes changed, cut out, doubled, or exchanged with those of another place."""
    rng = random.Random(seed)
    for _ in range(count):
        start = rng.randrange(len(whole))
        stop = min(len(whole), start + rng.choice((1, 1, 2, 8, 64)))
        other = rng.randrange(len(whole))
        new = rng.choice(
            (rng.randbytes(stop - start), b"", whole[start:stop] * 2, whole[other : other + stop - start], b"\xff")
        )
        yield whole[:start] + new + whole[stop:]


def damaged_inside(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A sound archive whose members are damaged, so that only numpy's format and our checks can tell."""
    rng = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(count):
        name = rng.choice(sorted(members))
        # the header of a member is its first 128 bytes: shapes, types, order
        place = rng.randrange(128 if rng.random() < 0.7 else len(members[name]))
        junk = rng.choice((rng.randbytes(1), b"9", b"'", b"(", b"\x00", b"99999999999", b"O"))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in members.items():
                changed = content[:place] + junk + content[place + len(junk) :]
                archive.writestr(member, changed if member == name else content)
        yield buffer.getvalue()


def same(path: Path, whole: bytes) -> bool:
    """Whether the file is read as the whole one is; False where it is refused, and all else is an error."""
    try:
        found = ao.Trajectory.load(path)
    except ao.InputError:
        return False
    path.write_bytes(whole)
    expected = ao.Trajectory.load(path)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.times, expected.times)
    assert (found.name, found.status, found.stats) == (expected.name, expected.status, expected.stats)
    return True


@pytest.mark.parametrize("damage", [damaged, damaged_inside])
def test_damaged(tmp_path: Path, written: bytes, damage: object) -> None:
    path = tmp_path / "damaged.npz"
    refused = 0
    for content in damage(written, 400, seed=3):  # type: ignore[operator]
        path.write_bytes(content)
        refused += not same(path, written)
    assert refused >= 300


def test_truncated(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "cut.npz"
    for length in range(0, len(written), 37):
        path.write_bytes(written[:length])
        assert not same(path, written)


@pytest.mark.filterwarnings("ignore")
def test_as_a_guess_on_the_command_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "valid.py").write_text(VALID)
    guess = tmp_path / "guess.npz"
    for content in (b"", b"PK", b"junk", written[:-30], written[50:], written + b"x" * 70000):
        guess.write_bytes(content)
        assert status_of(["action", tmp_path / "valid.py", "--horizon", "0.1", "--guess", guess]) == WRONG_INPUT
