"""Algorithmic stability: how much one sample can matter to what the flow learns.

The bound is ours **[ours]**; the order is the paper's.

Let two data sets of n samples differ in one sample, and let both flows start at the same weights. Let the metric G not
depend on the data, `G >= mass I`, let the flow of one data set contract in G with `rate > 0`, and let the loss of
every sample be kappa-Lipschitz in the weights. The gradients of the two mean losses differ by at most `2 kappa / n`, so
the velocities differ by at most `2 kappa / (n sqrt(mass))` in the metric, and the distance R of the two flows in
the metric obeys `R' <= -rate R + 2 kappa / (n sqrt(mass))`, R(0) = 0. Hence, at every time T,

    R(T) <= (1 - exp(-rate T)) 2 kappa / (n rate sqrt(mass)),
    |w_1 - w_2| <= R / sqrt(mass),      |loss(w_1) - loss(w_2)| <= kappa |w_1 - w_2|:

uniform stability of order 1/n, as Kozachkov, Wensing and Slotine (TMLR 2023) show for contracting optimisers. A penalty
on the weights that both share, as weight decay, cancels from the difference and is no part of kappa.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError, is_name, unknown_name

QUANTITIES = ("loss", "weights")


def stability_bound(
    *,
    kappa: Any,
    rate: Any,
    mass: Any,
    samples: Any,
    horizon: Any = None,
    quantity: str = "loss",
) -> Any:
    """Bound what replacing one of `samples` samples can change **[ours]**; the derivation is in this module's text.

    Parameters
    ----------
    kappa : float
        Lipschitz constant in the weights of the loss of one sample, without weight decay.
    rate : float
        Contraction rate of the flow, positive, over the region both flows stay in.
    mass : float
        Largest mu with `G >= mu I`.
    samples : int or array
        Number n of samples.
    horizon : float, optional
        Time T the flows run for; arbitrarily long where None.
    quantity : "loss" or "weights"
        What is bounded: `2 kappa^2 / (n rate mass)` on the loss of any sample, or `2 kappa / (n rate mass)` on the
        Euclidean distance of the weights, both times `1 - exp(-rate T)`.

    Returns
    -------
    float, or an array where an argument is one

    Raises
    ------
    InputError
        Naming the argument that is not positive and finite.

    Examples
    --------
    >>> few, many = (ao.stability_bound(kappa=1.0, rate=0.5, mass=1.0, samples=n) for n in (10, 100))
    >>> bool(many < few)
    True
    """
    if not is_name(quantity, QUANTITIES):
        raise unknown_name("quantity", quantity, QUANTITIES)
    kappa, rate = _positive("kappa", kappa), _positive("rate", rate, ": the bound needs a flow that contracts")
    mass, samples = _positive("mass", mass), _positive("samples", samples)
    try:
        np.broadcast_shapes(*(np.shape(value) for value in (kappa, rate, mass, samples)))
    except ValueError as error:
        raise InputError(f"kappa, rate, mass and samples must be numbers or arrays of one shape: {error}") from None
    reached = 1.0 if horizon is None else -np.expm1(-rate * _positive("horizon", horizon))
    return _plain(reached * 2.0 * kappa ** (2 if quantity == "loss" else 1) / (samples * rate * mass))


def paper_stability_order(*, kappa: Any, lipschitz: Any, xi: Any, mass: Any, samples: Any) -> Any:
    """Return `kappa^2 L / (xi mass sqrt(n))`, the order of stability that the paper's abstract states.

    An order, not a bound: its constant is not given there, so only the scaling with each argument means something.

    Parameters
    ----------
    kappa, lipschitz : float
        The Lipschitz constants kappa and L.
    xi : float
        What bounds the condition number.
    mass : float
        Scale mu of the mass.
    samples : int or array
        Number n of samples.

    Raises
    ------
    InputError
        Naming the argument that is not positive and finite.

    Examples
    --------
    >>> ao.paper_stability_order(kappa=1.0, lipschitz=1.0, xi=1.0, mass=1.0, samples=100) > 0
    True
    """
    kappa, lipschitz, xi = _positive("kappa", kappa), _positive("lipschitz", lipschitz), _positive("xi", xi)
    return _plain(kappa**2 * lipschitz / (xi * _positive("mass", mass) * np.sqrt(_positive("samples", samples))))


def _positive(what: str, value: Any, why: str = "") -> np.ndarray:
    array = real_array(what, value, "a number")
    if not (np.isfinite(array).all() and (array > 0.0).all()):
        raise InputError(f"{what} must be positive and finite{why}, got {value}")
    return array


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
