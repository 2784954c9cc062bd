"""The FitzHugh-Nagumo system with two stable states: an excitable membrane, no gradient of anything.

    epsilon u' = u - u^3 - v,    v' = u - slope v

Source
------
R. FitzHugh, Impulses and physiological states in theoretical models of nerve membrane, Biophysical Journal 1, 445-466
(1961), with the parameters of the documentation of CriticalTransitions.jl (epsilon 0.1, slope 3).

Known answer
------------
The stable states are +-(sqrt(2/3), sqrt(2/27)), the saddle between them 0. The least action from one state to the other
over all horizons, by two independent codes: 0.17978701717.
"""

from __future__ import annotations

import actionopt as ao

POINTS = {
    "excited": (0.816496580927726, 0.2721655269759087),
    "resting": (-0.816496580927726, -0.2721655269759087),
    "saddle": (0.0, 0.0),
}
ACTION = 0.17978701717


def build(epsilon: float = 0.1, slope: float = 3.0) -> ao.Drift:
    """Return the drift, with noise of strength one in both coordinates."""

    def drift(ops, w):
        u, v = ops.columns(w)
        return ops.concatenate([(u - u**3 - v) * (1.0 / epsilon), u - slope * v])

    return ao.Drift(2, drift, name="fitzhugh-nagumo")


def known(epsilon: float, slope: float) -> dict[str, float]:
    """Return the least action, where it is known."""
    return {"action": 0.17978701717} if (epsilon, slope) == (0.1, 3.0) else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "path", "--start", "excited", "--end", "resting")
