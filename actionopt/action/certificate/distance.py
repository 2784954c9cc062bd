"""From the defect of a curve to its distance from the flow: `R' = -rate(t) R + |defect|_G`, R(0) = 0.

The rate is the contraction rate *in the direction of the error*, which the linearised flow carries along from the
defect **[ours]**: never below the least rate of contraction theory, and what errors obey to first order. `SAFETY` is
for what is of second order. That makes an estimate, not a proof: rates are samples, and those of the computed curve.

A step's own defect is carried to its end without the contraction inside that step: the defect of a stiff mode that is
not resolved sits in a layer at the end of the step, which no quadrature sees.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np

SAFETY = 2.0


class Errors(Protocol):
    """How errors `(..., n)` of several flows move from node to node: `DenseErrors` or `KrylovErrors`."""

    def whole(self, k: int, error: np.ndarray) -> np.ndarray: ...

    def half(self, k: int, error: np.ndarray) -> np.ndarray: ...

    def length(self, k: int, error: np.ndarray) -> np.ndarray: ...


def carried_distance(
    errors: Errors, times: np.ndarray, knots: np.ndarray, defects: np.ndarray, pushes: np.ndarray
) -> np.ndarray:
    """Estimate the distance at every node.

    Parameters
    ----------
    errors : DenseErrors or KrylovErrors
        Between the knots.
    times : array (N+1,)
    knots : array (K+1,) of int
        Nodes, the first and the last included, from one to the next of which errors are carried.
    defects : array (..., N)
        `int |d|_G dt` over each step; leading axes are flows.
    pushes : array (..., N, n)
        `int d dt` over each step, as a vector.

    Returns
    -------
    array (..., N+1)
    """
    lead = defects.shape[:-1]
    distance, error = np.zeros((*lead, len(times))), np.zeros((*lead, pushes.shape[-1]))
    for k, (first, last) in enumerate(pairwise(knots.tolist())):
        push = pushes[..., first:last, :].sum(axis=-2)
        moved, own = errors.whole(k, error), errors.half(k, push)
        growth = _ratio(errors.length(k + 1, moved), errors.length(k, error))
        spread = _ratio(errors.length(k + 1, own), errors.length(k, push))
        shares = (times[first + 1 : last + 1] - times[first]) / (times[last] - times[first])
        fresh = np.maximum(spread, 1.0)[..., None] * np.cumsum(defects[..., first:last], axis=-1)
        carried = growth[..., None] ** shares * distance[..., first, None]
        distance[..., first + 1 : last + 1] = carried + fresh
        error = moved + np.where((spread > 1.0)[..., None], own, push)
    return SAFETY * distance


def _ratio(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.divide(after, before, out=np.ones_like(after), where=before > 0.0)
