"""The swing-up of a pendulum: a motor too weak to lift it lets it swing until it stands.

Optimal control as a network: every stage is a node, `z_{k+1} = f(z_k, u_k)` with `z = (angle, speed)`, the torque u its
weight, fresh at every stage. Angles are measured from upright, so that the pendulum hangs at pi:

    angle'' = (g / length) sin(angle) - friction angle' + u,      one classical Runge-Kutta step a stage

    minimise  h sum_k ( torque u_k^2 / 2 + 1 - cos(angle_k) + speed_k^2 / 20 )
    subject to  |u_k| <= limit,   z_0 = (pi, 0),   z_N = 0

| state | unit |
|---|---|
| angle | rad, from upright |
| speed | rad / s |

Source
------
K. J. Astrom and K. Furuta, Swinging up a pendulum by energy control, Automatica 36, 287 (2000).

Known answer
------------
J = 5.8909315494 for the limit 8 and 7.3115654942 for 4, costates at most 2.0200429588 and 2.5561511458: the same
program written by hand for CasADi's Opti (`tests/constrained/test_control.py`). The minima are local; ipopt and fatrop
reach these from `pumping`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao

GRAVITY, FRICTION = 9.81, 0.1
POINTS: dict[str, tuple[float, ...]] = {}


class Pendulum(ao.Module):
    """One Runge-Kutta step of `h` seconds; the torque is the module's weight."""

    in_size, out_size, weight_size = 2, 2, 1

    def __init__(self, step: float) -> None:
        super().__init__(name="pendulum")
        self.step = step

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        torque, h = ops.unpack(w, (1,)), self.step

        def slope(state: Any) -> Any:
            angle, speed = ops.columns(state)
            return ops.concatenate([speed, GRAVITY * ops.sin(angle) - FRICTION * speed + torque])

        k1 = slope(z)
        k2 = slope(z + 0.5 * h * k1)
        k3 = slope(z + 0.5 * h * k2)
        k4 = slope(z + h * k3)
        return z + (h / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def build(stages: int = 60, limit: float = 8.0, step: float = 0.06, torque: float = 0.1) -> ao.Problem:
    """Return the problem: `stages` steps of `step` seconds, torques within `limit`, the end pinned upright at rest."""

    def cost(ops: Any, u: Any, z: Any) -> Any:
        angle, speed = ops.columns(z)
        return step * ops.sum(0.5 * torque * u * u + 1.0 - ops.cos(angle) + 0.05 * speed * speed)

    return ao.control(
        Pendulum(step),
        [np.pi, 0.0],
        stages=stages,
        stage_cost=cost,
        bounds=(-limit, limit),
        end=[0.0, 0.0],
        mass=step,
        name="pendulum",
    )


def pumping(stages: int = 60, step: float = 0.06) -> np.ndarray:
    """Return torques `(stages,)` that swing the pendulum: where a solver may start."""
    return np.sin(np.sqrt(GRAVITY) * step * np.arange(stages))


def known(**options: object) -> dict[str, float]:
    """Return the cost of the swing-up, a local minimum, for the limits at which it was computed."""
    costs = {8.0: 5.8909315494, 4.0: 7.3115654942}
    limit = options.pop("limit")
    default = options == {"stages": 60, "step": 0.06, "torque": 0.1}
    return {"energy": costs[limit]} if default and isinstance(limit, float) and limit in costs else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "train")
