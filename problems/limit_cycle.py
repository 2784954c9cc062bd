"""A stable limit cycle: `r' = rate r (1 - r^2), theta' = turn`, in Cartesian coordinates.

Source
------
S. H. Strogatz, Nonlinear Dynamics and Chaos, section 7.1 (Addison-Wesley, 1994).

Known answer
------------
The turning does no work against the radial drift, so the quasipotential seen from the cycle is that of the radius,
`rate (r^4/2 - r^2 + 1/2)`: 0.3528 at r = 0.4 and 0.78125 at r = 1.5, whatever `turn`. No path reaches it in finite
time: the least one leaves the cycle in ever more turns.
"""

from __future__ import annotations

import actionopt as ao

LABELS = ("x", "y")
POINTS = {"on the cycle": (1.0, 0.0), "inside": (0.4, 0.0), "outside": (1.5, 0.0)}
ACTIONS = {"inside": 0.3528, "outside": 0.78125}


def build(rate: float = 1.0, turn: float = 1.0) -> ao.Drift:
    """Return the drift, with noise of strength one in both coordinates."""

    def drift(ops, w):
        x, y = ops.columns(w)
        pull = rate * (1.0 - x * x - y * y)
        return ops.concatenate([pull * x - turn * y, pull * y + turn * x])

    return ao.Drift(2, drift, name="limit cycle")


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "path", "--start", "on the cycle", "--end", "inside")
