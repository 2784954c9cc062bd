"""What a run proves: contraction around the minimum, and a tube of the flow that leads there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actionopt import figures
from actionopt.action.flow import flow
from actionopt.archive import load_arrays
from actionopt.constrained import train
from actionopt.contraction.proof.ball import prove_contraction
from actionopt.contraction.proof.draw import draw_radii, draw_tube
from actionopt.contraction.proof.refute import refuted_beyond
from actionopt.contraction.proof.tube import prove_basin
from actionopt.errors import InputError, SolverError
from actionopt.problem import Problem
from actionopt.report.scale import settling_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROOF = "proof.npz"
SIZE, SECONDS = 40, 20.0  # weights up to which proofs are tried, and processor time for the ball and for the tube
TUBE_SIZE, TUBE_STEPS = 1000, 60  # numbers in the third derivatives of all samples up to which a tube is tried
FAR = 30.0  # times the proved radius, up to which a counterexample is looked for
RADII = (0.1, 1e-2, 1e-3, 0.0)  # of the tube's start, as parts of the start's length


class Folder(Protocol):
    """Where a run keeps what it found."""

    @property
    def folder(self) -> Path: ...


def find_proof(problem: Problem, start: np.ndarray, end: np.ndarray) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Prove contraction on a ball around the minimum that the flow leads to, and a tube from the start into it.

    Returns
    -------
    (str, dict, dict)
        What was found in a sentence, a summary, and arrays; no arrays where there is nothing to draw.
    """
    found = train(problem, end, solver="newton", throw=False)
    centre = found.weights if np.isfinite(found.weights).all() else end
    try:
        proof = prove_contraction(problem, centre, seconds=SECONDS)
    except InputError as error:
        return f"Nothing is proved around the minimum: {error}.", {}, {}
    refuted = refuted_beyond(problem, centre, proof.radius, most=FAR) if proof.proved else None
    arrays: dict[str, Any] = {"centre": centre, "radius": proof.radius, "rate": proof.rate}
    arrays["refuted"] = np.nan if refuted is None else refuted
    arrays["mass"] = problem.mass
    summary = {name: getattr(proof, name) for name in ("status", "radius", "rate", "basin", "basin_radius", "seconds")}
    message = f"Around the minimum that the flow leads to: {proof.status}, {proof.message}."
    if refuted is not None:
        message += f" Beyond {refuted:.4g} a point that does not contract was found and checked."
    if proof.proved and problem.size**3 * problem.samples <= TUBE_SIZE:
        said, tube = _tube(problem, start)
        message, arrays = f"{message} {said}", {**arrays, **tube}
        summary["tube"] = "tube_radii" in tube
    return message, summary, arrays


def _tube(problem: Problem, start: np.ndarray) -> tuple[str, dict[str, np.ndarray]]:
    """Try tubes around the flow of the mass from the start, the widest first."""
    length = float(np.sqrt((problem.mass * start**2).sum()))
    try:
        horizon = 2.0 * settling_time(problem, start, "euclidean")
        trajectory = flow(problem, start, horizon=horizon, steps=TUBE_STEPS, metric="euclidean", method="Radau")
        proof = None
        for part in RADII:
            proof = prove_basin(problem, trajectory, part * length, seconds=SECONDS / len(RADII))
            if proof.proved:
                break
    except (InputError, SolverError) as error:
        return f"No tube was proved: {error}.", {}
    assert proof is not None
    if not proof.proved:
        return f"No tube around the flow of the mass was proved: {proof.message}.", {}
    arrays = {"tube_times": proof.times, "tube_radii": proof.radii, "tube_weights": trajectory.weights}
    return f"Tube around the flow of the mass, proved: {proof.message}.", arrays


def _load(context: Folder) -> dict[str, np.ndarray]:
    return load_arrays(context.folder / PROOF)


def draw_proof(context: Folder, dark: bool) -> Figure:
    """Draw the radii, and the tube where there is one."""
    arrays = _load(context)
    tube = "tube_radii" in arrays
    if tube:
        fig, (left, right) = figures.figure(1, 2, height=3.0, dark=dark)
        draw_tube(right, arrays["tube_times"], arrays["tube_weights"], arrays["tube_radii"], arrays["mass"])
    else:
        fig, left = figures.figure(width=6.4, height=1.8, dark=dark)
    refuted = float(arrays["refuted"])
    draw_radii(left, [""], [float(arrays["radius"])], [None if np.isnan(refuted) else refuted])
    return fig


def proof_caption(context: Folder) -> str:
    """Say what the figure shows."""
    arrays = _load(context)
    said = (
        "The flow contracts on the ball of weights up to the radius proved, around the minimum; beyond the one refuted "
        "it does not everywhere, and between nothing was decided."
    )
    if "tube_radii" in arrays:
        said += " Beside it the flow of the mass from the start, in the tube that no flow starting in it leaves."
    return said
