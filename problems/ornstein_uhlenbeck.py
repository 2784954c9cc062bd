"""The Ornstein-Uhlenbeck process without its noise: x' = -rate x, as a drift.

Source
------
G. E. Uhlenbeck and L. S. Ornstein, On the theory of the Brownian motion, Physical Review 36, 823-841 (1930).

Known answer
------------
The least action `int 1/2 |x' + rate x|^2 dt` from x0 to xT in time T is
`rate (xT - exp(-rate T) x0)^2 / (1 - exp(-2 rate T))` (`exact_action`); from -1 to 2 in T = 10 at rate 1: 4.0001816100.
"""

from __future__ import annotations

import numpy as np

import actionopt as ao

LABELS = ("x",)
POINTS = {"start": (-1.0,), "end": (2.0,), "rest": (0.0,)}
HORIZON, ACTION = 10.0, 4.0001816100
RUN = {"start": "start", "end": "end", "horizon": 10.0}  # what a report shows unless told otherwise


def build(rate: float = 1.0) -> ao.Drift:
    """Return the Lagrangian `1/2 |v + rate x|^2`."""
    return ao.Drift(
        1,
        lambda ops, x: -rate * x,
        energy=lambda ops, x: 0.5 * rate * x**2,
        name="ornstein-uhlenbeck",
    )


def exact_action(start: float, end: float, horizon: float, rate: float = 1.0) -> float:
    """Return the least action between two points."""
    decay = np.exp(-rate * horizon)
    return float(rate * (end - decay * start) ** 2 / (1.0 - decay**2))


def known(rate: float) -> dict[str, float]:
    """Return the action of the path in `RUN`."""
    return {"path action": exact_action(-1.0, 2.0, RUN["horizon"], rate)}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "action", "--start", "start", "--end", "end", "--horizon", str(HORIZON), "--scheme", "gauss2")
