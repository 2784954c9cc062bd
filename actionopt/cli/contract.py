"""`actionopt contract`: contraction rates along the flow, module by module, and the two-trajectory check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from actionopt.action.flow import flow
from actionopt.action.trajectory import Trajectory
from actionopt.cli.common import emit, load_modular, problem_command
from actionopt.cli.points import starting_point
from actionopt.contraction.certify import Certificate, certify
from actionopt.contraction.decay import Decay, check_decay
from actionopt.contraction.rate import Contraction, contraction_at, rates_along
from actionopt.metric.batched import BatchedMetric
from actionopt.problem import Problem

VERDICT = ("ok", "status", "message")


@problem_command
@click.option("--horizon", type=float, default=1.0, show_default=True, help="Length of time.")
@click.option("--steps", type=int, default=20, show_default=True, help="Number of equal steps, even.")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option("--progress/--no-progress", default=None, help="Show progress on standard error.  [default: terminals]")
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    horizon: float,
    steps: int,
    metric: str,
    start: str | None,
    seed: int,
    progress: bool | None,
) -> int:
    """Compute contraction rates along the flow, and hold two neighbouring solutions against them.

    Exit status 1: the flow stopped early, two neighbouring solutions approached each other more slowly than the rate
    allows, or the modules' composed rate exceeds that of the whole. That a flow does not contract is an answer, not a
    failure: it is in the table, and under "contracting" in the JSON object.
    """
    problem = load_modular(path, settings)
    w0 = starting_point(path, problem, start, seed)
    show = (sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress
    decay = check_decay(problem, w0, horizon=horizon, steps=steps, metric=metric, progress=show)
    trajectory = flow(problem, w0, horizon=horizon, steps=steps, metric=metric, progress=show)
    certificate = None if metric == "joint" else certify(problem, trajectory, metric=metric)
    rates = rates_along(problem, trajectory, metric=metric) if certificate is None else certificate.whole
    worst = contraction_at(problem, trajectory.weights[rates.argmin()], metric=metric)
    emit(
        as_json,
        _record(problem, trajectory, rates, worst, certificate, decay),
        _table(problem, trajectory, rates, worst, certificate, decay),
    )
    return 0 if decay.ok and (certificate is None or certificate.ok) else 1


def _record(
    problem: Problem,
    trajectory: Trajectory,
    rates: np.ndarray,
    worst: Contraction,
    certificate: Certificate | None,
    decay: Decay,
) -> dict[str, Any]:
    own = ("labels", "rates", "gains", "couplings", "composed", "whole", "uniform", *VERDICT)
    pair = ("times", "distances", "rates", "certificate", "tolerance", "measured_rate", "certified_rate", *VERDICT)
    return {
        "name": problem.name,
        "size": problem.size,
        "metric": decay.metric,
        "contracting": bool(rates.min() > 0.0),
        "times": trajectory.times,
        "rates": rates,
        "worst": {
            "time": trajectory.times[rates.argmin()],
            "rate": worst.rate,
            "weights": worst.weights,
            "direction": worst.direction,
        },
        "certificate": None if certificate is None else {name: getattr(certificate, name) for name in own},
        "decay": {name: getattr(decay, name) for name in pair},
    }


def _table(
    problem: Problem,
    trajectory: Trajectory,
    rates: np.ndarray,
    worst: Contraction,
    certificate: Certificate | None,
    decay: Decay,
) -> str:
    lines = [] if certificate is None else [certificate.table(), ""]
    lines.append(f"{problem.name}: {problem.size} weights, {decay.metric} metric, {len(rates)} nodes")
    lines.append(
        f"rate {rates[0]:.6g} at the start, {rates[-1]:.6g} at the end, smallest {worst.rate:.6g} at "
        f"t = {trajectory.times[rates.argmin()]:.4g}, along a direction {_shares(problem, worst)}"
    )
    if certificate is not None:
        lines.append(f"{certificate.status}: {certificate.message}")
    lines.append(f"two neighbours, {decay.status}: {decay.message}")
    return "\n".join(lines)


def _shares(problem: Problem, worst: Contraction) -> str:
    """Say which module the direction mostly lies in, by its part of the squared length."""
    product = BatchedMetric(problem, worst.weights, metric=worst.metric).product(worst.direction)
    parts = [float((worst.direction * product)[piece].sum()) for piece in problem.slices]
    most = int(np.argmax(parts))
    return f"that lies to {100 * parts[most]:.0f} % in module {problem.groups[most].label}"
