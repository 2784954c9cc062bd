"""`actionopt prove`: contraction on a ball around a minimum, proved, and a tube that leads there."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.flow import flow
from actionopt.action.scheme import make_grid
from actionopt.cli.common import emit, load_modular, problem_command
from actionopt.cli.points import parse_point, starting_point
from actionopt.constrained import train
from actionopt.contraction.proof.ball import ContractionProof, prove_contraction
from actionopt.contraction.proof.lipschitz import bound_lipschitz
from actionopt.contraction.proof.tube import TubeProof, prove_basin
from actionopt.contraction.rate import contraction_rate
from actionopt.errors import InputError
from actionopt.problem import Problem


@problem_command
@click.option(
    "--centre", help="A named point of the file, or numbers with commas.  [default: the minimum near --start]"
)
@click.option("--start", help="Where training and the tube start.  [default: initial weights]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option("--radius", type=float, help="Of the ball, in the norm of the mass.  [default: the largest found]")
@click.option("--metric", default="euclidean", show_default=True, help="Also joint, layerwise.")
@click.option("--rate", type=float, default=0.0, show_default=True, help="The rate to be proved.")
@click.option("--boxes", type=int, default=1, show_default=True, help="Boxes the ball may be cut into.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Processor time for the ball.")
@click.option("--tube", type=float, help="Also a tube from --start, of this radius at first.")
@click.option("--horizon", type=float, default=10.0, show_default=True, help="Length of time of the tube.")
@click.option("--steps", type=int, default=100, show_default=True, help="Number of equal steps of the tube.")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    centre: str | None,
    start: str | None,
    seed: int,
    radius: float | None,
    metric: str,
    rate: float,
    boxes: int,
    seconds: float,
    tube: float | None,
    horizon: float,
    steps: int,
) -> int:
    """Prove that the gradient flow contracts on a ball of weights.

    Exit status 1: it was refuted, which comes with a point of the ball, or nothing was decided.
    """
    make_grid(horizon, steps)  # wrong in any case, also where no tube is asked for
    problem = load_modular(path, settings)
    w0 = starting_point(path, problem, start, seed)
    at = _minimum(problem, w0) if centre is None else problem.check_weights(parse_point(path, centre, "--centre"))
    proof = prove_contraction(problem, at, radius, metric=metric, rate=rate, boxes=boxes, seconds=seconds)
    around = None
    if tube is not None:
        trajectory = flow(problem, w0, horizon=horizon, steps=steps, metric="euclidean", method="Radau")
        around = prove_basin(problem, trajectory, tube)
    bounds = bound_lipschitz(problem, at, proof.radius) if proof.proved and np.isfinite(proof.radius) else None
    here = contraction_rate(problem, at, metric=metric)
    record = {"name": problem.name, "size": problem.size, "rate_at_centre": here, **_record(proof)}
    record["tube"] = None if around is None else _record(around)
    record["lipschitz"] = None if bounds is None else {f.name: getattr(bounds, f.name) for f in fields(bounds)}
    lines = [f"{problem.name}: {problem.size} weights, {metric} metric, rate {here:.6g} at the centre", proof.table()]
    lines += ["", f"{proof.status}: {proof.message}"]
    if bounds is not None:
        lines.append(f"constants there: {bounds!r}")
    if around is not None:
        lines.append(f"tube, {around.status}: {around.message}")
    emit(as_json, record, "\n".join(lines))
    return 0 if proof.proved and (around is None or around.proved) else 1


def _minimum(problem: Problem, start: np.ndarray) -> np.ndarray:
    """Train from a start, by the structured Newton method."""
    found = train(problem, start, solver="newton", throw=False)
    if not np.isfinite(found.weights).all():
        raise InputError(f"training from the start came to no finite weights ({found.message}): give --centre")
    return found.weights


def _record(proof: ContractionProof | TubeProof) -> dict[str, Any]:
    return {f.name: getattr(proof, f.name) for f in fields(proof)} | {"proved": proof.proved}
