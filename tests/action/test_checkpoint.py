"""A march that was killed goes on where it was kept, and ends where one that was not does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action import checkpoint as module
from actionopt.action.checkpoint import Checkpoint, Reached
from actionopt.action.march import _StageSolver
from problems import xor

XOR = xor.build()
W0 = XOR.initial_weights(0)
RELU = ao.Problem(
    [ao.Dense(2, 4, "relu"), ao.Dense(4, 1)],
    np.random.default_rng(0).normal(size=(8, 2)),
    np.ones(8),
    ao.SquaredError(),
)


class Clock:
    """Time that passes when somebody works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.seconds, self.solved = 0.0, seconds, 0
        solve = _StageSolver.solve

        def working(solver: _StageSolver, *arguments: Any) -> Any:
            self.now += self.seconds
            self.solved += 1
            return solve(solver, *arguments)

        monkeypatch.setattr(_StageSolver, "solve", working)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize("seconds", [1.0, 13.0])
def test_a_kill_loses_less_than_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Whenever it comes: what the file holds is younger than that, or one interval took longer."""
    clock, kept = Clock(monkeypatch, seconds), [0.0]
    keep = Checkpoint.keep

    def noted(self: Checkpoint, reached: Reached, *, now: bool = False) -> None:
        before = self.due
        keep(self, reached, now=now)
        if self.due != before:
            kept.append(clock.now)

    monkeypatch.setattr(Checkpoint, "keep", noted)
    found = ao.flow(XOR, W0, horizon=1.0, steps=100, checkpoint=Checkpoint(tmp_path / "so-far.npz", "key"))
    assert found.success
    assert max(np.diff([*kept, clock.now])) <= 60.0
    assert len(kept) > 3


@pytest.mark.parametrize("method", ["radau5", "implicit_midpoint"])
def test_it_goes_on_and_ends_at_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    options: dict[str, Any] = {"horizon": 2.0, "steps": 40, "method": method}
    whole = ao.flow(XOR, W0, **options)
    clock = Clock(monkeypatch, 7.0)
    solve = _StageSolver.solve

    def killed(*arguments: Any) -> Any:
        if clock.solved == 25:
            raise SystemExit  # as good as a kill: nobody catches it
        return solve(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_StageSolver, "solve", killed)
        with pytest.raises(SystemExit):
            ao.flow(XOR, W0, **options, checkpoint=Checkpoint(tmp_path / "so-far.npz", "key"))
    clock.solved = 0
    found = ao.flow(XOR, W0, **options, checkpoint=Checkpoint(tmp_path / "so-far.npz", "key"))
    assert 15 <= clock.solved < 25
    np.testing.assert_allclose(found.points, whole.points, rtol=0, atol=1e-12 * abs(whole.points).max())
    assert (found.status, found.message) == (whole.status, whole.message)


def test_what_is_done_is_not_marched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"horizon": 1.0, "steps": 10}
    whole = ao.flow(RELU, RELU.initial_weights(0), **options, checkpoint=Checkpoint(tmp_path / "so-far.npz", "key"))
    assert whole.stats.get("in_parts", 0) > 0  # errors of steps at kinks go with it
    clock = Clock(monkeypatch, 1.0)
    again = ao.flow(RELU, RELU.initial_weights(0), **options, checkpoint=Checkpoint(tmp_path / "so-far.npz", "key"))
    assert clock.solved == 0
    np.testing.assert_array_equal(again.points, whole.points)
    np.testing.assert_array_equal(again.distance, whole.distance)
    assert again.stats == whole.stats


def test_files_of_other_marches_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "so-far.npz"
    assert Checkpoint(path, "key").load() is None
    ao.flow(XOR, W0, horizon=1.0, steps=10, checkpoint=Checkpoint(path, "key"))
    assert Checkpoint(path, "key").load() is not None
    assert Checkpoint(path, "another").load() is None
    other = RELU
    w = other.initial_weights(0)
    expected = ao.flow(other, w, horizon=0.1, steps=2)
    found = ao.flow(other, w, horizon=0.1, steps=2, checkpoint=Checkpoint(path, "key"))
    np.testing.assert_array_equal(found.points, expected.points)
    path.write_bytes(path.read_bytes()[:-40])
    assert Checkpoint(path, "key").load() is None
    kept = Checkpoint(path, "key")
    kept.keep(Reached(np.full((2, 3), np.nan), np.zeros(3)), now=True)
    assert kept.load() is None
    kept.keep(Reached(np.zeros((2, 3)), np.zeros(2)), now=True)
    assert kept.load() is None
    kept.remove()
    assert not path.exists()
