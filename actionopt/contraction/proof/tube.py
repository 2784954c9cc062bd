"""`prove_basin`: a tube around a computed flow, through stretches where it does not contract, into a proved basin.

Within the tube the distance r of a flow from the curve through the nodes obeys `r' <= -lam r + defect` **[ours]**, with
lam a lower bound of how fast flows are drawn to the curve (negative where they part) and the defect of the curve, both
enclosed piece by piece (`curve`). The tube ends in a ball around the last node that is proved to be a basin.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.action.trajectory import Trajectory
from actionopt.contraction.proof.curve import Curve
from actionopt.contraction.proof.derivatives import ROUNDED
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.result import Proof
from actionopt.contraction.smooth import check_smooth
from actionopt.errors import InputError
from actionopt.ops.interval import INTERVAL, KinkError
from actionopt.ops.rounded import UNIT, point
from actionopt.problem import Problem, takes_problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIECES = 4  # a step
ROUNDS = 8  # of widening the tube that rates are taken over
GUESS, ROOM = 1.2, 1.05  # by which it is wider than the first guess, and than what came out
BASINS = 12  # radii tried around the last node
NUMBERS = 4_000_000  # in the widest array


@dataclass(frozen=True, repr=False)
class TubeProof(Proof):
    """A tube around a trajectory that every flow starting in it stays in.

    Attributes
    ----------
    status : str
        "proved": the tube ends in a basin; "undecided" otherwise.
    message : str
        What the status means here, and what to try.
    seconds : float
        Processor time.
    times : array (N+1,)
    radii : array (N+1,)
        Of the tube at the nodes, in the norm of the mass; inf from where nothing is known.
    rates : array (N,)
        Smallest proved rate on each step, negative where flows may part.
    defects : array (N,)
        Largest proved defect of the curve on each step, in the same norm.
    basin_radius : float
        Of the basin around the last node; 0 where none was proved.
    equilibrium_within : float or None
        Distance from the last node within which the equilibrium lies that all flows of the tube converge to.

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.5)
    >>> path = ao.flow(ridge, [0.0, 0.0], horizon=20.0, steps=60, metric="euclidean", method="Radau")
    >>> bool(ao.prove_basin(ridge, path, 0.1).proved)
    True
    """

    times: np.ndarray
    radii: np.ndarray
    rates: np.ndarray
    defects: np.ndarray
    basin_radius: float
    equilibrium_within: float | None

    def rows(self) -> list[tuple[str, Any]]:
        return [
            ("radius at the start", self.radii[0]),
            ("largest", self.radii.max()),
            ("at the end", self.radii[-1]),
            ("least rate", self.rates.min()),
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the tube's radius over time, with the stretches where flows may part, into `ax` or a new figure."""
        from actionopt import figures

        ax = figures.axes(ax)
        known = np.isfinite(self.radii)
        ax.semilogy(self.times[known], self.radii[known], label="radius of the tube")
        ax.semilogy(self.times[:-1], self.defects, ":", color=figures.GREY, label="defect of the curve")
        if self.basin_radius:
            ax.axhline(self.basin_radius, ls="--", color=figures.GREY, label="basin around its end")
        parting = self.rates <= 0.0
        for k in np.flatnonzero(parting):
            first = k == np.flatnonzero(parting)[0]
            ax.axvspan(
                self.times[k], self.times[k + 1], color=figures.GREY, alpha=0.15, lw=0,
                label="flows may part" if first else None,
            )  # fmt: skip
        ax.set_xlabel("time")
        ax.set_ylabel("distance in the norm of the mass")
        ax.legend()
        return ax


@takes_problem
def prove_basin(
    problem: Problem, trajectory: Trajectory | Any, radius: float, *, pieces: int = PIECES, seconds: float | None = None
) -> TubeProof:
    """Prove that every flow within `radius` of a trajectory's start stays near it and converges.

    Parameters
    ----------
    problem : Problem
        Its flow is that of the mass: give a trajectory of `flow(..., metric="euclidean")`.
    trajectory : Trajectory
        Of which times and nodes are taken; the better it follows the flow, the narrower the tube.
    radius : float
        Of the ball of starts, in the norm of the mass; 0 for the flow from the first node alone.
    pieces : int
        Into how many pieces each step is cut.
    seconds : float, optional
        Processor time after which the tube is given up.

    Returns
    -------
    TubeProof

    Raises
    ------
    InputError
        If an argument cannot be used, or the energy has a kink at a node.

    Examples
    --------
    >>> ridge = ao.Problem(ao.Dense(1, 1), [0.0, 1.0], [1.0, 3.0], ao.SquaredError(), weight_decay=0.5)
    >>> path = ao.flow(ridge, [0.0, 0.0], horizon=20.0, steps=60, metric="euclidean", method="Radau")
    >>> proof = ao.prove_basin(ridge, path, 0.1)
    >>> bool(proof.proved), proof.radii.shape
    (True, (61,))
    """
    if not isinstance(trajectory, Trajectory):
        raise InputError(f"prove_basin takes a Trajectory, as flow returns it; got {type(trajectory).__name__}")
    nodes = problem.check_weights(trajectory.weights, "the trajectory's weights")
    if not (np.isfinite(radius) and radius >= 0.0):
        raise InputError(f"radius must be a finite number >= 0, got {radius}")
    if isinstance(pieces, bool) or int(pieces) != pieces or pieces < 1:
        raise InputError(f"pieces must be a whole number >= 1, got {pieces!r}")
    if problem.size**3 * problem.samples > NUMBERS:
        raise InputError(
            f"{problem.size} weights and {problem.samples} samples are too many to enclose third derivatives along a "
            "trajectory"
        )
    begun = time.process_time()
    check_smooth(problem, nodes[0], output_metric=False)
    curve = Curve(problem, trajectory.times, nodes, int(pieces))
    with np.errstate(all="ignore"):
        radii, rates, defects = _tube(curve, float(radius), begun + (np.inf if seconds is None else seconds))
        end = float(radii[-1])
        basin = _basin_around(problem, nodes[-1], end) if np.isfinite(end) else None
    seconds = time.process_time() - begun
    least, most = rates.reshape(-1, pieces).min(axis=1), defects.reshape(-1, pieces).max(axis=1)
    if basin is None:
        message = _why(trajectory.times, radii, end)
        return TubeProof("undecided", message, seconds, trajectory.times, radii, least, most, 0.0, None)
    reach, within = basin
    message = (
        f"every flow from within {radius:.4g} of the start is within {end:.4g} of the last node at its time, inside a "
        f"basin of radius {reach:.4g}, and converges to one equilibrium within {within:.3g} of it"
    )
    return TubeProof("proved", message, seconds, trajectory.times, radii, least, most, reach, within)


def _tube(curve: Curve, radius: float, deadline: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the radii at the nodes, and rates and defects piece by piece.

    Rates hold within a tube that is guessed, from those on the curve, and guessed again where it does not hold what
    came out.
    """
    defects, jumps = curve.defects(), curve.jumps()
    guess, _ = _integrated(curve, radius, curve.on_curve, defects, jumps)
    reach = GUESS * np.where(np.isfinite(guess), guess, radius) + 1e-14
    rates, outside = np.empty_like(reach), np.ones(len(reach), dtype=bool)
    for _ in range(ROUNDS):
        pieces = np.flatnonzero(outside)
        rates[pieces] = curve.rates(reach[pieces], pieces)
        largest, ends = _integrated(curve, radius, rates, defects, jumps)
        outside = largest > reach
        if not outside.any():
            break
        if time.process_time() > deadline:
            ends[1:] = np.inf
            break
        reach = np.where(outside & np.isfinite(largest), ROOM * largest + 1e-14, reach)
    else:
        ends[1 + int(np.argmax(outside)) // curve.pieces :] = np.inf  # where the tube leaves what its rates hold for
    return ends, rates, defects


def _integrated(
    curve: Curve, radius: float, rates: np.ndarray, defects: np.ndarray, jumps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Integrate `r' <= -lam r + defect`: the largest r on each piece `(M,)`, and r at the nodes `(N+1,)`."""
    longest, shortest = 2.0 * curve.half * (1.0 + 8.0 * UNIT), 2.0 * curve.half * (1.0 - 32.0 * UNIT)
    lam = point(rates)
    decays = INTERVAL.exp(-lam * longest)
    keep = np.maximum(decays.hi, INTERVAL.exp(-lam * shortest).hi)
    # the integral of exp(-lam t) over the piece, which is at most its length where lam is not negative
    gain = np.fmin(((1.0 - decays) / lam).hi, longest * np.maximum(keep, 1.0) * (1.0 + 4.0 * UNIT))
    largest, ends, r = np.empty(len(rates)), [radius], radius * ROUNDED  # lengths in x and in the norm of the mass
    for k in range(len(rates)):
        after = (keep[k] * r + gain[k] * defects[k]) * (1.0 + 8.0 * UNIT)
        largest[k], r = max(r, after), float(after)
        if (k + 1) % curve.pieces == 0:
            r = (r + float(jumps[k // curve.pieces])) * (1.0 + 2.0 * UNIT)
            ends.append(r * ROUNDED)
    return np.where(np.isnan(largest), np.inf, largest), np.nan_to_num(np.array(ends), nan=np.inf, posinf=np.inf)


def _basin_around(problem: Problem, centre: np.ndarray, radius: float) -> tuple[float, float] | None:
    """Return the radius of a basin around weights that holds a ball, and how near its equilibrium is; None for none."""
    prover = Prover(problem, centre, "euclidean", 1, np.inf)
    top = float(np.linalg.eigvalsh(0.5 * (prover.at_centre[2].lo + prover.at_centre[2].hi))[0])
    if not top > 0.0:
        return None
    wide = max(1.01 * radius, 1.2 * prover.speed / top, 1e-12)
    for _ in range(BASINS):
        try:
            rate = prover.rate(wide)
        except KinkError:
            return None
        if not rate > 0.0:
            return None
        within = float(np.nextafter(prover.speed / rate, np.inf)) * (1.0 + 2.0**-48)
        if within < wide * (1.0 - 2.0**-48) and radius <= wide:
            return wide, within
        wide *= 1.5
    return None


def _why(times: np.ndarray, radii: np.ndarray, end: float) -> str:
    """Say why nothing was proved, and what to try."""
    if np.isfinite(end):
        return (
            f"the tube reaches the last node with radius {end:.4g}, and no basin that wide was proved around it: take "
            "a longer trajectory, more steps, or a smaller radius"
        )
    lost = times[int(np.argmax(~np.isfinite(radii)))]
    return f"the tube gets too wide at t = {lost:.4g}: take more steps, a better method, or a smaller radius"
