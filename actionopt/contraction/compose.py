"""What composing contracting modules does to their rates.

Two modules with rates r1, r2 whose coupling has at most the gain c12 from the second to the first and c21 back obey,
for the sizes of their displacements, `d1' <= -r1 d1 + c12 d2` and `d2' <= -r2 d2 + c21 d1`. Rescaling the modules'
metrics by factors s_a^2 changes the gains to c_ab s_a / s_b and no rate. So the whole contracts at least with

    rate = max over s of the smallest eigenvalue of diag(r) - (S C S^{-1} + S^{-1} C^T S) / 2  =  -alpha(C - diag(r)),

alpha the spectral abscissa, and the best scaling is `s_a^2 = left_a / right_a` of the Perron vectors of `C - diag(r)`
(Slotine 2003 and Russo, di Bernardo and Sontag 2013 compose contraction so; the closed forms below are special cases).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eig

from actionopt.arrays import real_array
from actionopt.errors import InputError

HIERARCHY = 1e-12  # gains added to find a scaling, as a part of the largest entry: its square root is what they cost


class ComposedRate(float):
    """A rate, and the scaling of the modules' metrics in which the whole contracts with it.

    Attributes
    ----------
    scaling : array (k,)
        Factors s_a >= 0 of the modules' lengths, the largest 1. A zero says that the rate is a supremum, approached
        as that module's factor goes to zero.

    Examples
    --------
    >>> composed = ao.parallel_rate(1.0, 2.0)
    >>> float(composed), composed.scaling
    (1.0, array([1., 1.]))
    """

    scaling: np.ndarray

    def __new__(cls, rate: float, scaling: Any) -> ComposedRate:
        composed = super().__new__(cls, rate)
        composed.scaling = np.asarray(scaling, dtype=float)
        return composed

    def __getnewargs__(self) -> tuple[float, np.ndarray]:  # type: ignore[override]  # __new__ takes one more
        return float(self), self.scaling


def parallel_rate(*rates: float) -> ComposedRate:
    """Return the rate of independent modules side by side: the smallest of theirs, whatever the scaling.

    Raises
    ------
    InputError
        If there is no rate, or one is not finite.

    Examples
    --------
    >>> float(ao.parallel_rate(1.0, 2.0))
    1.0
    """
    if not rates:
        raise InputError("parallel_rate needs at least one rate, got none")
    values = [_finite(f"rate {index}", rate) for index, rate in enumerate(rates, start=1)]
    return ComposedRate(min(values), np.ones(len(values)))


def series_rate(r1: float, r2: float, coupling: float, *, scaling: float | None = None) -> ComposedRate:
    """Return the rate of a hierarchy: the first module drives the second with gain `coupling`, nothing comes back.

    Parameters
    ----------
    r1, r2 : float
        Rates of the two modules, positive.
    coupling : float
        Largest gain c >= 0 from the first's displacements to the second's velocities, lengths in their metrics.
    scaling : float, optional
        Factor eps > 0 of the second module's lengths. Where None, the best one: eps -> 0.

    Returns
    -------
    ComposedRate
        The smallest eigenvalue of `[[r1, -eps c/2], [-eps c/2, r2]]`; its supremum over eps, `min(r1, r2)`,
        where no scaling is given.

    Raises
    ------
    InputError
        If a rate does not contract, or the coupling is negative.

    Examples
    --------
    >>> bool(ao.series_rate(1.0, 2.0, 5.0) > 0)          # a cascade contracts, whatever its coupling
    True
    """
    r1, r2, coupling = _positive("r1", r1), _positive("r2", r2), _gain("coupling", coupling)
    if scaling is None:
        return ComposedRate(min(r1, r2), [1.0, 0.0 if coupling else 1.0])
    eps = _positive("scaling", scaling, why="")
    return ComposedRate(_pair(r1, r2, (0.5 * eps * coupling) ** 2), np.array([1.0, eps]) / max(1.0, eps))


def feedback_rate(r1: float, r2: float, c12: float, c21: float) -> ComposedRate:
    """Return the rate of two modules in a loop, in the scaling that balances the couplings.

    Parameters
    ----------
    r1, r2 : float
        Rates of the two modules, positive.
    c12, c21 : float
        Largest gains >= 0 from the second to the first module and from the first to the second.

    Returns
    -------
    ComposedRate
        `(r1 + r2)/2 - sqrt(((r1 - r2)/2)^2 + c12 c21)`, with lengths scaled by `s2/s1 = sqrt(c12/c21)`. It is
        positive exactly when `r1 r2 > c12 c21`; where it is not, these numbers do not show contraction.

    Raises
    ------
    InputError
        If a rate does not contract, or a coupling is negative.

    Examples
    --------
    >>> bool(ao.feedback_rate(1.0, 2.0, 0.5, 0.5) > 0)   # contracts: the loop is weaker than both
    True
    """
    r1, r2 = _positive("r1", r1), _positive("r2", r2)
    c12, c21 = _gain("c12", c12), _gain("c21", c21)
    scaling = np.sqrt([c21, c12]) if c12 or c21 else np.ones(2)
    return ComposedRate(_pair(r1, r2, c12 * c21), scaling / scaling.max())


def network_rate(rates: Any, gains: Any) -> ComposedRate:
    """Return the rate of any number of coupled modules, in the best scaling of their metrics.

    Parameters
    ----------
    rates : array (k,)
        Rates of the modules, of any sign.
    gains : array (k, k)
        Entry (a, b), a != b, is the largest gain >= 0 from module b to module a; the diagonal is not used.

    Returns
    -------
    ComposedRate
        `-alpha(C - diag(r))`, with the scaling of the Perron vectors. Where some modules form a hierarchy this is a
        supremum, and the scaling, all positive, attains it to about 1e-6 of the largest rate or gain.

    Raises
    ------
    InputError
        If shapes do not fit, something is not finite, or a gain is negative.

    Examples
    --------
    >>> rates, gains = [1.0, 2.0], [[0.0, 0.5], [0.5, 0.0]]
    >>> bool(ao.network_rate(rates, gains) > 0)
    True
    """
    rates = np.asarray([_finite(f"rate {index}", rate) for index, rate in enumerate(np.ravel(rates), start=1)])
    gains = real_array("gains", gains)
    if gains.shape != (len(rates), len(rates)):
        raise InputError(f"gains must have shape {(len(rates), len(rates))}, one row a module; got {gains.shape}")
    off_diagonal = gains - np.diag(gains.diagonal())
    if not (np.isfinite(off_diagonal).all() and (off_diagonal >= 0).all()):
        raise InputError("gains must be finite and >= 0: they bound the size of a coupling, whatever its sign")
    coupled = off_diagonal - np.diag(rates)
    return ComposedRate(-float(np.linalg.eigvals(coupled).real.max()), _balanced(coupled))


def _balanced(coupled: np.ndarray) -> np.ndarray:
    """Scaling of the Perron vectors of `C - diag(r)`; tiny gains everywhere make them unique and positive."""
    tiny = HIERARCHY * max(abs(coupled).max(), np.finfo(float).tiny)
    values, left, right = eig(coupled + tiny, left=True, right=True)
    top = values.real.argmax()
    scaling = np.sqrt(abs(left[:, top] / right[:, top]))
    return scaling / scaling.max()


def rate_in_scaling(rates: np.ndarray, gains: np.ndarray, scaling: np.ndarray) -> float:
    """Return the smallest eigenvalue of `diag(r) - (S C S^{-1} + S^{-1} C^T S)/2` for a given scaling."""
    scaled = scaling[:, None] * gains / scaling
    np.fill_diagonal(scaled, 0.0)
    return float(np.linalg.eigvalsh(np.diag(rates) - 0.5 * (scaled + scaled.T))[0])


def _pair(r1: float, r2: float, product: float) -> float:
    """Smallest eigenvalue of `[[r1, -c], [-c, r2]]` with c^2 = product, without cancellation: determinant by trace."""
    half_sum, radius = 0.5 * (r1 + r2), float(np.hypot(0.5 * (r1 - r2), np.sqrt(product)))
    return min(r1, r2) if product == 0.0 else (r1 * r2 - product) / (half_sum + radius)


def _finite(what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} must be a number, got {value!r}") from None
    if not np.isfinite(number):
        raise InputError(f"{what} must be finite, got {number}")
    return number


def _positive(what: str, value: Any, why: str = ": the rule needs modules that contract") -> float:
    number = _finite(what, value)
    if number <= 0.0:
        raise InputError(f"{what} must be positive{why}, got {number:g}")
    return number


def _gain(what: str, value: Any) -> float:
    number = _finite(what, value)
    if number < 0.0:
        raise InputError(f"{what} must be >= 0, it bounds the size of a coupling; got {number:g}")
    return number
