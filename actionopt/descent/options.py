"""What a run of mini-batches was asked for, checked once."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.errors import InputError, unknown_name
from actionopt.metric.kinds import METRICS
from actionopt.metric.move import check_step
from actionopt.metric.solver import SOLVERS
from actionopt.problem import Problem
from actionopt.shards.shards import Shards

NOT_FINITE = ("stop", "skip")


@dataclass(frozen=True)
class Options:
    """Options of `descend`, by the same names; numbers and strings alone, so that a file holds them."""

    batch: int
    epochs: int
    step: float | str
    momentum: float
    trust: float | None
    rows: int | str
    metric: str
    solve: str
    tol: float
    cooldown: float
    adapt: bool
    not_finite: str
    seed: int

    def check(self, problem: Problem | Shards) -> None:
        """Raise InputError where an option is out of range, naming it."""
        _whole("batch", self.batch, 1)
        _whole("epochs", self.epochs, 0)
        _whole("seed", self.seed, 0)
        if self.rows != "exact":
            _whole("rows (other than 'exact')", self.rows, 1)
        if self.batch > problem.samples:
            raise InputError(f"batch is larger than the data: {self.batch} of {problem.samples} samples")
        check_step(self.step, self.momentum, self.trust)
        for what, value, known in (
            ("metric", self.metric, METRICS),
            ("solve", self.solve, SOLVERS),
            ("not_finite", self.not_finite, NOT_FINITE),
        ):
            if value not in known:
                raise unknown_name(what, value, known)
        if not isinstance(self.adapt, (bool, np.bool_)):
            raise InputError(f"adapt must be True or False, got {self.adapt!r}")
        if not isinstance(self.cooldown, numbers.Real) or not 0.0 <= float(self.cooldown) <= 1.0:
            raise InputError(f"cooldown must be a share of the steps, in [0, 1], got {self.cooldown!r}")

    def steps_of(self, samples: int) -> int:
        """Return the number of steps an epoch."""
        return -(-samples // self.batch)

    @property
    def adapts(self) -> bool:
        """Whether the mass follows the steps: only those whose size is the model's tell anything about it."""
        return bool(self.adapt) and self.step == "model"

    def cooled(self, step: int, steps: int) -> float:
        """Return the factor of step number `step` of `steps`: one, then falling linearly to zero after the last."""
        left = (steps - step) / steps
        return min(1.0, left / self.cooldown) if self.cooldown else 1.0

    def batches(self, samples: int, epoch: int) -> list[np.ndarray]:
        """Return the samples of every batch of an epoch: all of them, shuffled, in batches as equal as they come."""
        order = np.random.default_rng([self.seed, epoch]).permutation(samples)
        return np.array_split(order, self.steps_of(samples))

    def signs(self, epoch: int, step: int) -> np.random.Generator | None:
        """Return what draws the sampled rows of a step; None for exact rows."""
        return None if self.rows == "exact" else np.random.default_rng([self.seed, epoch, step, 1])


def _whole(what: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{what} must be a whole number >= {least}, got {value!r}")
