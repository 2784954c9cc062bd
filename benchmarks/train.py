"""Training to a gradient of 1e-8: our structured Newton against L-BFGS-B, PyTorch's L-BFGS, ipopt and fatrop.

    python -m benchmarks.train --json out/train.json

Seconds are CPU time of this one process and thread, building included; medians over seeds. All contestants start from
the same weights and are judged by backpropagation at the weights they end at. Minima of networks are many: energies are
given, not compared, except where the minimum is one. PyTorch takes part where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from benchmarks import _train_peers as peers
from benchmarks._report import Report, Timing, slope
from benchmarks.constrained_scale import deep, start
from problems.digits import build as digits
from problems.iris import build as iris
from problems.pendulum import build as pendulum
from problems.pendulum import pumping
from problems.teacher_student import build as teacher_student
from problems.xor import build as xor

COLUMNS = ("case", "contestant", "seconds", "arrived", "energy", "largest |gradient|")
DEPTHS = (20, 80, 320)
BOUNDS = (-0.0188, 0.0188)  # of the weights at depth 80, whose free minimum reaches 0.031


@dataclass(frozen=True)
class Case:
    """A problem, who takes part, and where each seed starts."""

    build: Callable[[], ao.Problem]
    contestants: dict[str, peers.Contestant]
    seeds: int
    start: Callable[[ao.Problem, int], np.ndarray] = lambda problem, seed: problem.initial_weights(seed)


def plain(depth: int) -> ao.Problem:
    """Return `depth` tanh layers of width 4 without skips that learn a fixed map of four features, decay 1e-3."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((20, 4))
    targets = np.tanh(inputs @ rng.standard_normal((4, 4)))
    layers = [ao.Dense(4, 4, "tanh") for _ in range(depth)]
    return ao.Problem(layers, inputs, targets, ao.SquaredError(), weight_decay=1e-3, name=f"plain depth {depth}")


def residual_start(problem: ao.Problem, seed: int) -> np.ndarray:
    """Return the layers of a step of a flow, a little off it for every seed but the first."""
    depth = len(problem.modules)
    w = start(depth)
    return w + (0.03 / depth) * np.random.default_rng(seed).standard_normal(w.size) if seed else w


def cases(seeds: int) -> dict[str, Case]:
    """Return the cases by name."""
    ours: dict[str, peers.Contestant] = {"newton": peers.newton}
    line = {**ours, "L-BFGS-B": peers.lbfgsb(stacked=True)}
    torch = {"torch LBFGS": peers.torch_lbfgs} if find_spec("torch") else {}
    deep_line = {
        **ours,
        "L-BFGS-B": peers.lbfgsb(stacked=False),
        "L-BFGS-B, stacked gradient": peers.lbfgsb(stacked=True),
        "ipopt": peers.casadi("ipopt"),
        "fatrop": peers.casadi("fatrop"),
    }
    found = {
        "xor": Case(xor, line, seeds),
        "teacher-student": Case(teacher_student, line, seeds),
        "iris 4-8-3": Case(lambda: iris(hidden=8), line, seeds),
        "iris 4-8-8-3": Case(iris, {**line, **torch, "ipopt": peers.casadi("ipopt")}, seeds),
        "digits 64-32-10": Case(lambda: digits(samples=1797, weight_decay=1e-3), {**line, **torch}, seeds),
        "digits 64-64-64-10": Case(lambda: digits(samples=1797, hidden=(64, 64), weight_decay=1e-3), line, seeds),
    }
    for depth in DEPTHS:
        taking = {k: v for k, v in deep_line.items() if depth < 320 or k not in ("ipopt", "fatrop")}
        found[f"residual depth {depth}"] = Case(
            lambda depth=depth: deep(depth, 20, 0.02 * depth), taking, seeds, residual_start
        )
    found |= limited_cases(seeds)
    taking = {**ours, "fatrop": peers.casadi("fatrop")}
    found["plain depth 20"] = Case(lambda: plain(20), taking, 12 if seeds > 1 else 1)
    return found


def limited_cases(seeds: int) -> dict[str, Case]:
    """Return training within bounds, some 250 of 1600 active, and control problems."""

    def inside(problem: ao.Problem, seed: int) -> np.ndarray:
        return np.clip(residual_start(problem, seed), *BOUNDS)

    def near(first: np.ndarray) -> Callable[[ao.Problem, int], np.ndarray]:
        return lambda problem, seed: first + 0.05 * bool(seed) * np.random.default_rng(seed).standard_normal(first.size)

    bounded = {
        "newton": peers.limited("newton", BOUNDS),
        "L-BFGS-B, stacked gradient": peers.bounded_lbfgsb(BOUNDS),
        "ipopt": peers.limited("ipopt", BOUNDS),
        "ipopt, its solve alone": peers.limited("ipopt", BOUNDS, solve_alone=True),
    }
    control = {solver: peers.limited(solver) for solver in ("newton", "ipopt", "fatrop")}
    return {
        "residual depth 80 within bounds": Case(lambda: deep(80, 20, 1.6), bounded, seeds, inside),
        "swing-up of 60 stages": Case(pendulum, control, seeds, near(pumping())),
        "linear regulator of 60 stages": Case(regulator, control, seeds, near(np.zeros(60))),
    }


class Spring(ao.Module):
    """A step of a damped spring pushed by u."""

    in_size, out_size, weight_size = 2, 2, 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        u = ops.unpack(w, (1,))
        x, v = ops.columns(z)
        return ops.concatenate([x + 0.1 * v, -0.2 * x + 0.95 * v + 0.1 * u])


def regulator() -> ao.Problem:
    """Return 60 stages of a spring to be brought to rest, costs quadratic."""

    def cost(ops: Any, u: Any, z: Any) -> Any:
        x, v = ops.columns(z)
        return 0.5 * ops.sum(u * u + 2.0 * x * x + v * v)

    def end(ops: Any, z: Any) -> Any:
        return 2.0 * ops.sum(z * z)

    return ao.control(Spring(), [1.0, -0.5], stages=60, stage_cost=cost, end_cost=end)


def run(report: Report, name: str, case: Case) -> dict[str, float]:
    """Run all contestants seed by seed, so that load on the machine meets all; return the median seconds."""
    problem = case.build()
    runs: dict[str, list[peers.Run]] = {contestant: [] for contestant in case.contestants}
    for seed in range(case.seeds):
        w = case.start(problem, seed)
        for contestant, entries in runs.items():
            entries.append(case.contestants[contestant](problem, w))
    for contestant, entries in runs.items():
        report.add(
            **{
                "case": name,
                "contestant": contestant,
                "seconds": Timing([entry.seconds for entry in entries]),
                "arrived": f"{sum(entry.success for entry in entries)}/{len(entries)}",
                "energy": float(np.median([entry.energy for entry in entries])),
                "largest |gradient|": max(entry.gradient for entry in entries),
            }
        )
    return {contestant: float(np.median([e.seconds for e in entries])) for contestant, entries in runs.items()}


def _ratios(name: str, medians: dict[str, float]) -> dict[str, float]:
    return {
        f"{name}: {other} / newton": seconds / medians["newton"]
        for other, seconds in medians.items()
        if other != "newton"
    }


@click.command(help=__doc__)
@click.option("--seeds", default=5, show_default=True, help="Starts a case; the median counts.")
@click.option("--cases", "names", default="", help="Cases to run, comma-separated; all where empty.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(seeds: int, names: str, json_path: Path | None) -> None:
    report = Report("Training to a gradient of 1e-8", COLUMNS, packages=("torch",))
    known = cases(seeds)
    wanted: Iterable[str] = [name.strip() for name in names.split(",")] if names else known
    medians: dict[str, dict[str, float]] = {}
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"no case {name!r}; known are {', '.join(known)}")
        medians[name] = run(report, name, known[name])
    for name, seconds in medians.items():
        report.find(**_ratios(name, seconds))
    depths: dict[int, Any] = {d: medians.get(f"residual depth {d}") for d in DEPTHS}
    if all(depths.values()):
        for contestant in ("newton", "L-BFGS-B"):
            exponent = slope(list(depths), [depths[d][contestant] for d in depths])
            report.find(**{f"residual, {contestant}: exponent of depth": exponent})
    report.emit(json_path)


if __name__ == "__main__":
    main()
