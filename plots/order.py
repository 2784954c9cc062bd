"""Error of the discrete action and its path against the step size, for both schemes, with their observed orders.

The reference is the two-stage Gauss scheme on a grid four times finer than the finest one shown. A flow, whose end is
free, has no action to compare: there the defect of its energy balance is shown. Dotted is the order that each
scheme has.

    python plots/order.py problems/double_well.py --start "left minimum" --end saddle --horizon 5 --out out/order.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import plot_command
from actionopt.cli.points import parse_point, starting_point

SCHEMES = ("midpoint", "gauss2")
ORDERS = {"midpoint": 2, "gauss2": 4}
REFINEMENT = 4
ROUNDING = 3e-14  # errors below are left out of the fit


@plot_command
@click.option("--horizon", type=float, required=True, help="Length of time.")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--end", help="A named point or numbers with commas, nan where free.  [default: free]")
@click.option("--steps", default="20,40,80,160", show_default=True, help="Numbers of steps, with commas.")
@click.option("--metric", default="layerwise", show_default=True)
def main(
    path: Path,
    settings: dict[str, Any],
    dark: bool,
    horizon: float,
    start: str | None,
    end: str | None,
    steps: str,
    metric: str,
) -> Any:
    """Draw how fast the discrete paths converge."""
    what = ao.load_problem(path, **settings)
    ends = starting_point(path, what, start, 0), None if end is None else parse_point(path, end, "--end")
    counts = _counts(steps)
    errors = measure(what, *ends, horizon=horizon, counts=counts, metric=metric)
    return draw(what.name, horizon / np.array(counts), errors, dark=dark)


def measure(
    what: Any, start: Any, end: Any, *, horizon: float, counts: Sequence[int], metric: str = "layerwise"
) -> dict[str, dict[str, np.ndarray]]:
    """Return errors by quantity and scheme, one for each count.

    The quantities are "weights", the largest entry at the nodes, and "action", or "energy balance" where that is zero.
    """
    finest = REFINEMENT * int(np.lcm.reduce(counts))
    options: dict[str, Any] = {"horizon": horizon, "metric": metric, "tol": 1e-11, "throw": False}

    def solve(steps: int, scheme: str, guess: Any) -> Any:
        return ao.minimize_action(what, start, end, steps=steps, scheme=scheme, guess=guess, escape=False, **options)

    coarse = solve(counts[-1], "gauss2", None)
    exact = solve(finest, "gauss2", coarse)
    weights, actions, defects = {}, {}, {}
    for scheme in SCHEMES:
        found = [solve(count, scheme, coarse) for count in counts]
        apart = [abs(path.weights - exact.weights[:: finest // n]).max() for path, n in zip(found, counts, strict=True)]
        weights[scheme] = np.array(apart)
        actions[scheme] = np.array([abs(path.action - exact.action) for path in found])
        defects[scheme] = np.array([abs(path.balance_defect or 0.0) for path in found])
    if max(error.max() for error in actions.values()) < ROUNDING:
        return {"weights": weights, "energy balance": defects}
    return {"weights": weights, "action": actions}


def draw(name: str, step: np.ndarray, errors: dict[str, dict[str, np.ndarray]], *, dark: bool = False) -> Any:
    """Return the figure: a panel a quantity, a line a scheme, its fitted slope in the legend."""
    fig, axes = figures.figure(1, len(errors), width=8.0, height=3.4, dark=dark, squeeze=False)
    for ax, (quantity, by_scheme) in zip(axes[0], errors.items(), strict=True):
        for (scheme, error), color, marker in zip(by_scheme.items(), figures.COLORS, figures.MARKERS, strict=False):
            slope = observed_order(step, error)
            label = f"{scheme}: " + ("rounding" if slope is None else f"order {slope:.2f}")
            ax.plot(step, np.maximum(error, 1e-18), color=color, marker=marker, ms=5, label=label)
            if slope is not None:  # the order that the scheme has, through the error of the longest step
                ax.plot(step, error[0] * (step / step[0]) ** ORDERS[scheme], ":", color=figures.GREY, lw=1.0, zorder=1)
        ax.set(xscale="log", yscale="log", xlabel="step size", ylabel=f"error of the {quantity}")
        ax.set_xticks(step, [f"{h:.3g}" for h in step])
        ax.minorticks_off()
        ax.legend(fontsize=8.5)
    fig.suptitle(name, fontsize=10.5)
    return fig


def observed_order(step: np.ndarray, error: np.ndarray) -> float | None:
    """Slope of log error against log step, over the errors above rounding; None where fewer than two are."""
    seen = error > ROUNDING
    if seen.sum() < 2:
        return None
    return float(np.polyfit(np.log(step[seen]), np.log(error[seen]), 1)[0])


def _counts(text: str) -> list[int]:
    try:
        counts = sorted({int(count) for count in text.split(",")})
    except ValueError:
        counts = []
    if len(counts) < 2 or counts[0] < 1:
        raise ao.InputError(f"--steps takes two or more whole numbers with commas, such as 20,40,80; got {text!r}")
    return counts


if __name__ == "__main__":
    main()
