"""Gradient flows from many starts: marched, evaluated and certified all together.

What a run computes does not depend on the others: they share calls of NumPy, not numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from actionopt.action.certificate.certificate import DENSE_SIZE, GAUSS, FlowCertificate, certify_flows
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.ensemble.ensemble import Ensemble
from actionopt.action.ensemble.follow import STEPS, follow_all
from actionopt.action.ensemble.march import Courses, march_all
from actionopt.action.explicit import INTERRUPTED, SOLVE_IVP
from actionopt.action.march import DENSE_LIMIT
from actionopt.action.outcome import judged_flow
from actionopt.action.scheme import Scheme, make_scheme
from actionopt.action.system import names_of
from actionopt.action.trajectory import Trajectory
from actionopt.metric.batched import room
from actionopt.metric.kinds import kind_of

TOGETHER = 2_000_000  # numbers that what is evaluated and certified together may hold


def may_stack(density: GradientFlowDensity, method: str, scheme: Scheme) -> bool:
    """Whether many flows are marched at once.

    Explicit steps where the blocks of the metric fit into stacks of matrices, implicit ones where the Jacobian of an
    interval is formed; nothing adaptive.
    """
    if method in STEPS:
        return room(density.problem, kind_of(density.model.metric)) > 0
    return method not in SOLVE_IVP and int(scheme.nodes[1]) * density.size <= DENSE_LIMIT


def one_by_one(alone: Callable[[np.ndarray], Trajectory], starts: np.ndarray, times: np.ndarray) -> Ensemble:
    """Return the flows one after the other, those before Ctrl-C if that comes."""
    runs: list[Trajectory] = []
    for start in starts:
        try:
            runs.append(alone(start))
        except KeyboardInterrupt:
            if not runs:
                raise
            break
        if len(runs[-1].times) < len(times) and runs[-1].status == INTERRUPTED:
            break
    return Ensemble(runs, times)


@dataclass(frozen=True)
class StageValues:
    """The density at the stages of one of many trajectories."""

    value: np.ndarray
    force: np.ndarray
    momentum: np.ndarray
    kinetic: np.ndarray
    potential: np.ndarray


def stacked_flows(
    density: GradientFlowDensity,
    scheme: Scheme,
    starts: np.ndarray,
    *,
    method: str,
    tol: float,
    certify: bool,
    times: np.ndarray,
    tick: Callable[[], None],
) -> Ensemble:
    """Return the flows from `starts (S, n)` on a scheme, whose times are the flow's own, and `times` the user's."""
    if not len(starts):
        return Ensemble([], times)
    if method in STEPS:
        courses = follow_all(density.problem, density.model.metric, scheme.times, starts, method, tick)
    else:
        courses = march_all(density.model, scheme, starts, block=density.block, tol=tol, tick=tick)
    runs: dict[int, Trajectory] = {}
    for group in _groups(courses, scheme, density):
        found = _evaluated(density, scheme, courses, group, method, certify, times)
        runs |= zip(group.tolist(), found, strict=True)
    return Ensemble([runs[s] for s in range(len(starts))], times)


def _groups(courses: Courses, scheme: Scheme, density: GradientFlowDensity) -> Iterator[np.ndarray]:
    """Cut the runs into groups that came equally far, small enough to be evaluated together."""
    each = len(scheme.times) * density.size * (density.size if density.size <= DENSE_SIZE else GAUSS)
    most = max(1, TOGETHER // each)
    for reached in np.unique(courses.reached)[::-1]:
        group = np.flatnonzero(courses.reached == reached)
        yield from (group[first : first + most] for first in range(0, len(group), most))


def _evaluated(
    density: GradientFlowDensity,
    scheme: Scheme,
    courses: Courses,
    group: np.ndarray,
    method: str,
    certify: bool,
    times: np.ndarray,
) -> list[Trajectory]:
    """Evaluate, certify and judge runs that came equally far."""
    reached = int(courses.reached[group[0]])
    if reached < len(scheme.times) - 1:
        scheme = make_scheme(scheme.name, scheme.times[: reached + 1])
    points = courses.points[group, : scheme.nodes[-1] + 1]
    weights = points[:, scheme.nodes]
    energy = _energies(density, weights) if courses.energy is None else courses.energy[group, : reached + 1]
    stats = [{**courses.stats[s], "method": method, **names_of(density.problem)} for s in group]
    name, failures = density.problem.name, [courses.failures[s] for s in group]
    if not reached:
        runs = [
            Trajectory.from_points(density, scheme, p, energy=density.problem.energy, stats=told, name=name)
            for p, told in zip(points, stats, strict=True)
        ]
        return [judged_flow(run, failure, None) for run, failure in zip(runs, failures, strict=True)]
    runs = [
        Trajectory.from_stages(stages, scheme, p, energy=e, stats=told, name=name)
        for stages, p, e, told in zip(_stages(density, scheme, points), points, energy, stats, strict=True)
    ]
    if not np.array_equal(scheme.times, times[: reached + 1]):
        runs = [replace(run, times=times[: reached + 1], flow_times=scheme.times) for run in runs]
    if not certify:
        return [judged_flow(run, failure, None) for run, failure in zip(runs, failures, strict=True)]

    @cache
    def certificates() -> list[FlowCertificate]:
        """Certify all of them when somebody asks for one."""
        return certify_flows(density, scheme.times, weights, errors=[courses.errors[s] for s in group])

    return [
        judged_flow(run, failure, lambda place=place: certificates()[place])  # type: ignore[misc]
        for place, (run, failure) in enumerate(zip(runs, failures, strict=True))
    ]


def _energies(density: GradientFlowDensity, weights: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.stack([np.asarray(density.problem.energy(run)) for run in weights])


def _stages(density: GradientFlowDensity, scheme: Scheme, points: np.ndarray) -> list[StageValues]:
    """Evaluate the density at the stages of all runs."""
    runs, count, n = points.shape
    columns = points.transpose(1, 0, 2).reshape(count, -1)
    w, v = (
        np.asarray(m @ columns).reshape(-1, runs, n).transpose(1, 0, 2).reshape(-1, n)
        for m in (scheme.position, scheme.velocity)
    )
    with np.errstate(all="ignore"):
        found = density.expand_blocks(w, v)
        fields: dict[str, Any] = {
            name: np.asarray(getattr(found, name)).reshape(
                runs, len(scheme.stages), *np.shape(getattr(found, name))[1:]
            )
            for name in ("value", "force", "momentum", "kinetic", "potential")
        }
    return [StageValues(**{name: value[run] for name, value in fields.items()}) for run in range(runs)]
