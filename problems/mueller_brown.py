"""The Mueller-Brown potential: three minima and two saddles along a curved valley in the plane.

The sum of four anisotropic Gaussians `V = sum_i A_i exp(a_i dx_i^2 + b_i dx_i dy_i + c_i dy_i^2)`, with dx_i = x - x_i
and dy_i = y - y_i.

Source
------
K. Mueller and L. D. Brown, Location of saddle points and minimum energy paths by a constrained simplex optimization
procedure, Theoretica Chimica Acta 53, 75-93 (1979).

Known answer
------------
The least action of the gradient flow from a minimum over a saddle s tends to twice the climb, `2 (V(s) - V(minimum))`,
as the horizon grows (Freidlin and Wentzell): 212.0693474 from the deep minimum to the middle one over the high saddle.
A long horizon is best reached over shorter ones (`ao.continue_action`).
"""

from __future__ import annotations

import actionopt as ao

HEIGHTS = (-200.0, -100.0, -170.0, 15.0)
XX = (-1.0, -1.0, -6.5, 0.7)
XY = (0.0, 0.0, 11.0, 0.6)
YY = (-10.0, -10.0, -6.5, 0.7)
CENTRES = ((1.0, 0.0), (0.0, 0.5), (-0.5, 1.5), (-1.0, 1.0))

LABELS = ("x", "y")
POINTS = {
    "deep minimum": (-0.558223634633, 1.441725841805),
    "right minimum": (0.623499404931, 0.028037758529),
    "middle minimum": (-0.050010822998, 0.466694104872),
    "high saddle": (-0.822001558733, 0.624312802814),
    "low saddle": (0.212486582001, 0.292988325108),
}
ENERGIES = {
    "deep minimum": -146.6995172,
    "right minimum": -108.1667241,
    "middle minimum": -80.7678181,
    "high saddle": -40.6648435,
    "low saddle": -72.2489401,
}


def build(mass: float = 1.0) -> ao.Problem:
    """Return the gradient flow `mass w' = -grad V(w)` in the plane."""
    return ao.Problem(
        [ao.Parameter(2)],
        None,
        None,
        ao.CustomLoss(_potential, name="Mueller-Brown potential"),
        mass=mass,
        output_metric=None,
        name="mueller-brown",
    )


def _potential(ops, w, target):
    x, y = ops.columns(w)
    return sum(
        height * ops.exp(a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2)
        for height, a, b, c, (x0, y0) in zip(HEIGHTS, XX, XY, YY, CENTRES, strict=True)
    )


def known(mass: float) -> dict[str, float]:
    """Return the least energy, and the action from the deep minimum to the right one: over both saddles."""
    return {"energy": -146.6995172, "action": 212.0693474 + 2.0 * (80.7678181 - 72.2489401)}


if __name__ == "__main__":
    from problems._main import main

    main(
        __file__, "action", "--start", "deep minimum", "--end", "middle minimum", "--scheme", "gauss2",
        "--horizon", "0.01,0.02,0.03,0.04,0.05",
    )  # fmt: skip
