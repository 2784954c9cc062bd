"""Search of the largest ball on which a rate is proved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionopt.contraction.proof.prover import Prover, enough
from actionopt.errors import InputError

MOST = 2.0**20  # radius at which a search ends, in units of the centre's length
CLOSE, CLOSE_BOXES = 0.97, 0.995  # a search ends when what it proved is that near to what it tried
CLOSE_TAYLOR, FEW = (0.99, 0.95), 50_000  # the same in the Taylor form, with few numbers in its tensors and with many
STEPS = 10  # of the search in the Taylor form


def largest_radius(prover: Prover, level: float) -> float:
    """Return about the largest radius of a ball on which a rate of at least `level` is proved; 0 for none."""
    radius = 0.0
    if prover.order > 2:
        radius = _taylor(prover, level)
        if radius > 0.0:  # the other form is asked only whether it goes further
            euclidean = prover.metric == "euclidean" and prover.order > 3
            prover.forms[radius] = (level, "Taylor form" if euclidean else "mean value form")
    if not radius or prover.boxes > 1 or prover.further(1.05 * radius, level):
        radius = _bracketed(prover, lambda r: enough(guarded(prover, r), level), radius)
    return radius


def guarded(prover: Prover, radius: float) -> float:
    """Rate on a ball; -inf also where it has a kink or its metric may be singular: a smaller one is tried."""
    try:
        return prover.rate(radius)
    except InputError:
        return -np.inf


def _taylor(prover: Prover, level: float) -> float:
    """Search where the radius that the Taylor form allows equals the one it was enclosed over.

    The first falls with the second, so the root lies between the two, and the smaller of them is proved.
    """
    first = prover.first_order()
    start = 0.0 if first is None else first.radius(level)
    if not start > 0.0:
        return 0.0
    best, most = 0.0, min(start, MOST * _length(prover))
    tried: list[tuple[float, float]] = []
    close = CLOSE_TAYLOR[prover.problem.size**prover.order * prover.problem.samples > FEW]
    radius = min(0.35 * start, most)
    for _ in range(STEPS):
        try:
            expansion = prover.expansion(radius)
            allowed = 0.0 if expansion is None else expansion.radius(level)
        except InputError:  # a kink in the ball, or a metric that may be singular
            allowed = 0.0
        best, most = max(best, min(radius, allowed)), min(most, max(radius, allowed))
        if prover.late or best >= close * most:
            break
        tried.append((float(np.log(radius)), float(np.log(allowed / radius)) if allowed else -np.inf))
        radius = _next(tried, best, most)
    return best


def _next(tried: list[tuple[float, float]], best: float, most: float) -> float:
    """Return the radius to try: by the secant of the logarithms, within what is still open."""
    (at, excess), before = tried[-1], tried[-2] if len(tried) > 1 else None
    if not np.isfinite(excess):
        return most if excess > 0.0 else max(0.3 * float(np.exp(at)), best)
    slope = -1.05 if excess > 0.0 else -2.0  # of what hardly moves with the ball, and of what does
    if before is not None and np.isfinite(before[1]) and before[0] != at:
        slope = min(-0.2, (excess - before[1]) / (at - before[0]))
    return float(np.clip(np.exp(at - excess / slope), 1.003 * best, 0.997 * most))


def _bracketed(prover: Prover, good: Callable[[float], bool], low: float) -> float:
    """Search the largest radius where `good` holds, which it does at `low`, if that is not 0; 0 for none."""
    length, single = _length(prover), prover.boxes == 1
    if low and single and good(0.5 * MOST * length):  # a convex problem, at once
        return 0.5 * MOST * length
    high, close = np.inf, CLOSE if single else CLOSE_BOXES
    radius = (4.0 if single else 1.2) * low or 1e-2 * length
    while not prover.late and 1e-12 * length < radius < MOST * length and low < close * high:
        if good(radius):
            low, radius = radius, 16.0 * radius if high == np.inf else np.sqrt(radius * high)
        else:
            high, radius = radius, np.sqrt(low * radius) if low else radius / 16.0
    return low


def _length(prover: Prover) -> float:
    """Length of the centre in the norm of the mass, and one."""
    return 1.0 + float(np.linalg.norm(prover.centre * np.sqrt(prover.problem.mass)))
