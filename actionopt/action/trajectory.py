"""The trajectory: what `flow` and `minimize_action` return, with what certifies it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.action.density.density import Density, Stages
from actionopt.action.forces import ConstraintForces
from actionopt.action.pieces import evaluate_pieces, node_momenta
from actionopt.action.scheme import Scheme, make_scheme
from actionopt.action.trajectory_data import TrajectoryData
from actionopt.action.trajectory_file import read_trajectory, write_trajectory
from actionopt.arrays import real_array
from actionopt.errors import InputError
from actionopt.export import Columns, Exported, Variables, is_csv, write_csv
from actionopt.tables import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(TrajectoryData, Exported):
    """A piecewise polynomial in time, its action, and how it was found.

    Three sets of times matter: the N+1 *nodes* `times`; the K *points* that determine the polynomial pieces (the nodes
    for "midpoint", nodes and points inside each interval for the others); and the M *stages* `stage_times`, where the
    scheme evaluates the Lagrangian (the middle of each interval, or its Gauss or Radau points). Velocities, momenta and
    densities live at the stages, energy and `node_momenta` at the nodes, step actions and the Hamiltonian on the N
    intervals.

    Attributes
    ----------
    name : str
        Of the system.
    scheme : str
        "midpoint" (order 2), "gauss2" (order 4), "radau3" or "radau5" (orders 3 and 5).
    times : array (N+1,)
        The nodes.
    points : array (K, n)
        The values that determine the pieces; `weights` are those at the nodes.
    momenta : array (M, n)
        `p = dl/dv` at the stages; `G v + g` for a gradient flow, zero along the flow itself. Where constraints contain
        v, `p = dl/dv + mu dc/dv` with their multipliers mu.
    action_density : array (M,)
        l at the stages; never negative for a gradient flow.
    node_momenta : array (N+1, n)
        Momenta at the nodes by the discrete Legendre transform: minus the derivative of the discrete action of the
        interval to the right in its left node (at the last node, plus that of the interval to the left). The order
        of the scheme, and for a stationary trajectory without active bounds the same from either side.
    energy : array (N+1,) or None
        Energy at the nodes, where the system has one.
    kinetic_density, potential_density : array (M,) or None
        `1/2 v^T G v` and `1/2 g^T G^{-1} g` at the stages of a gradient flow.
    distance : array (N+1,) or None
        Estimated distance of the nodes to the true flow, `|w - w_true|_G`, from the defect of a curve through them and
        the contraction rates along it; None for paths that are no flows and for flows that were not certified.
    step_certificates : array (N,) or None
        The action of that curve over each interval, in continuous time; `certificate` is their sum.
    flow_times : array (N+1,) or None
        Of a flow `w' = -rate(t) G^{-1} g`: its own time `int rate dt` at the nodes. Pieces, velocities, momenta,
        densities and actions are those of the plain flow in that time.
    success : bool
    status : str
        "converged", or why the solver stopped.
    message : str
        What happened and, where it failed, what to try.
    starts : Starts or None
        Where there were many starts: the distinct minima, and the starts that failed. It is not saved.
    stats : dict
        Iterations, times in seconds (build and solve apart), and what the solver adds.

    Examples
    --------
    >>> found = ao.flow(problem, w, horizon=1.0, steps=10)
    >>> found.weights.shape, bool(found.energy[-1] < found.energy[0])
    ((11, 17), True)
    """

    @classmethod
    def from_points(
        cls,
        density: Density,
        scheme: Scheme,
        points: np.ndarray,
        *,
        energy: Callable[[np.ndarray], np.ndarray] | None = None,
        forces: ConstraintForces | None = None,
        success: bool = True,
        status: str = "converged",
        message: str = "",
        stats: dict[str, Any] | None = None,
        name: str = "trajectory",
    ) -> Trajectory:
        """Evaluate a trajectory given at the points `(K, n)` of a scheme.

        Parameters
        ----------
        density : Density
            The Lagrangian on all stages.
        scheme : Scheme
        points : array (K, n)
        energy : callable, optional
            Energies `(N+1,)` of weights `(N+1, n)`.
        forces : ConstraintForces, optional
            What constraints add to the momenta: `p = dl/dv + mu dc/dv`.
        success, status, message, stats, name
            As the attributes.
        """
        if len(scheme.times) == 1:
            return cls._of_one_node(scheme, points, energy, success, status, message, stats or {}, name)
        with np.errstate(all="ignore"):
            expansion = density.expand_blocks(scheme.position @ points, scheme.velocity @ points, scheme.stages)
            energies = None if energy is None else np.asarray(energy(points[scheme.nodes]))
            described = {"success": success, "status": status, "message": message, "stats": stats or {}, "name": name}
            return cls.from_stages(expansion, scheme, points, energy=energies, forces=forces, **described)

    @classmethod
    def from_stages(
        cls,
        stages: Stages,
        scheme: Scheme,
        points: np.ndarray,
        *,
        energy: np.ndarray | None,
        forces: ConstraintForces | None = None,
        **described: Any,
    ) -> Trajectory:
        """The same where the density was evaluated at the stages already; `energy (N+1,)` at the nodes."""
        return cls(
            scheme=scheme.name,
            times=scheme.times,
            points=points,
            momenta=stages.momentum if forces is None else stages.momentum + forces.momentum,
            action_density=stages.value,
            node_momenta=node_momenta(scheme, stages, forces),
            energy=energy,
            kinetic_density=stages.kinetic,
            potential_density=stages.potential,
            **described,
        )

    @classmethod
    def _of_one_node(
        cls, scheme: Scheme, points: np.ndarray, energy: Callable[[np.ndarray], np.ndarray] | None, *rest: Any
    ) -> Trajectory:
        """What is left of a trajectory that did not take its first step: its start."""
        success, status, message, stats, name = rest
        none, empty = np.zeros(0), np.zeros((0, points.shape[1]))
        with np.errstate(all="ignore"):
            values = None if energy is None else np.asarray(energy(points))
        start = (points, empty, none, np.zeros_like(points), values)
        return cls(
            name, scheme.name, scheme.times, *start, success=success, status=status, message=message, stats=stats
        )

    def resample(self, times: Any) -> np.ndarray:
        """Evaluate the polynomial pieces at `times (k,)`: `(k, n)`.

        Raises
        ------
        InputError
            If a time lies outside the trajectory's own.
        """
        times = np.atleast_1d(real_array("times", times))
        first, last = self.times[0], self.times[-1]
        slack = 1e-9 * (last - first)
        if times.ndim != 1 or not ((times >= first - slack) & (times <= last + slack)).all():
            raise InputError(f"times must be a vector within [{first:g}, {last:g}], the span of the trajectory")
        return evaluate_pieces(make_scheme(self.scheme, self.times), self.points, np.clip(times, first, last))

    def save(self, path: str | Path) -> Path:
        """Write the trajectory to a `.npz` file, or its nodes as a table to a `.csv` file; whole or not at all.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            If the name ends in neither or the file cannot be written; an older file there stays whole.
        """
        return write_csv(self, path) if is_csv(path) else write_trajectory(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        """Read a trajectory that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind, or was changed after it was written.
        """
        return cls(**read_trajectory(path))

    def _columns(self) -> Columns:
        names = self.stats.get("labels") or [f"w_{k}" for k in range(1, self.size + 1)]
        nodes = {"time": self.times} | dict(zip(names, self.weights.T, strict=True))
        more = {"energy": self.energy, "distance": self.distance}
        return nodes | {name: column for name, column in more.items() if column is not None}

    def _variables(self) -> Variables:
        of_nodes: dict[str, Any] = {"energy": self.energy, "distance": self.distance, "flow_time": self.flow_times}
        of_stages: dict[str, Any] = {
            "action_density": self.action_density,
            "kinetic_density": self.kinetic_density,
            "potential_density": self.potential_density,
        }
        found: Variables = {
            "time": (("time",), self.times),
            "stage": (("stage",), self.stage_times if len(self.times) > 1 else np.zeros(0)),
            "weights": (("time", "coordinate"), self.weights),
            "points": (("point", "coordinate"), self.points),
            "momenta": (("stage", "coordinate"), self.momenta),
            "node_momenta": (("time", "coordinate"), self.node_momenta),
        }
        if self.step_certificates is not None:
            found["step_certificates"] = (("interval",), self.step_certificates)
        found |= {name: (("time",), values) for name, values in of_nodes.items() if values is not None}
        return found | {name: (("stage",), values) for name, values in of_stages.items() if values is not None}

    def _facts(self) -> dict[str, Any]:
        return {name: value for name, value in self.summary.items() if name != "stats"}

    def plot(self, ax: Axes | None = None, *, labels: Sequence[str] | None = None) -> Axes:
        """Draw the weights over time into `ax`, or a new figure; of many, the hundred that move most.

        `labels` names the coordinates; `plots/trajectory.py` draws the whole picture.
        """
        from actionopt.action.draw_trajectory import draw_weights

        return draw_weights(self, ax, labels=labels)

    def animate(self, path: str | Path, what: Any = None, **options: Any) -> Path:
        """Write a moving picture of the trajectory, `.gif` or (with ffmpeg) `.mp4`; over the landscape of `what`.

        Options: `seconds`, `rate` (frames a second), `dpi`, and those of `ao.plot_landscape`.

        Raises
        ------
        InputError
            If the ending is another one, or ffmpeg is not installed.
        """
        from actionopt.action.animation import write_animation

        return write_animation(self, path, what, **options)

    @property
    def summary(self) -> dict[str, Any]:
        """The scalars of the trajectory and of its stats by attribute name: what tables and `--json` show."""
        scalars = ("certificate", "action", "kinetic", "potential", "energy_change", "balance_defect")
        grid = {"horizon": float(self.times[-1] - self.times[0]), "steps": len(self.times) - 1}
        hamiltonian = self.hamiltonian if len(self.times) > 1 else np.zeros(1)
        spread = {"hamiltonian_mean": float(hamiltonian.mean()), "hamiltonian_spread": float(np.ptp(hamiltonian))}
        far = {} if self.distance is None else {"distance_end": self.distance[-1], "distance_max": self.distance.max()}
        stats = {key: value for key, value in self.stats.items() if not isinstance(value, (np.ndarray, dict, list))}
        status = {"success": self.success, "status": self.status, "message": self.message, "stats": stats}
        values = {name: getattr(self, name) for name in scalars}
        return {"name": self.name, "size": self.size, "scheme": self.scheme} | grid | far | values | spread | status

    def __repr__(self) -> str:
        return (
            f"Trajectory({self.name!r}: {self.size} weights, {len(self.times) - 1} steps to t = {self.times[-1]:g}, "
            f"{self.scheme}, {self._certified}, {self.status})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (key.replace("_", " "), value)
            for key, value in self.summary.items()
            if value is not None and key not in ("name", "success", "stats")
        ]
        return html_table(("", ""), rows, f"Trajectory of {self.name}")

    @property
    def _certified(self) -> str:
        """What a line says of the trajectory: how far it is from the flow, or its action."""
        if self.distance is None:
            return f"action {self.action:.6g}"
        return f"within {self.distance.max():.2g} of the true flow (certificate {self.certificate:.2g})"
