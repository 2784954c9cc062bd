"""Rates of modules and their couplings over a ball, proved, and the rate of the whole that follows **[ours]**.

With H the Hessian in x over the ball, module a's rate is the least eigenvalue of the block H_aa, its coupling with b
the norm of H_ab, and `v^T H v >= sum_a rate_a |v_a|^2 - sum |H_ab| |v_a| |v_b|`: the least eigenvalue of
`diag(rates) - couplings` is a rate of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED
from actionopt.contraction.proof.eigenvalues import comparison_bound, least_eigenvalue, spectral_norm
from actionopt.contraction.proof.outputs import norms_up
from actionopt.contraction.proof.prover import Prover
from actionopt.errors import InputError
from actionopt.ops.rounded import UNIT, Interval, meet
from actionopt.problem import Problem


@dataclass(frozen=True)
class Composition:
    """What is proved of the modules of a problem on a ball.

    Attributes
    ----------
    rates : array (k,)
        Lower bounds of the modules' rates, all others held fixed.
    couplings : array (k, k)
        Upper bounds, zero on the diagonal.
    composed : float
        What follows from them for the whole.
    whole : float
        Proved of the whole at once, or by composition where that is better.
    """

    rates: np.ndarray
    couplings: np.ndarray
    composed: float
    whole: float


def prove_composition(problem: Problem, centre: np.ndarray, radius: float, slices: tuple[slice, ...]) -> Composition:
    """Prove rates and couplings of modules over the ball `|w - centre|_D <= radius` in the metric of the mass.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
    radius : float
    slices : tuple of slice
        Where the modules' weights lie.

    Raises
    ------
    InputError
        If the energy has a kink in the ball, or third derivatives do not fit.
    """
    prover = Prover(problem, centre, "euclidean", 1, np.inf)
    if prover.order < 3:
        raise InputError(f"{problem.size} weights and {problem.samples} samples are too many to prove a composition")
    with np.errstate(all="ignore"):
        over = prover.derivatives(radius)
        reach = norms_up(over[3].magnitude) * radius * ROUNDED * (1.0 + 4.0 * UNIT)
        hessian = meet(over[2], prover.at_centre[2] + Interval(-reach, reach))
        rates = np.array([float(least_eigenvalue(hessian[part, part])) for part in slices])
        couplings = np.array([[0.0 if a == b else spectral_norm(hessian[a, b]) for b in slices] for a in slices])
        couplings = np.minimum(couplings, couplings.T)  # both bound the same norm
        form = Interval(np.diag(rates) - couplings, np.diag(rates) + couplings)
        composed = float(comparison_bound(form))
        composed -= abs(composed) * 2.0**-46  # the mass in x is the identity up to this
        whole = max(prover.rate(radius), composed)
    return Composition(rates - abs(rates) * 2.0**-46, couplings, composed, whole)
