"""The second-order action of flows with inertia: heavy-ball flows, and kinetic Langevin equations."""

from __future__ import annotations

from numbers import Real
from typing import Any

import casadi as ca
import numpy as np

from actionopt.action.density.formula import scalar_energy
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.noise import Constant
from actionopt.action.scheme import make_scheme
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError
from actionopt.metric.kinds import kind_of
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array
from actionopt.problem import Problem


class Inertial(Lagrangian):
    """The action of a flow with inertia, `S = int 1/2 |m w'' + c w' - b(w)|^2_M dt`, in positions and velocities.

    Of the heavy-ball flow `m G w'' + c G w' + g = 0` of a problem (`b = -G^{-1} g`, M = G), and of the kinetic Langevin
    equation `m x'' + c x' = b(x) + sqrt(eps) sigma dW/dt` (`M = (sigma sigma^T)^{-1}`). Coordinates are (w, u), 2n of
    them, with `u = w'` as an equality, so that CasADi's solvers minimise it.

    With a free end the least action is 0, and the path the flow itself. Between points at rest, from a minimum to a
    saddle of `b = -grad E` in the metric M, it tends to `2 c (E(saddle) - E(minimum))` as the horizon grows, for every
    m: the invariant density is `exp(-2 c H / eps)`, `H = E + m/2 |u|^2_M`. As m -> 0 it is the first-order action of
    `c w' = b` **[ours: the two doors side by side; the facts are textbook]**.

    Parameters
    ----------
    what : Problem or Drift
        A problem stands for its gradient, in the constant metric `metric`.
    mass : float
        m > 0.
    friction : float
        c >= 0.
    metric : "euclidean", "layerwise" or "joint"
        Metric of a problem; it must be constant: "euclidean" (the mass of the problem), or any where the output metric
        is None. In one that depends on the weights the acceleration is covariant, and this formula does not hold.
    **options
        `name`, `bounds` and `constraint` as for `Lagrangian`, of (w, u).

    Raises
    ------
    InputError
        For another system, a metric or noise that depends on the state, or numbers that cannot be used.

    Examples
    --------
    From the left well of `E = (x^2 - 1)^2 / 4` to the saddle, both at rest: `2 c` times the barrier of 1/4.

    >>> import actionopt as ao
    >>> ball = ao.Inertial(ao.Drift(1, lambda ops, x: x - x**3), mass=1.0, friction=1.0)
    >>> found = ao.minimize_action(ball, [-1.0, 0.0], [0.0, 0.0], horizon=30.0, steps=60, scheme="gauss2")
    >>> round(found.action, 3)
    0.5
    """

    def __init__(
        self,
        what: Problem | Drift,
        mass: float,
        friction: float = 1.0,
        *,
        metric: str = "euclidean",
        **options: Any,
    ) -> None:
        self.what, self.matrix = what, _constant_metric(what, metric)
        self.inertia = _number("mass", mass, positive=True)
        self.friction = _number("friction", friction, positive=False)
        self._force = _force(what)
        options = {"name": f"inertial {what.name}", **options}
        super().__init__(2 * what.size, self._density, equality=self._dynamics, **options)

    def force(self, ops: Ops, w: Array) -> Array:
        """Evaluate b at positions `w (..., n)`."""
        return self._force(ops, w)

    def residual(self, ops: Ops, x: Array, v: Array) -> Array:
        """Evaluate `m u' + c u - b(w)` at `x = (w, u), v = (w', u')`."""
        w, u = ops.split(x, [self.what.size] * 2)
        acceleration = ops.split(v, [self.what.size] * 2)[1]
        return self.inertia * acceleration + self.friction * u - self.force(ops, w)

    @property
    def has_energy(self) -> bool:
        """Whether the system has an energy E."""
        return self.what.has_energy

    def energy(self, w: Any) -> np.ndarray | None:
        """Evaluate `H = E + m/2 |u|^2_M` at `w = (position, velocity) (..., 2n)`; None where there is no E."""
        position, u = np.split(np.asarray(w, dtype=float), 2, axis=-1)
        energy = self.what.energy(position)
        return None if energy is None else np.asarray(energy) + 0.5 * self.inertia * self._square(NUMPY, u)

    def flow(self, start: np.ndarray, times: np.ndarray) -> np.ndarray | None:
        """Return the flow from `start (2n,)` at times `(k,)`: `(k, 2n)`; None where it blows up."""
        from scipy.integrate import solve_ivp

        n = self.what.size

        def slope(t: float, x: np.ndarray) -> np.ndarray:
            w, u = x[:n], x[n:]
            return np.concatenate([u, (np.ravel(self.force(NUMPY, w[None])) - self.friction * u) / self.inertia])

        with np.errstate(all="ignore"):
            found = solve_ivp(slope, (times[0], times[-1]), start, t_eval=times, rtol=1e-8, atol=1e-10, method="Radau")
        return found.y.T if found.success and np.isfinite(found.y).all() else None

    def balance_defect(self, trajectory: Trajectory) -> float:
        """Return `H(T) - H(0) + int (c |u|^2_M - u . M r) dt` of a trajectory, r its residual: zero in continuous time.

        Along a flow r = 0, and friction takes the energy `c |u|^2`; against it the noise gives it.

        Raises
        ------
        InputError
            If the system has no energy.
        """
        ends = self.energy(trajectory.weights[[0, -1]])
        if ends is None:
            raise InputError(f"{self.name} has no energy: its drift is no gradient, or was given without energy=")
        x, v = trajectory.stage_weights, trajectory.velocities
        u = np.split(x, 2, axis=-1)[1]
        r = self.residual(NUMPY, x, v)
        power = self.friction * self._square(NUMPY, u) - np.einsum("ki,ij,kj->k", u, self.matrix, r)
        weights = make_scheme(trajectory.scheme, trajectory.times).weights
        return float(ends[1] - ends[0] + weights @ power)

    def _density(self, ops: Ops, x: Array, v: Array) -> Array:
        return 0.5 * self._square(ops, self.residual(ops, x, v))

    def _dynamics(self, ops: Ops, x: Array, v: Array) -> Array:
        sizes = [self.what.size] * 2
        return ops.split(v, sizes)[0] - ops.split(x, sizes)[1]

    def _square(self, ops: Ops, r: Array) -> Array:
        return ops.sum(r * ops.matmul(r, self.matrix))


def _constant_metric(what: Any, metric: str) -> np.ndarray:
    """Return M as a matrix `(n, n)`."""
    if isinstance(what, Problem):
        if not kind_of(metric).constant(what):
            raise InputError(
                f"Inertial: the {metric} metric of {what.name} depends on the weights, where the acceleration is "
                'covariant; use metric="euclidean", or a problem with output_metric=None'
            )
        return np.diag(np.broadcast_to(what.mass, (what.size,)))
    if not isinstance(what, Drift):
        raise InputError(f"Inertial: expected a Problem or a Drift, got {type(what).__name__}")
    if not isinstance(what.form, Constant):
        raise InputError(f"Inertial: the noise of {what.name} depends on the state; it must be constant here")
    return np.array(what.form.metric_at(np.zeros(what.size)))


def _force(what: Problem | Drift) -> Any:
    """Return `b(ops, w)`."""
    if isinstance(what, Drift):
        return what.drift
    w = ca.SX.sym("w", what.size)
    slope = ca.Function("force", [w], [ca.densify(-ca.gradient(scalar_energy(what, w), w) / what.mass)])

    def force(ops: Ops, at: Array) -> Array:
        return -what.gradient(at) / what.mass if ops is NUMPY else slope(at.T).T

    return force


def _number(name: str, value: Any, *, positive: bool) -> float:
    low = "positive" if positive else ">= 0"
    sound = not isinstance(value, bool) and isinstance(value, (Real, np.number)) and np.isfinite(float(value))
    if not sound or not (float(value) > 0 if positive else float(value) >= 0):
        raise InputError(f"Inertial: {name} must be a finite number, {low}, got {value!r}")
    return float(value)
