"""The Allen-Cahn equation on a chain: a field in two phases, from one to the other through a wall.

    V(u) = sum_i 1/4 (1 - u_i^2)^2 + stiffness/2 sum_i (u_{i+1} - u_i)^2,    stiffness = (size / length)^2

is the energy of u' = u - u^3 + u_xx on [0, length] with free ends (times size / length), on `size` points.

Source
------
S. M. Allen and J. W. Cahn, A microscopic theory for antiphase boundary motion, Acta Metallurgica 27, 1085-1095 (1979);
its transition paths: W. E, W. Ren and E. Vanden-Eijnden, Minimum action method for the study of rare events,
Communications on Pure and Applied Mathematics 57, 637-656 (2004).

Known answer
------------
For size 50 and length 6 the saddle is one wall in the middle, with one unstable direction, and the least action from
-1 to +1 is twice its energy, 15.670333021400054. The straight line passes the uniform state 0 at 25: a saddle of the
action.
"""

from __future__ import annotations

import actionopt as ao

SIZE = 50
POINTS = {"minus": (-1.0,) * SIZE, "plus": (1.0,) * SIZE}
ACTION = 15.670333021400054


def build(size: int = SIZE, length: float = 6.0) -> ao.Drift:
    """Return the gradient flow of the chain, with noise of strength one at every point."""
    stiffness = (size / length) ** 2

    def drift(ops, u):
        steps = differences(ops, u)
        zero = 0.0 * ops.columns(u)[0]
        return u - u**3 + stiffness * (ops.concatenate([steps, zero]) - ops.concatenate([zero, steps]))

    def differences(ops, u):
        first, last = ops.split(u, [1, size - 1])[1], ops.split(u, [size - 1, 1])[0]
        return first - last

    def energy(ops, u):
        steps = differences(ops, u)
        well = 1.0 - u * u
        return 0.25 * ops.sum(well * well) + 0.5 * stiffness * ops.sum(steps * steps)

    return ao.Drift(size, drift, energy=energy, name="allen-cahn")


def known(size: int, length: float) -> dict[str, float]:
    """Return the least action, where it is known."""
    return {"action": 15.670333021400054} if (size, length) == (50, 6.0) else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "path", "--start", "minus", "--end", "plus")
