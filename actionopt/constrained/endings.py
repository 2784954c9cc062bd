"""How a run of Newton's method ends: when one method hands on to the next, and what its statuses advise."""

from __future__ import annotations

import numpy as np

from actionopt.constrained.history import LATELY, Watcher
from actionopt.newton.lanczos import Lowest

FIRST = 40  # steps of a quasi-Newton method before Newton's, where there are few samples
SHORT = 120  # steps that it may still need, at its rate so far, and goes on
ENDED = ("unbounded", "interrupted", "time limit", "stopped")  # what is not left to another engine

ADVICE = {
    "converged": "the gradient vanishes to the tolerance, and no direction of negative curvature was found",
    "saddle": "the gradient vanishes, but the curvature is negative and no step along it lowers the energy: "
    "start elsewhere",
    "iteration limit": "more iterations (max_iterations=), a looser tol, or a start nearer to the answer may get there",
    "infeasible": "no point near the last iterate satisfies the constraints: check bounds and fixed ends, or start "
    "nearer to a feasible point",
    "stalled": "no step lowers the energy further, as happens at a kink (relu, abs) and at the limit of rounding: "
    "loosen tol, or use a smooth activation such as softplus",
    "unbounded": "the energy falls without end: weight_decay or bounds keep it from doing so",
    "not finite": "the gradient at the start is not finite: start elsewhere",
    "time limit": "these are the best weights so far; give more time (time_limit=) or go on from them",
    "interrupted": "these are the best weights so far; another run can go on from them",
    "stopped": "the callback ended the run; these are the best weights so far",
}
VALLEY = (
    "; the gradient has shrunk by less than half in the last {count} iterations while the weights moved by "
    "{moved:.0%}: a valley, as separable classes or spare units give without weight decay. A small weight_decay "
    "makes the minimum one point"
)


class Slow:
    """Whether a quasi-Newton method, at the rate of its last steps, is far from a tolerance on the gradient."""

    def __init__(self, tol: float) -> None:
        self.tol = tol
        self.norms: list[float] = []

    def __call__(self, norm: float) -> bool:
        """Say so after one more iteration, at which the largest entry of the gradient is `norm`."""
        norms = self.norms
        norms.append(norm)
        if len(norms) <= FIRST or (len(norms) - 1) % 10:
            return False
        rate = np.log(min(norms[-FIRST : -FIRST // 2]) / min(norms[-FIRST // 2 :])) / (FIRST // 2)
        return not np.log(norms[-1] / self.tol) < SHORT * rate


def valley(status: str, watcher: Watcher, decay: float) -> str:
    """Return what to add to a message where weights moved and the gradient stayed, for want of weight decay."""
    moved = watcher.drift
    if status not in ("iteration limit", "time limit") or decay or moved is None:
        return ""
    return VALLEY.format(count=LATELY, moved=moved)


def second_word(lowest: Lowest, scale: float = 1.0) -> str:
    """Return what the lowest eigenvalue says, for a message."""
    if lowest.sign == 0 and not lowest.settled:
        return f"; no negative curvature in {lowest.products} Hessian products (second_order=True looks closer)"
    word = {-1: "a saddle", 0: "flat in some direction, to rounding", 1: "a minimum"}[lowest.sign]
    return f"; lowest eigenvalue of the Hessian {lowest.value * scale:.2e}: {word}"


def verdict(status: str, lowest: Lowest | None) -> bool | None:
    """Return whether an end is a minimum; None where that cannot be told."""
    if status == "saddle":
        return False
    if status != "converged" or lowest is None:
        return None
    return {-1: False, 0: None, 1: True}[lowest.sign]
