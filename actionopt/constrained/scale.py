"""The size of the terms of training's first-order conditions, which "converged" is relative to.

    dE/dw_i = sum_b (B_b^T lam_b)_i + rho w_i:      t_i = sum_b |(B_b^T s_b)_i| + rho |w_i|

with s_b of random signs and the size that the slope of the loss has where the output is zero: what the targets alone
say, so that neither a start far off in their units nor one that fits already changes what is asked for. Losses without
targets have the slope at the start instead, or, where that is a solution already, curvature times output. All of it is
proportional to the loss, and t_i has the unit of what weight i multiplies: a fit in SI units keeps its digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.network import Network, Term
from actionopt.ops import NUMPY
from actionopt.problem import Problem

MOST_NUMBERS = 2_000_000  # samples times weights up to which every sample is looked at
NEAR = 1e-4  # part of curvature times output below which a slope is that of a solution
FLOOR = 1e-12  # of the terms at the start, which count where all terms vanish, as in the minimum of w^4
ROUNDING = 1e-15  # of the largest term, below which no component is resolved


@dataclass(frozen=True)
class Terms:
    """Sizes of terms, from one or several points.

    Attributes
    ----------
    weights : array (n,)
        t_i of every weight.
    slope : float
        The largest size of a cost's slope, over B.
    """

    weights: np.ndarray
    slope: float

    @property
    def largest(self) -> float:
        """The largest of all, 1 where nothing is left: what the energy is divided by."""
        size = float(self.weights.max(initial=0.0)) or self.slope
        return size if 0.0 < size < np.inf else 1.0

    def after(self, start: Terms) -> Terms:
        """Return the terms by which an end is judged, these being its own.

        Those of the start count, weight by weight, but no further than to the largest at the end: a unit that has
        saturated has next to none left, and a start from far off, where an exponential or a power is huge, makes none.
        """
        end, most = self.weights, float(self.weights.max(initial=0.0))
        own = np.fmax(end, np.fmax(FLOOR * start.weights, np.fmin(start.weights, most)))
        return Terms(own, max(self.slope, FLOOR * start.slope))

    def relative(self, residual: np.ndarray) -> np.ndarray:
        """Return a residual of dE/dw, weight by weight relative to its terms."""
        floor = ROUNDING * self.largest
        return abs(residual) / np.fmax(self.weights, floor)


def terms_at(problem: Problem, w: np.ndarray, slopes: list[float] | None = None) -> Terms:
    """Return the sizes at `w (n,)`; `slopes`, one a cost, where they are known from another point."""
    network = problem.network
    slopes = cost_slopes(problem, w) if slopes is None else slopes
    count = int(np.clip(MOST_NUMBERS // max(problem.size, 1), 1, network.samples))
    chosen = np.unique(np.linspace(0, network.samples - 1, count).astype(int))
    part = network.take(chosen).one_by_one()
    pieces = network.split(NUMPY, w)
    with np.errstate(all="ignore"):
        states = part.forward(NUMPY, pieces)
        sources = _sources(part, states, slopes, network.samples)
        _, pulled = part.backward(NUMPY, pieces, states, sources)
    found = [
        np.zeros(group.size) if own is None else np.broadcast_to(abs(own), (len(chosen), group.size)).sum(axis=0)
        for group, own in zip(network.groups, pulled, strict=True)
    ]
    sizes = np.concatenate([np.zeros(0), *found]) * (network.samples / len(chosen))
    sizes = np.nan_to_num(sizes, nan=0.0, posinf=0.0) + problem.weight_decay * abs(w)
    return Terms(sizes, max(slopes) / network.samples)


def _sources(part: Network, states: list[np.ndarray], slopes: list[float], samples: int) -> dict[int, np.ndarray]:
    signs = np.random.default_rng(0)
    sources: dict[int, np.ndarray] = {}
    for term, size in zip(part.costs, slopes, strict=True):
        shape = (len(part.targets[0]), 1, states[term.node].shape[-1])
        own = size / samples * signs.choice([-1.0, 1.0], shape)
        sources[term.node] = sources[term.node] + own if term.node in sources else own
    return sources


def cost_slopes(problem: Problem, w: np.ndarray) -> list[float]:
    """Return the size of every cost's slope in its node's state, the cost's weight included."""
    network = problem.network
    with np.errstate(all="ignore"):
        states = network.forward(NUMPY, network.split(NUMPY, w))
        return [
            abs(term.weight) * _slope(term, states[term.node], targets)
            for term, targets in zip(network.costs, network.targets, strict=True)
        ]


def _slope(term: Term, y: np.ndarray, targets: np.ndarray) -> float:
    if targets.shape[1]:
        size = _size(term.loss.gradient(NUMPY, np.zeros_like(y), targets))
        if size:
            return size
    here = _size(term.loss.gradient(NUMPY, y, targets))
    bent = _size(term.loss.curvature(NUMPY, y, targets, np.full_like(y, _size(y) or 1.0)))
    return bent if here < NEAR * bent else here


def _size(values: np.ndarray) -> float:
    """Return the largest finite magnitude."""
    values = abs(np.asarray(values, dtype=float))
    return float(values[np.isfinite(values)].max(initial=0.0))
