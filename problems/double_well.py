"""A particle in a double well, `E(x) = x^4/4 - x^2/2`: the gradient flow is `x' = x - x^3`.

Minima at -1 and 1, a saddle at 0, 1/4 above them.

Source
------
The standard example of noise-induced transitions since H. A. Kramers, Brownian motion in a field of force and the
diffusion model of chemical reactions, Physica 7, 284-304 (1940).

Known answer
------------
The least action from a minimum to the saddle tends to twice the climb, 1/2, as the horizon grows.
"""

from __future__ import annotations

import actionopt as ao

LABELS = ("x",)
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


def known(mass: float) -> dict[str, float]:
    """Return the least energy, and twice the climb."""
    return {"energy": -0.25, "action": 0.5}


if __name__ == "__main__":
    from problems._main import main

    main(
        __file__,
        "action",
        "--start",
        "left minimum",
        "--end",
        "saddle",
        "--horizon",
        "20",
        "--steps",
        "200",
        "--scheme",
        "gauss2",
    )
