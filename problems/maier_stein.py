"""The Maier-Stein system: a drift that is no gradient, whose best exit leaves the axis of symmetry.

    u' = u - u^3 - beta u v^2,    v' = -(1 + u^2) v

It is a gradient flow for beta = 1 only.

Source
------
R. S. Maier and D. L. Stein, A scaling theory of bifurcations in the symmetric weak-noise escape problem, Journal of
Statistical Physics 83, 291-357 (1996).

Known answer
------------
The least action from (-1, 0) to the saddle (0, 0) as the horizon grows: 1/2 along the axis v = 0 for beta <= 4. Beyond
4 the axis is still stationary but no minimum any more, and two mirrored paths off it are cheaper: 0.340041 at beta =
10. A solver that starts on the axis stays on it: start from a path through the point "bend".
"""

from __future__ import annotations

import actionopt as ao

LABELS = ("u", "v")
POINTS = {"left minimum": (-1.0, 0.0), "saddle": (0.0, 0.0), "right minimum": (1.0, 0.0), "bend": (-0.5, 0.3)}
ACTIONS = {1.0: 0.5, 10.0: 0.340041}


def build(beta: float = 10.0) -> ao.Drift:
    """Return the Lagrangian `1/2 |w' - drift(w)|^2`."""

    def drift(ops, w):
        u, v = ops.columns(w)
        return ops.concatenate([u - u**3 - beta * u * v**2, -(1.0 + u**2) * v])

    return ao.Drift(2, drift, name="maier-stein")


def known(beta: float) -> dict[str, float]:
    """Return the least action, where it is known: downhill from the saddle costs nothing."""
    action = 0.5 if 0.0 <= beta <= 4.0 else ACTIONS.get(beta)
    return {} if action is None else {"action": action}


if __name__ == "__main__":
    from problems._main import main

    main(
        __file__, "action", "--start", "left minimum", "--end", "saddle", "--through", "bend", "--horizon", "20",
        "--steps", "200", "--scheme", "gauss2",
    )  # fmt: skip
