"""Newton against ipopt and fatrop on one discretisation: `python -m benchmarks.action_solvers [--json PATH]`.

What solver="auto" should choose. Midpoint actions between fixed ends, from the straight line, to 1e-8; seconds include
building. Every contestant must find Newton's action; `apart` is its relative distance from it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from benchmarks._report import Report, measure

CONTESTANTS: dict[str, dict[str, Any]] = {
    "newton": {"solver": "newton"},
    "ipopt": {"solver": "ipopt"},
    "fatrop": {"solver": "fatrop"},
    "ipopt, lifted": {"solver": "ipopt", "formulation": "lifted"},
    "fatrop, lifted": {"solver": "fatrop", "formulation": "lifted"},
}
LIFTED_LIMIT = 300  # weights times samples up to which the lifted formulation takes part
COLUMNS = ("case", "weights", "contestant", "seconds", "build", "iterations", "action", "apart", "against newton")
PROBLEMS = Path(__file__).parents[1] / "problems"

Case = tuple[Any, str, float, int]  # system, metric, horizon, steps


def cases() -> dict[str, Callable[[], Case]]:
    """What is solved, smallest first."""
    return {
        "double well, N = 50": lambda: (shipped("double_well"), "layerwise", 10.0, 50),
        "Mueller-Brown, N = 50": lambda: (shipped("mueller_brown"), "layerwise", 0.02, 50),
        "Mueller-Brown, N = 400": lambda: (shipped("mueller_brown"), "layerwise", 0.02, 400),
        "2-3-1, G = I, N = 50": lambda: (tanh_net(2, 3, 1), "euclidean", 1.0, 50),
        "XOR, N = 30": lambda: (shipped("xor"), "layerwise", 1.0, 30),
        "XOR, N = 100": lambda: (shipped("xor"), "layerwise", 1.0, 100),
        "2-15-1, G = I, N = 100": lambda: (tanh_net(2, 15, 1), "euclidean", 1.0, 100),
        "2-15-1, N = 30": lambda: (tanh_net(2, 15, 1), "layerwise", 1.0, 30),
        "4-8-8-3, N = 10": lambda: (tanh_net(4, 8, 8, 3), "layerwise", 1.0, 10),
        "4-8-8-3, N = 50": lambda: (tanh_net(4, 8, 8, 3), "layerwise", 1.0, 50),
    }


def shipped(name: str) -> Any:
    return ao.load_problem(PROBLEMS / f"{name}.py")


def tanh_net(*sizes: int) -> ao.Problem:
    """Return a tanh network with linear output and squared error on eight random samples."""
    rng = np.random.default_rng(0)
    layers = [ao.Dense(before, after, "tanh") for before, after in pairwise(sizes[:-1])] + [ao.Dense(*sizes[-2:])]
    inputs, targets = rng.standard_normal((8, sizes[0])), rng.standard_normal((8, sizes[-1]))
    return ao.Problem(layers, inputs, targets, ao.SquaredError(), mass=0.1)


def ends(what: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(what, ao.Problem):
        start = what.initial_weights(0)
        return start, start + 0.3 * (what.initial_weights(1) - start)
    rng = np.random.default_rng(3)
    start = rng.standard_normal(what.size)
    return start, start + 0.2 * rng.standard_normal(what.size)


def race(report: Report, name: str, case: Case, repeats: int) -> None:
    """Let every contestant solve one case."""
    what, metric, horizon, steps = case
    start, end = ends(what)
    common: dict[str, Any] = {"horizon": horizon, "steps": steps, "metric": metric, "guess": "line", "throw": False}
    newton: Any = None
    for contestant, options in CONTESTANTS.items():
        small = isinstance(what, ao.Problem) and what.size * what.samples <= LIFTED_LIMIT
        if "formulation" in options and not small:
            continue
        timing = measure(
            lambda options=options: ao.minimize_action(what, start, end, **common, **options),
            repeats=repeats,
        )
        found = timing.value
        newton = newton or (found.action, timing.median)
        report.add(
            case=name,
            weights=what.size,
            contestant=contestant,
            seconds=timing,
            build=found.stats["build_time"],
            iterations=found.stats["iterations"],
            action=found.action,
            apart=abs(found.action - newton[0]) / abs(newton[0]),
            **{"against newton": timing.median / newton[1]},
        )


@click.command()
@click.option("--only", default="", help="Cases whose name contains this.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write the JSON here.")
def main(only: str, repeats: int, json_path: str | None) -> None:
    """Race Newton's method against CasADi's solvers on the same discrete actions."""
    report = Report("Solvers of one discrete action", COLUMNS)
    for name, case in cases().items():
        if only in name:
            race(report, name, case(), repeats)
    report.emit(json_path)


if __name__ == "__main__":
    main()
