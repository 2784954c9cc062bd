"""The metric of one step: the gradient pulled back beside the rows, and in single precision where that will do.

A step that is asked for to two or three digits needs no more of the rows. What single precision leaves of a solution is
looked at when it is found: where rounding could reach a tenth of the tolerance, everything is done again in double.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.backprop import ForwardPass, forward_pass
from actionopt.errors import InputError
from actionopt.metric.block import Block, metric_blocks
from actionopt.metric.layer_metric import Direction, LayerMetric, check_options, finite_gradient
from actionopt.metric.output_factor import output_factor
from actionopt.metric.recursion import check_finite
from actionopt.metric.solver import BlockSolver
from actionopt.metric.source import Along, Source
from actionopt.ops import NUMPY
from actionopt.problem import Problem

SINGLE = 1e-3  # tolerance from which single precision is tried
RANGE = 1e-12  # smallest number, and inverse of the largest, that it is tried for


class StepMetric:
    """What a step from one point needs: `x = G^{-1} (g + D v)` and what it does.

    Parameters are those of `LayerMetric`, whose directions these are.

    Raises
    ------
    InputError
        As `LayerMetric`.
    """

    def __init__(
        self, problem: Problem, w: Any, *, joint: bool = False, solve: str = "auto", tol: float = 1e-10
    ) -> None:
        check_options(solve, tol)
        self.problem, self.w = problem, problem.check_point(w).copy()
        self._given = problem
        self._options: dict[str, Any] = {"joint": bool(joint), "solve": solve, "tol": float(tol)}
        self._factor, self._pulled = 1.0, dict[type, list[Block]]()
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            self._passed = forward_pass(problem, self.w)
            self._peaks = [float(abs(state).max(initial=0.0)) for state in self._passed.states]
            if not np.isfinite(self._peaks).all():
                check_finite(problem, self._passed.states[len(problem.network.data) :])
            self._factors = _factors_with_slope(problem, self._passed)

    @property
    def states(self) -> list[np.ndarray]:
        """States of all nodes of the network, data first."""
        return self._passed.states

    def with_mass(self, factor: float) -> StepMetric:
        """Return the metric with all masses times a factor; what was pulled back is shared."""
        if factor == 1.0:
            return self
        found, problem = copy(self), copy(self.problem)
        problem.mass = self.problem.mass * factor
        found.problem, found._factor = problem, self._factor * factor
        vars(found).pop("plain", None)
        return found

    @cached_property
    def energy(self) -> float:
        """E of the batch at these weights."""
        mean = float(self.problem.network.values(NUMPY, self.states).mean())
        return mean + 0.5 * self.problem.weight_decay * float(self.w @ self.w)

    def fall(self, d: np.ndarray) -> float:
        """Return `g . d`, without the gradient where it is not at hand."""
        if self._factors is None or "gradient" in vars(self):
            return float(self.gradient @ d)
        fall = self.problem.weight_decay * float(self.w @ d)
        for whole in self._blocks(np.float32 if self._single else np.float64):
            slope = whole.part(slice(-1, None))
            pushed = slope.push(whole.root * d[whole.weights].astype(whole.root.dtype, copy=False))
            fall += float(pushed.sum()) * slope.shape[1] ** -0.5
        return fall

    @cached_property
    def gradient(self) -> np.ndarray:
        """`dE/dw (n,)`."""
        return finite_gradient(self.problem, self._passed)

    @cached_property
    def plain(self) -> LayerMetric:
        """The metric without the slope."""
        return LayerMetric(self.problem, self.w, **self._options)

    def solve(self, c: np.ndarray) -> np.ndarray:
        """Return `G^{-1} c`, as `LayerMetric.solve`."""
        return self.plain.solve(c)

    def change(self, d: np.ndarray) -> float:
        """Return `|J d|^2`, as `LayerMetric.change`."""
        return self.plain.change(d)

    def solve_gradient(self, v: np.ndarray | None = None) -> Direction:
        """Return `x = G^{-1} (g + D v)`, with v `(n,)` zero where None, and what a step along x does.

        Raises
        ------
        InputError, SolverError
            As `LayerMetric.gradient` and `solve`.
        """
        if self._factors is None:
            return self.plain.solve_gradient(v)
        found = None
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # single precision may overflow
            if self._single:
                found = self._solved(self._blocks(np.float32), v, exactly=False)
        if found is None:
            found = self._solved(self._blocks(np.float64), v, exactly=True)
        if found is None or not (np.isfinite(found.slope) and np.isfinite(found.x).all()):
            raise InputError("the gradient is not finite at these weights; take a smaller step or a larger mass")
        return found

    @property
    def _single(self) -> bool:
        """Whether single precision may do: for the tolerance, and as squares of numbers are far from its ends."""
        if self._options["tol"] < SINGLE:
            return False
        (factor,) = self._factors or [np.ones((2, 1, 1))]
        mass = self.problem.mass
        sizes = [abs(factor[:-1]).max(), abs(factor[-1]).max(), mass.min(initial=1.0), mass.max(initial=1.0)]
        return bool(min(sizes) >= RANGE and max(*sizes, *self._peaks) <= 1.0 / RANGE)

    def _blocks(self, dtype: type) -> list[Block]:
        """Return the blocks with the slope as their last row, in a precision."""
        if dtype not in self._pulled:
            self._pulled[dtype] = self._pull(dtype)
        blocks, factor = self._pulled[dtype], self._factor
        return blocks if factor == 1.0 else [block.heavier(factor) for block in blocks]

    def _pull(self, dtype: type) -> list[Block]:
        """Pull back, with the problem's own mass."""
        passed, factors = self._passed, self._factors or []
        if dtype is not np.float64:
            passed = ForwardPass(passed.w, _in(dtype, passed.pieces), _in(dtype, passed.states))
            factors = _in(dtype, factors)
        with np.errstate(over="ignore", invalid="ignore"):
            return metric_blocks(self._given, passed, joint=self._options["joint"], check=False, factors=factors)

    def _solved(self, blocks: Sequence[Block], v: np.ndarray | None, *, exactly: bool) -> Direction | None:
        """Solve block by block; None where that is not exact enough in the blocks' precision."""
        mass, decay = self.problem.mass, self.problem.weight_decay
        more = v if not decay else decay * self.w / mass + (0.0 if v is None else v)
        x = np.zeros(len(mass)) if more is None else more.copy()
        fall, moved = 0.0, np.zeros(())
        for whole in blocks:
            block, cut = whole.part(slice(-1)), whole.weights
            solver = BlockSolver(block, self._options["solve"], self._options["tol"])
            push = None if more is None else block.root * more[cut].astype(block.root.dtype)
            source = Source(whole, block, push)
            along: Along | None = solver.solve_along(source)
            if along is None:
                if not exactly:
                    return None
                along = solver.solve_explicitly(source)
            x[cut] = along.x
            fall, moved = fall + along.fall, moved + along.moved
        return Direction(x, fall + decay * float(self.w @ x), float(np.vdot(moved, moved)))


def _in(dtype: type, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [array.astype(dtype) for array in arrays]


def _factors_with_slope(problem: Problem, passed: ForwardPass) -> list[np.ndarray] | None:
    """Return the output metric's factor and, as its last row, the slope of the loss; None where there is no such row.

    That is so for several costs, and where the metric is the mass alone.
    """
    if len(problem.costs) != 1 or problem.output_metric is None or problem.costs[0].weight == 0.0:
        return None
    ((node, slope),) = problem.network.slopes(NUMPY, passed.states).items()
    factor = output_factor(problem, passed.states[node])
    return [np.concatenate([factor, slope[None]])] if len(factor) else None
