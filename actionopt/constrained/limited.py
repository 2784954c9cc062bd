"""Training within bounds and constraints by Newton's method, and control problems: no program is built.

- chains with constraints, and control problems: an interior point over Riccati elimination (`newton/lifted.py`);
- bounds alone: SciPy's L-BFGS-B for as long as it converges fast, then Newton's method in a projected trust region
  (`newton/projected.py`); deep and hard chains are lifted in between.

All of it is certified from the problem itself: the gradient of the Lagrangian by backpropagation, every multiplier an
adjoint.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from actionopt.constrained.ended import Ended, solution_of
from actionopt.constrained.endings import ENDED, Slow
from actionopt.constrained.energy import Energy, EnergyPoint
from actionopt.constrained.history import Watcher
from actionopt.constrained.newton import check_newton, is_deep
from actionopt.constrained.solution import Solution
from actionopt.constrained.stages import why_no_chain
from actionopt.constrained.task import TrainTask
from actionopt.constrained.watching import watching
from actionopt.errors import InputError
from actionopt.newton.lifted import LiftedNewton, LiftedResult
from actionopt.newton.point import largest
from actionopt.newton.projected import ProjectedNewton, projected

FINER = (0.1, 1e-3, 1e-5)  # parts of the tolerance that the interior point is held to, one after the other
MEMORY = 20  # pairs that L-BFGS-B keeps


def is_limited(task: TrainTask) -> bool:
    """Whether a task has bounds or constraints, or costs on controls and states together, as control problems do."""
    return task.bounded or bool(task.constraints) or (task.reads and not why_no_chain(task.problem))


def why_not_newton(task: TrainTask) -> str:
    """Say why a task is beyond this solver; "" where it is not."""
    return why_no_chain(task.problem, task.constraints) if task.constraints else ""


def train_limited(task: TrainTask) -> Solution:
    """Minimise E within bounds and constraints.

    Raises
    ------
    InputError
        If there are constraints and the problem is no chain, or the formulation does not fit.
    """
    began = time.perf_counter()
    check_newton(task)
    reason = why_not_newton(task)
    if reason:
        raise InputError(
            f"solver 'newton' takes constraints where every module takes the state before it alone: {reason}; "
            "solver='ipopt' takes all"
        )
    if task.formulation == "condensed" and (task.constraints or task.reads):
        raise InputError(
            "solver 'newton' has no condensed form of constraints and control problems: leave it to 'auto'"
        )
    with np.errstate(all="ignore"), watching(task, task.scale) as watcher:
        if task.constraints or task.formulation == "lifted" or (task.reads and not why_no_chain(task.problem)):
            ended = _interior(task, watcher)
        else:
            ended = _Bounded(task, watcher).run()
        return solution_of(task, ended, watcher, time.perf_counter() - began)


def _interior(task: TrainTask, watcher: Watcher, iterations: int = 0) -> Ended:
    """Solve by the interior point over Riccati elimination, as finely as the certificate asks for."""
    chain = task.by_stages.chain.over(task.scale)
    low, high = task.bounds
    solver = LiftedNewton(chain, task.tol, task.max_iterations - iterations, low, high, watch=watcher)
    result: LiftedResult | None = None
    for part in FINER:
        solver.tol = part * task.tol
        result = solver.minimize(task.start, task.by_stages.z) if result is None else solver.go_on(result)
        ended = _ended(task, result, iterations)
        if result.status != "converged" or ended.certified(task).worst <= task.tol:
            break
    return ended


def _ended(task: TrainTask, result: LiftedResult, iterations: int) -> Ended:
    point, scale = result.point, task.scale
    ends = np.cumsum([c.lower.size for c in task.constraints])[:-1]
    mu = np.split(point.mu * scale, ends) if task.constraints else []
    return Ended(
        w=point.w,
        force=point.force * scale,
        mu=[m.reshape(c.lower.shape) for m, c in zip(mu, task.constraints, strict=True)],
        status=result.status,
        engine="lifted Riccati",
        iterations=iterations + result.iterations,
        point=point,
    )


class _Bounded:
    """Bounds alone: L-BFGS-B, the lifted form where that crawls on a deep chain, and a projected trust region."""

    def __init__(self, task: TrainTask, watcher: Watcher) -> None:
        self.task, self.watcher = task, watcher
        self.energy = Energy(task.problem, task.scale)
        self.point = self.energy(task.start)
        self.iterations, self.products = 0, 0

    def run(self) -> Ended:
        status = self._quasi_newton() if np.isfinite(self.point.gradient).all() else "not finite"
        engine = "L-BFGS-B"
        if status == "slow" and self.task.formulation == "auto" and is_deep(self.task.problem):
            status, engine = self._lifted(), "lifted Riccati"
        if status not in (*ENDED, "not finite") and self._left > 0:
            low, high = self.task.bounds
            newton = ProjectedNewton(self.energy, low, high, self.task.tol, self._left, self.watcher)
            found = newton.minimize(self.point)
            self.point = found.point  # type: ignore[assignment]
            self.iterations += found.iterations
            self.products, status = found.products, found.status
            engine = engine if engine != "L-BFGS-B" or not found.iterations else "projected trust region"
        status = "iteration limit" if status in ("slow", "done") else status
        w, (low, high) = self.point.x, self.task.bounds
        pushing = projected(self.point.gradient, w, low, high) == 0.0
        force = np.where(pushing & ((w <= low) | (w >= high)), -self.point.gradient, 0.0) * self.task.scale
        return Ended(w, force, [], status, engine, self.iterations, self.products)

    @property
    def _left(self) -> int:
        return self.task.max_iterations - self.iterations

    def _quasi_newton(self) -> str:
        """Run SciPy's L-BFGS-B; return what it ended with, "slow" where another method should go on."""
        from scipy.optimize import minimize  # loads on use

        seen: dict[bytes, EnergyPoint] = {self.point.x.tobytes(): self.point}
        slow, (low, high) = Slow(self.task.tol), self.task.bounds
        status = self.watcher(0, self.point)
        if status is not None:
            return status

        def together(w: np.ndarray) -> tuple[float, np.ndarray]:
            point = seen.setdefault(w.tobytes(), self.energy(w.copy()))
            return point.value, point.gradient

        def after(intermediate_result: Any) -> None:
            nonlocal status
            self.point = seen[np.asarray(intermediate_result.x).tobytes()]
            seen.clear()
            seen[self.point.x.tobytes()] = self.point
            self.iterations += 1
            status = self.watcher(self.iterations, self.point)
            if status is None and slow(largest(projected(self.point.gradient, self.point.x, low, high))):
                status = "slow"
            if status is not None:
                raise StopIteration

        options: dict[str, Any] = {
            "gtol": self.task.tol, "ftol": 0.0, "maxcor": MEMORY,
            "maxiter": self.task.max_iterations, "maxfun": 20 * self.task.max_iterations,
        }  # fmt: skip
        bounds = list(zip(low, high, strict=True))
        try:
            minimize(
                together, self.point.x, jac=True, method="L-BFGS-B", bounds=bounds, callback=after, options=options
            )
        except KeyboardInterrupt:
            return "interrupted"
        return status or "done"

    def _lifted(self) -> str:
        """Lift from the start; keep where that ended if it is lower, or converged."""
        ended = _interior(self.task, self.watcher, self.iterations)
        self.iterations = ended.iterations
        end = self.energy(np.clip(ended.w, *self.task.bounds))
        usable = np.isfinite(end.value) and np.isfinite(end.gradient).all()
        if usable and (end.value <= self.point.value or ended.status == "converged"):
            self.point = end
        return ended.status
