"""A particle in a double well, E(x) = x^4/4 - x^2/2, with the gradient flow x' = x - x^3.

The standard example of noise-induced transitions (H. A. Kramers, Physica 7, 284-304, 1940). Minima at -1 and 1, a
saddle at 0, 1/4 above them.

Known answer: the least action from a minimum to the saddle tends to twice the climb, 1/2, as the horizon grows.
"""

from __future__ import annotations

import actionopt as ao

POINTS = {"left minimum": (-1.0,), "saddle": (0.0,), "right minimum": (1.0,)}
CLIMB = 0.25


def build(mass: float = 1.0) -> ao.Problem:
    """Return the gradient flow `mass x' = x - x^3`."""
    return ao.Problem(
        [ao.Parameter(1)],
        None,
        None,
        ao.CustomLoss(lambda ops, x, target: 0.25 * x**4 - 0.5 * x**2, name="double well"),
        mass=mass,
        output_metric=None,
        name="double-well",
    )
