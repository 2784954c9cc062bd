"""The numbers of a trajectory: what was computed, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.action.deferred import Deferring
from actionopt.action.scheme import Scheme, make_scheme
from actionopt.starts import Starts


@dataclass(frozen=True, eq=False, repr=False)
class TrajectoryData(Deferring):
    """A piecewise polynomial in time and its action; `Trajectory` says what the fields are.

    What certifies a flow, and the status and message that say so, may be computed when first asked for: these
    fields have their default in the object, not on the class.
    """

    name: str
    scheme: str
    times: np.ndarray
    points: np.ndarray
    momenta: np.ndarray
    action_density: np.ndarray
    node_momenta: np.ndarray
    energy: np.ndarray | None = None
    kinetic_density: np.ndarray | None = None
    potential_density: np.ndarray | None = None
    distance: np.ndarray | None = field(default_factory=lambda: None)
    step_certificates: np.ndarray | None = field(default_factory=lambda: None)
    flow_times: np.ndarray | None = None
    success: bool = field(default_factory=lambda: True)
    status: str = field(default_factory=lambda: "converged")
    message: str = field(default_factory=str)
    stats: dict[str, Any] = field(default_factory=dict)
    starts: Starts[Any] | None = None

    @cached_property
    def discretisation(self) -> Scheme:
        """The scheme on the trajectory's grid, in the flow's own time where that is another."""
        return make_scheme(self.scheme, self.times if self.flow_times is None else self.flow_times)

    @property
    def size(self) -> int:
        """Number n of coordinates."""
        return self.points.shape[1]

    @property
    def weights(self) -> np.ndarray:
        """Values at the nodes, `(N+1, n)`."""
        return self.points[self.discretisation.nodes]

    @property
    def stage_times(self) -> np.ndarray:
        """Times `(M,)` of the stages."""
        return make_scheme(self.scheme, self.times).stages

    @property
    def stage_weights(self) -> np.ndarray:
        """Values at the stages, `(M, n)`."""
        return self.discretisation.position @ self.points

    @property
    def velocities(self) -> np.ndarray:
        """Velocities at the stages, `(M, n)`."""
        return self.discretisation.velocity @ self.points

    @property
    def certificate(self) -> float | None:
        """The action `int 1/2 |w' + G^{-1} g|^2_G dt` of a curve through the nodes: zero along the true flow only.

        In continuous time, whatever method computed the nodes; None where the trajectory was not certified.
        """
        return None if self.step_certificates is None else float(self.step_certificates.sum())

    @property
    def action(self) -> float:
        """The discrete action `S_h`, the sum of quadrature weight times action density over the stages, and the
        cost of the end."""
        return float(self._integral(self.action_density)) + self.end_cost

    @property
    def end_cost(self) -> float:
        """`end_cost(w(T))` of a Lagrangian that has one, else 0."""
        return float(self.stats.get("end_cost", 0.0))

    @property
    def lowest_eigenvalue(self) -> float | None:
        """Lowest eigenvalue of the second variation against its kinetic part; None where it was not computed."""
        value = self.stats.get("lowest_eigenvalue")
        return None if value is None else float(value)

    @property
    def is_minimum(self) -> bool | None:
        """Whether every direction raises the action to second order; None where that is not known."""
        return self.stats.get("is_minimum")

    @property
    def step_actions(self) -> np.ndarray:
        """The action of each interval, `(N,)`."""
        return self._by_interval(self.discretisation.weights * self.action_density).sum(axis=1)

    @property
    def stage_hamiltonian(self) -> np.ndarray:
        """`H = p . v - l` at the stages, `(M,)`."""
        return (self.momenta * self.velocities).sum(axis=1) - self.action_density

    @property
    def hamiltonian(self) -> np.ndarray:
        """The Hamiltonian of each interval, `(N,)`: constant along an extremal, to the order of the scheme.

        It is minus the derivative of the interval's discrete action in the interval's length, which is the mean of
        `stage_hamiltonian` over its stages. A single Gauss stage is constant to order 3 only.
        """
        return self._by_interval(self.stage_hamiltonian) @ self._stage_shares

    @property
    def kinetic(self) -> float | None:
        """`int 1/2 v^T G v dt` of a gradient flow, by the scheme's quadrature; None for other systems."""
        return None if self.kinetic_density is None else float(self._integral(self.kinetic_density))

    @property
    def potential(self) -> float | None:
        """`int 1/2 g^T G^{-1} g dt` of a gradient flow, by the scheme's quadrature; None for other systems."""
        return None if self.potential_density is None else float(self._integral(self.potential_density))

    @property
    def energy_change(self) -> float | None:
        """`E(w(T)) - E(w(0))`, None for a system without energy."""
        if self.energy is None:
            return None
        return float(self.energy[-1] - self.energy[0]) if len(self.energy) > 1 else 0.0

    @property
    def balance_defect(self) -> float | None:
        """`action - (kinetic + potential + energy change)`: zero in continuous time, of the order of the scheme here.

        None for systems other than gradient flows.
        """
        if self.kinetic is None or self.potential is None or self.energy_change is None:
            return None
        return self.action - (self.kinetic + self.potential + self.energy_change)

    @property
    def _stage_shares(self) -> np.ndarray:
        """Quadrature weights of one interval, as shares of its length."""
        first = self._by_interval(self.discretisation.weights)[:1].sum(axis=0)
        return first / max(first.sum(), np.finfo(float).tiny)

    def _by_interval(self, values: np.ndarray) -> np.ndarray:
        """Split what lives on the stages by interval, `(N, stages of one)`."""
        intervals = len(self.times) - 1
        return values.reshape(intervals, len(values) // max(intervals, 1))

    def _integral(self, density: np.ndarray) -> float:
        return float(self.discretisation.weights @ density)
