"""What `least_action_path` returns: the path, its action and what is known about it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.export import Columns, Exported, Variables, is_csv, write_csv
from actionopt.paths.path_file import read_path, write_path
from actionopt.tables import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A zero of the drift that a path passes or ends at.

    Attributes
    ----------
    point : array (n,)
    index : int
        Where it stands among the points of the path.
    unstable : int
        Number of unstable directions of the flow there.
    """

    point: np.ndarray
    index: int
    unstable: int

    @property
    def kind(self) -> str:
        """Say "attractor", "saddle" or "repeller"."""
        if self.unstable == 0:
            return "attractor"
        return "repeller" if self.unstable == len(self.point) else "saddle"


@dataclass(frozen=True)
class Leg:
    """The part of a path between two critical points: `points[first : last + 1]`, its action and length."""

    first: int
    last: int
    action: float
    length: float


@dataclass(frozen=True, eq=False)
class PathCandidate:
    """A path that the search found; it need not be the least.

    Attributes
    ----------
    name : str
        The guess that led there.
    action : float
    elements : int
        Number of elements it was solved with.
    points : array (2 elements + 1, n)
    converged : bool
        Whether its gradient is below the tolerance; those that fell out on a coarse mesh are solved loosely.
    """

    name: str
    action: float
    elements: int
    points: np.ndarray
    converged: bool


@dataclass(frozen=True, eq=False, repr=False)
class GeometricPath(Exported):
    """A path of least action over all horizons, as quadratic elements.

    Attributes
    ----------
    name : str
        Of the system.
    points : array (K, n)
        Nodes of the elements and their middles in turn, K = 2 elements + 1.
    action : float
        `int |x'|_M |b|_M - x' . M b`, the infimum of `1/2 int |v - b|^2_M dt` over all horizons along this path.
    action_error : float
        Estimated bound on |action - the action of the limit of this path as elements are added|. It cannot see another
        minimum.
    arc : array (K,)
        Arc length in the metric M.
    speed : array (K,)
        `|b|_M`, the speed at which the path is gone through without horizon.
    accumulated : array (K,)
        Action up to each point; linear in between the nodes of an element.
    critical_points : list of CriticalPoint
        Where the drift vanishes on the path, ends included.
    lowest_eigenvalue : float
        Of the second variation across the path, `delta^2 S = lambda int |u|^2 ds`, the critical points inside held.
    candidates : list of PathCandidate
        All paths that were found, least action first.
    energy : array (K,) or None
        Energy at the points, where the system has one.
    success : bool
    status : str
        "converged" if the gradient is below the tolerance; "underresolved" if it is, but the action of the curve itself
        is more than 1 % from that of the elements.
    message : str
    stats : dict
        `gradient_norm` (largest entry of the gradient across the path, times its length over `int |x'| |b|`), `length`,
        `elements`, `actions` by number of elements, `start` (what the flow from there tends to), seconds.

    Examples
    --------
    >>> well = ao.Drift(1, lambda ops, x: x - x**3)
    >>> path = ao.least_action_path(well, [-1.0], [1.0])
    >>> round(path.action, 6), [point.kind for point in path.critical_points]
    (0.5, ['attractor', 'repeller', 'attractor'])
    """

    name: str
    points: np.ndarray
    action: float
    action_error: float
    arc: np.ndarray
    speed: np.ndarray
    accumulated: np.ndarray
    critical_points: list[CriticalPoint]
    lowest_eigenvalue: float
    candidates: list[PathCandidate] = field(default_factory=list)
    energy: np.ndarray | None = None
    success: bool = True
    status: str = "converged"
    message: str = ""
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number n of coordinates."""
        return self.points.shape[1]

    @property
    def is_minimum(self) -> bool:
        """Whether the path is stationary and its second variation positive."""
        return self.success and self.lowest_eigenvalue > 0

    @property
    def legs(self) -> list[Leg]:
        """The parts of the path between its critical points."""
        last = len(self.points) - 1
        cuts = sorted({0, last, *(point.index for point in self.critical_points)})
        return [
            Leg(a, b, float(self.accumulated[b] - self.accumulated[a]), float(self.arc[b] - self.arc[a]))
            for a, b in itertools.pairwise(cuts)
        ]

    def times(self, horizon: float) -> np.ndarray:
        """Return times `(K,)` at the points if the path is gone through in a given time.

        The speed is `sqrt(|b|^2 + 2 H)`, with the Hamiltonian H that makes the horizon: H -> 0 as it grows. With these
        times the path is a guess for `minimize_action(..., times=path.times(T), guess=path.points)`.

        Raises
        ------
        InputError
            If the horizon is no positive number, or so short that the path would go at more than 10^6 times its speed.
        """
        if isinstance(horizon, bool) or not isinstance(horizon, Real) or not 0 < float(horizon) < np.inf:
            raise InputError(f"horizon must be a positive, finite number, got {horizon!r}")
        from scipy.optimize import brentq

        horizon = float(horizon)
        ceiling = 1e6 * float(self.speed.max())
        floor = 1e-14 * float(self.speed.max())
        if self._steps(ceiling).sum() > horizon:
            raise InputError(f"the horizon {horizon:g} is too short for a path of length {self.arc[-1]:g}")
        if self._steps(floor).sum() > horizon:
            root = brentq(
                lambda x: float(np.log(self._steps(np.exp(x)).sum() / horizon)), np.log(floor), np.log(ceiling)
            )
            steps = self._steps(float(np.exp(root)))
        else:
            steps = self._steps(floor)
        times = np.concatenate([[0.0], np.cumsum(steps)])
        return times * (float(horizon) / times[-1])

    def _steps(self, extra: float) -> np.ndarray:
        """Times between the points at the speed `sqrt(b^2 + extra^2)`, b linear in between."""
        lengths, b = np.diff(self.arc), self.speed
        rise = np.diff(b)
        flat = np.abs(rise) < 1e-9 * (b[1:] + b[:-1] + extra)
        curved = (np.arcsinh(b[1:] / extra) - np.arcsinh(b[:-1] / extra)) / np.where(flat, 1.0, rise)
        return lengths * np.where(flat, 1.0 / np.sqrt(0.25 * (b[1:] + b[:-1]) ** 2 + extra**2), curved)

    def save(self, path: str | FilePath) -> FilePath:
        """Write the path to a `.npz` file, or its points as a table to a `.csv` file; whole or not at all.

        Raises
        ------
        InputError
            If the name ends in neither or the file cannot be written.
        """
        return write_csv(self, path) if is_csv(path) else write_path(self, path)

    @classmethod
    def load(cls, path: str | FilePath) -> GeometricPath:
        """Read a path that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind, or was changed after it was written.
        """
        fields = read_path(path)
        fields["critical_points"] = [CriticalPoint(**entry) for entry in fields["critical_points"]]
        fields["candidates"] = [PathCandidate(**entry) for entry in fields["candidates"]]
        return cls(**fields)

    def _columns(self) -> Columns:
        points = {f"x_{k}": column for k, column in enumerate(self.points.T, start=1)}
        energy = {} if self.energy is None else {"energy": self.energy}
        return {"arc": self.arc, **points, "speed": self.speed, "accumulated": self.accumulated, **energy}

    def _variables(self) -> Variables:
        along = {"speed": self.speed, "accumulated": self.accumulated}
        along |= {} if self.energy is None else {"energy": self.energy}
        found: Variables = {"arc": (("arc",), self.arc), "points": (("arc", "coordinate"), self.points)}
        return found | {name: (("arc",), values) for name, values in along.items()}

    def _facts(self) -> dict[str, Any]:
        listed = ("stats", "legs", "critical_points", "candidates")
        return {name: value for name, value in self.summary.items() if name not in listed}

    def plot(self, ax: Axes | None = None, *, labels: Sequence[str] | None = None) -> Axes:
        """Draw the path into `ax`, or a new figure: in the plane, or its coordinates over the arc length."""
        from actionopt.paths.draw_path import draw_path

        return draw_path(self, ax, labels=labels)

    @property
    def summary(self) -> dict[str, Any]:
        """The scalars of the path by attribute name, with its legs, critical points and candidates as rows."""
        names = (
            "name",
            "size",
            "action",
            "action_error",
            "lowest_eigenvalue",
            "is_minimum",
            "success",
            "status",
            "message",
        )
        return {name: getattr(self, name) for name in names} | {
            "stats": self.stats,
            "legs": [vars(leg) for leg in self.legs],
            "critical_points": [
                {"point": p.point, "kind": p.kind, "unstable": p.unstable} for p in self.critical_points
            ],
            "candidates": [
                {"name": c.name, "action": c.action, "elements": c.elements, "converged": c.converged}
                for c in self.candidates
            ],
        }

    def __repr__(self) -> str:
        kinds = " - ".join(point.kind for point in self.critical_points) or "no critical points"
        return (
            f"GeometricPath({self.name!r}: action {self.action:.10g} +- {self.action_error:.1g}, {kinds}, "
            f"{'a minimum' if self.is_minimum else 'NOT a minimum'}, {self.status})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (key.replace("_", " "), value)
            for key, value in self.summary.items()
            if key not in ("name", "success", "stats", "legs", "critical_points", "candidates")
        ]
        return html_table(("", ""), rows, f"Least-action path of {self.name}")
