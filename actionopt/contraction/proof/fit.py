"""`prove_fit`: energy 0 is reached from every start near some weights, in networks with more weights than outputs.

Where many weights fit the data the flow has no single limit, and its rate in the weights is 0. In the outputs it
contracts all the same **[ours]**: for squared errors without decay, with J the Jacobian of all outputs in x and
`K = J J^T / B >= kappa` on the ball `|x| <= R`,

    E' = -|g|^2 <= -2 kappa E,        length of the path <= sqrt(2 E / kappa).

So every flow that starts within r of the centre, where E <= E_0, stays in the ball and reaches energy 0 if
`r + sqrt(2 E_0 / kappa) <= R`. With the residuals e, `2 E B = |e|^2`, so that length is `|e| / sigma`, sigma the
smallest singular value of J, which moves by at most `R gamma`, `gamma^2 = |sum_p F_p^2|`, F the second derivative of
the outputs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, box_of
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.outputs import Outputs, norms_up, outputs, rows
from actionopt.contraction.proof.result import Proof
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.ops.interval import INTERVAL, KinkError
from actionopt.ops.rounded import UNIT, Interval, point
from actionopt.problem import Problem, takes_problem

TRIES, GROWTH = 24, 1.4  # radii tried, each so many times the one before


@dataclass(frozen=True, repr=False)
class FitProof(Proof):
    """Whether every flow from a ball of starts reaches energy 0.

    Attributes
    ----------
    status : str
        "proved" or "undecided".
    message : str
        What the status means here, and what to try.
    seconds : float
        Processor time.
    radius : float
        Of the ball of starts, in the norm of the mass.
    reach : float
        Radius of the ball that the flows stay in; nan where undecided.
    kappa : float
        The energy falls at least like `exp(-2 kappa t)`; the best bound found where undecided.
    energy : float
        Upper bound of the energy of a start.
    path_length : float
        No flow is longer, in the norm of the mass.

    Examples
    --------
    >>> wide = ao.Problem([ao.Dense(1, 3)], [[1.0]], [[1.0, 2.0, 3.0]], ao.SquaredError())
    >>> bool(ao.prove_fit(wide, wide.initial_weights()).proved)
    True
    """

    radius: float
    reach: float
    kappa: float
    energy: float
    path_length: float

    def rows(self) -> list[tuple[str, Any]]:
        names = ("radius", "reach", "kappa", "energy", "path_length")
        return [(name.replace("_", " "), getattr(self, name)) for name in names]


@takes_problem
def prove_fit(problem: Problem, w: Any, radius: float = 0.0) -> FitProof:
    """Prove that the flow reaches energy 0 from every start within `radius` of `w`.

    Parameters
    ----------
    problem : Problem
        With squared errors, without weight decay.
    w : array (n,)
        Weights of small energy.
    radius : float
        In the norm of the mass; 0 for the flow from `w` alone.

    Returns
    -------
    FitProof

    Raises
    ------
    InputError
        If an argument cannot be used, the loss is another one, there is weight decay, or the energy has a kink at w.

    Examples
    --------
    >>> import actionopt as ao
    >>> line = ao.Problem(ao.Dense(2, 1), [[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], ao.SquaredError())
    >>> proof = ao.prove_fit(line, [0.5, 1.0, 0.2], radius=10.0)
    >>> proof.proved, round(proof.kappa, 6)  # J J^T = [[2, 1], [1, 2]], over 2 samples
    (True, 0.5)
    """
    w = problem.check_weights(w)
    if w.ndim != 1:
        raise InputError(f"weights must have shape ({problem.size},), one point; got {w.shape}")
    if not (np.isfinite(radius) and radius >= 0.0):
        raise InputError(f"radius must be a finite number >= 0, got {radius}")
    if problem.weight_decay:
        raise InputError("prove_fit proves that energy 0 is reached: it needs weight_decay=0")
    begun = time.process_time()
    check_smooth(problem, w, output_metric=False)
    with np.errstate(all="ignore"):
        centre = outputs(problem, box_of(problem, w, 0.0), 1)
        if not all(cost.squared for cost in centre):
            raise InputError(
                "prove_fit needs squared errors, of which the energy is the squared distance of the outputs"
            )
        found = _grown(problem, w, float(radius), centre)
    proved, reach, kappa, energy, length = found
    if proved:
        message = f"every flow from within {radius:.6g} reaches energy 0, E <= {energy:.3g} exp(-{2.0 * kappa:.4g} t)"
    else:
        message = (
            f"the curvature kappa of the outputs was found to be {kappa:.4g} at best, which does not hold the flow: "
            "take weights of less energy, a smaller radius, or a wider network"
        )
    seconds = time.process_time() - begun
    numbers = (float(radius), float(reach), float(kappa), float(energy), float(length))
    return FitProof("proved" if proved else "undecided", message, seconds, *numbers)


def _grown(
    problem: Problem, w: np.ndarray, radius: float, centre: list[Outputs]
) -> tuple[bool, float, float, float, float]:
    """Grow the ball until it holds the flows: whether it does, its radius, kappa, energy and path length."""
    samples = problem.samples
    jacobian = _stacked([rows(_of(cost.jacobian) * _root(cost), 1) for cost in centre])
    errors = _stacked([rows((cost.z - cost.targets) * _root(cost), 0) for cost in centre])
    size = float(norms_up(errors.magnitude))
    gram = INTERVAL.matmul(jacobian, INTERVAL.transpose(jacobian))
    least, greatest = float(least_eigenvalue(gram)), float(greatest_eigenvalue(gram))
    if not (least > 0.0 and np.isfinite(greatest) and np.isfinite(size)):
        return False, np.nan, max(least, 0.0) / samples, np.inf, np.inf
    sigma, longest = np.sqrt(least) * (1.0 - 4.0 * UNIT), np.sqrt(greatest) * (1.0 + 4.0 * UNIT)
    reach = 1.02 * (radius + (size + radius * longest) / sigma) + 1e-12
    best = (False, np.nan, 0.0, np.inf, np.inf)
    for _ in range(TRIES):
        try:
            gamma = _bend(outputs(problem, box_of(problem, w, reach), 2))
        except KinkError:
            break
        kept = sigma - reach * ROUNDED * gamma * (1.0 + 4.0 * UNIT)
        if not kept > 0.0:
            break
        start = radius * ROUNDED
        error = (size + start * (longest + start * gamma)) * (1.0 + 16.0 * UNIT)
        length, kappa = error / kept * (1.0 + 4.0 * UNIT), kept**2 / samples * (1.0 - 8.0 * UNIT)
        energy = error**2 / (2.0 * samples) * (1.0 + 8.0 * UNIT)
        if (radius + length) * ROUNDED <= reach:
            return True, reach, kappa, energy, length
        if kappa > best[2]:
            best = (False, np.nan, kappa, energy, length)
        reach = max(GROWTH * reach, 1.02 * (radius + length)) if gamma else 1.02 * (radius + length)
    return best


def _bend(over: list[Outputs]) -> float:
    """Bound gamma over a ball."""
    total: Interval | None = None
    for cost in over:
        bent = rows(_of(cost.bent) * _root(cost), 2)
        tall = bent.map(lambda x: x.reshape(-1, x.shape[-1]))
        square = INTERVAL.matmul(INTERVAL.transpose(tall), tall)
        total = square if total is None else total + square
    assert total is not None
    return float(np.sqrt(max(float(greatest_eigenvalue(total)), 0.0)) * (1.0 + 4.0 * UNIT)) if total.finite else np.inf


def _root(cost: Outputs) -> Interval:
    """Square root of the cost's weight."""
    return INTERVAL.sqrt(point(cost.weight))


def _stacked(parts: list[Interval]) -> Interval:
    """Join along the first axis."""
    return Interval(np.concatenate([x.lo for x in parts]), np.concatenate([x.hi for x in parts]))


def _of(x: Interval | None) -> Interval:
    assert x is not None
    return x
