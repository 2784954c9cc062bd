"""How tight composition is: the modules' rates and couplings, and the composed rate beside the rate of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cholesky, eigvalsh, solve_triangular

from actionopt.action.trajectory import Trajectory
from actionopt.contraction.certificate_file import read_certificate, write_certificate
from actionopt.contraction.compose import ComposedRate, network_rate, rate_in_scaling
from actionopt.contraction.displacement import Displacement, displacement
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.export import Columns, Exported, Variables, is_csv, write_csv
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = ("layerwise", "euclidean")
ROUNDING = 1e-9  # of the largest rate: by how much rounding may lift the composed above the whole's rate


@dataclass(frozen=True)
class Certificate(Exported):
    """Contraction of a problem's flow at the nodes of a trajectory, module by module and as a whole.

    Attributes
    ----------
    times : array (N,)
    labels : tuple of str
        The k modules that have weights.
    rates : array (N, k)
        Rate of each module while all others are held fixed.
    gains : array (N, k, k)
        Entry (a, b): largest gain from displacements of module b to velocities of module a, lengths in the metric;
        the diagonal is zero.
    couplings : array (N, k, k)
        The same for the symmetric part of the coupling, at most the mean of the two gains.
    composed : array (N,)
        Smallest eigenvalue of `diag(rates) - couplings`: what composition promises.
    whole : array (N,)
        The rate of the whole system, which is never smaller.
    uniform : ComposedRate
        Composed from the smallest rates and largest gains of all nodes: one rate in one scaled metric for all of them.
    metric : str
    radius : float or None
        Of the balls around the nodes on which all of it is proved: rates from below, gains and couplings from above.
        None where they are the values at the nodes.

    Examples
    --------
    >>> found = ao.certify(problem, ao.flow(problem, w, horizon=1.0, steps=4))
    >>> found.rates.shape, bool((found.composed <= found.whole + 1e-9).all())
    ((5, 2), True)
    """

    times: np.ndarray
    labels: tuple[str, ...]
    rates: np.ndarray
    gains: np.ndarray
    couplings: np.ndarray
    composed: np.ndarray
    whole: np.ndarray
    uniform: ComposedRate
    metric: str
    radius: float | None = None

    def save(self, path: str | Path) -> Path:
        """Write everything to a `.npz` file, or the table to a `.csv` file; whole or not at all.

        Raises
        ------
        InputError
            If the name ends in neither or the file cannot be written.
        """
        return write_csv(self, path) if is_csv(path) else write_certificate(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read what `save` wrote to a `.npz` file.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind, or was changed after it was written.
        """
        return cls(**read_certificate(path))

    def _columns(self) -> Columns:
        own = {f"rate of {label}": column for label, column in zip(self.labels, self.rates.T, strict=True)}
        return {"time": self.times, "composed": self.composed, "whole": self.whole, **own}

    def _variables(self) -> Variables:
        return {
            "time": (("time",), self.times),
            "module": (("module",), np.array(self.labels)),
            "composed": (("time",), self.composed),
            "whole": (("time",), self.whole),
            "rates": (("time", "module"), self.rates),
            "gains": (("time", "to", "module"), self.gains),
            "couplings": (("time", "to", "module"), self.couplings),
            "scaling": (("module",), self.uniform.scaling),
        }

    def _facts(self) -> dict[str, Any]:
        facts = {"uniform": float(self.uniform), "metric": self.metric, "radius": self.radius}
        return facts | {"ok": self.ok, "status": self.status, "message": self.message}

    @property
    def proved(self) -> bool:
        """Whether the composed rates are proved on balls around the nodes."""
        return self.radius is not None and bool(np.isfinite(self.composed).all())

    @property
    def ok(self) -> bool:
        """Whether the composed rate is nowhere above the whole's, beyond rounding."""
        scale = max(abs(self.whole).max(), abs(self.rates).max(), self.couplings.max())
        slack = ROUNDING * scale if np.isfinite(scale) else 0.0
        return bool((self.composed <= self.whole + slack).all())

    @property
    def worst(self) -> int:
        """The node where the whole contracts least."""
        return int(self.whole.argmin())

    @property
    def status(self) -> str:
        """One or two words: "contracting", "composition too weak", "not contracting", "undecided" or "failed"."""
        if not self.ok:
            return "failed"
        if self.composed.min() > 0.0:
            return "contracting"
        if self.whole.min() > 0.0:
            return "composition too weak"
        return "not contracting" if self.radius is None else "undecided"

    @property
    def message(self) -> str:
        """What the status means, and what to try."""
        where = f"(smallest rate {self.whole.min():.4g} at t = {self.times[self.worst]:.4g})"
        return {
            "failed": "the composed rate exceeds the whole's, which theory excludes: the metric is too ill-conditioned "
            "for the rates computed; raise the mass",
            "contracting": f"every node contracts, and the modules' own rates and couplings show it {where}",
            "composition too weak": f"every node contracts {where}, but the modules' couplings are too strong for "
            "composition to show it: use the whole's rate",
            "not contracting": f"somewhere neighbouring solutions separate {where}: no certificate here. "
            "Weight decay, a larger mass or a start nearer to the minimum may contract",
            "undecided": f"no rate above 0 was proved on balls of radius {self.radius} around the nodes: take a "
            "smaller radius",
        }[self.status]

    def table(self) -> str:
        """Write the modules, the composed rate and the whole's: smallest over the nodes, and at the worst node."""
        return text_table(self._headers, list(self._rows()))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rates over time, of the modules, composed, and of the whole, into `ax` or a new figure."""
        from actionopt.contraction.draw_rates import draw_rates

        return draw_rates(self, ax)

    @property
    def _headers(self) -> tuple[str, ...]:
        return "module", "smallest rate", "rate at worst node", "largest coupling"

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for index, label in enumerate(self.labels):
            column = self.rates[:, index]
            yield label, column.min(), column[self.worst], self.couplings[:, index].max()
        yield "composed", self.composed.min(), self.composed[self.worst], None
        yield "whole", self.whole.min(), self.whole[self.worst], None

    def __repr__(self) -> str:
        return (
            f"Certificate({self.status}: {len(self.labels)} modules, {len(self.times)} nodes, composed rate "
            f"{self.composed.min():.4g}, whole {self.whole.min():.4g})"
        )

    def _repr_html_(self) -> str:
        return html_table(self._headers, list(self._rows()), self.message)


@takes_problem
def certify(
    problem: Problem, trajectory: Trajectory | Any, *, metric: str = "layerwise", radius: float | None = None
) -> Certificate:
    """Compare the contraction that composition promises with that of the whole system, node by node.

    Parameters
    ----------
    problem : Problem
    trajectory : Trajectory or array (N, n)
        The nodes; `times` of plain weights are their numbers.
    metric : "layerwise" or "euclidean"
        In both each module has lengths of its own, which composition needs.
    radius : float, optional
        Prove rates and couplings on the balls `|w - node|_D <= radius` around the nodes, in the euclidean metric: the
        composed rate is then a proved rate of the whole there. Values at the nodes alone where None.

    Returns
    -------
    Certificate

    Notes
    -----
    With G = L L^T and `P = L^{-1} R L^{-T}`, R of `Displacement.rate_form`, the whole's rate is the smallest
    eigenvalue of P, module a's that of the block P_aa, and `x^T P x >= sum_a rate_a |x_a|^2 - sum |P_ab| |x_a| |x_b|`
    gives the composed rate. Gains are the norms of the blocks of `L^{-1} (G J) L^{-T}`.

    Raises
    ------
    InputError
        As `contraction_rate`, or for the joint metric.

    Examples
    --------
    >>> found = ao.certify(problem, ao.flow(problem, w, horizon=1.0, steps=4))
    >>> found.ok
    True
    """
    if metric == "joint":
        raise InputError("in the joint metric modules have no lengths of their own: certify 'layerwise' or 'euclidean'")
    if not is_name(metric, METRICS):
        raise unknown_name("metric", metric, METRICS)
    moving = isinstance(trajectory, Trajectory)
    nodes = np.atleast_2d(problem.check_weights(trajectory.weights if moving else trajectory))
    times = trajectory.times if moving else np.arange(len(nodes), dtype=float)
    weighted = [group for group in problem.groups if group.size]
    labels, slices = tuple(group.label for group in weighted), tuple(group.slice for group in weighted)
    if radius is not None:
        return _proved(problem, nodes, times, labels, slices, metric, radius)
    measured = [_measure(displacement(problem, w, metric), slices) for w in nodes]
    rates, gains, couplings, whole = (np.array(column) for column in zip(*measured, strict=True))
    ones = np.ones(len(slices))
    composed = np.array([rate_in_scaling(r, c, ones) for r, c in zip(rates, couplings, strict=True)])
    uniform = network_rate(rates.min(axis=0), gains.max(axis=0))
    return Certificate(times, labels, rates, gains, couplings, composed, whole, uniform, metric)


def _proved(
    problem: Problem,
    nodes: np.ndarray,
    times: np.ndarray,
    labels: tuple[str, ...],
    slices: tuple[slice, ...],
    metric: str,
    radius: float,
) -> Certificate:
    """Prove rates and couplings around every node."""
    from actionopt.contraction.proof.composition import prove_composition

    if metric != "euclidean" and problem.output_metric is not None:
        raise InputError("a composition is proved in the metric of the mass: give metric='euclidean'")
    if not (np.isfinite(radius) and radius > 0.0):
        raise InputError(f"radius must be positive and finite, got {radius}")
    found = [prove_composition(problem, w, float(radius), slices) for w in nodes]
    rates, couplings = (np.array([getattr(one, name) for one in found]) for name in ("rates", "couplings"))
    composed, whole = (np.array([getattr(one, name) for one in found]) for name in ("composed", "whole"))
    least, most = rates.min(axis=0), couplings.max(axis=0)
    known = np.isfinite(least).all() and np.isfinite(most).all()
    uniform = network_rate(least, most) if known else ComposedRate(-np.inf, np.ones(len(least)))
    return Certificate(times, labels, rates, couplings, couplings, composed, whole, uniform, metric, float(radius))


def _measure(local: Displacement, slices: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Rates `(k,)`, gains and couplings `(k, k)` and the whole's rate at one point."""
    factor = cholesky(local.metric, lower=True)
    form = _whitened(factor, local.rate_form)
    flow = _whitened(factor, local.momentum_jacobian)
    rates = np.array([_smallest(form[part, part]) for part in slices])
    return rates, _norms(flow, slices), _norms(form, slices), _smallest(form)


def _whitened(factor: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`L^{-1} M L^{-T}`."""
    half = solve_triangular(factor, matrix, lower=True)
    return solve_triangular(factor, half.T, lower=True).T


def _smallest(matrix: np.ndarray) -> float:
    return float(eigvalsh(0.5 * (matrix + matrix.T), subset_by_index=[0, 0])[0])


def _norms(matrix: np.ndarray, slices: tuple[slice, ...]) -> np.ndarray:
    """Spectral norms of the blocks off the diagonal."""
    norms = np.zeros((len(slices), len(slices)))
    for a, rows in enumerate(slices):
        for b, columns in enumerate(slices):
            if a != b:
                norms[a, b] = np.linalg.norm(matrix[rows, columns], 2)
    return norms
