"""Mini-batches: energy against steps and against seconds, layerwise steps beside AdamW.

AdamW takes the rate of `--rates` that ends lowest and is cooled down as the layerwise run is; both see the same epochs
of the same shuffled batches. Medians over `--seeds` starts as lines, their spread as bands. The clock stands for the
evaluation of the energy.

    python plots/descend.py problems/digits.py --set mass=0.3 --out out/descend.png
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, plot_command

Step = Callable[[ao.Problem, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Curves:
    """Energies `(seeds, K)` and seconds `(seeds, K)` at the steps `(K,)` where they were taken."""

    label: str
    steps: np.ndarray
    energies: np.ndarray
    seconds: np.ndarray


@plot_command
@click.option("--batch", default=64, show_default=True, type=click.IntRange(1), help="Samples a step.")
@click.option("--epochs", default=8, show_default=True, type=click.IntRange(1), help="Times all samples are seen.")
@click.option("--rates", default="0.003,0.01,0.03", show_default=True, metavar="A,B,...", help="AdamW's rates.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Starts, 0, 1, ...")
def main(
    path: Path, settings: dict[str, Any], dark: bool, batch: int, epochs: int, rates: str, seeds: int
) -> Any:  # fmt: skip
    """Draw the energy against steps and seconds for layerwise steps and AdamW."""
    problem = load_modular(path, settings)
    size = min(batch, problem.samples)
    found = [curves(problem, "layerwise", layerwise, size, epochs, seeds)]
    adams = [
        curves(problem, f"AdamW, rate {rate:g}", lambda rate=rate: adamw(rate), size, epochs, seeds)
        for rate in _numbers(rates)
    ]
    found.append(min(adams, key=lambda one: float(np.nan_to_num(np.median(one.energies[:, -1]), nan=np.inf))))
    return draw(f"{problem.name}, batches of {size}", found, dark=dark)


def curves(
    problem: ao.Problem, label: str, make: Callable[[], Step], batch: int, epochs: int, seeds: int
) -> Curves:  # fmt: skip
    """Run one contestant from several starts."""
    runs = [list(descent(problem, make(), batch, epochs, seed)) for seed in range(seeds)]
    steps, energies, seconds = (np.array([[point[k] for point in run] for run in runs]) for k in range(3))
    return Curves(label, steps[0], energies, seconds)


def descent(
    problem: ao.Problem, step: Step, batch: int, epochs: int, seed: int
) -> Iterator[tuple[int, float, float]]:  # fmt: skip
    """Yield step, energy and seconds at the start and about 20 times a run."""
    rng, w, spent = np.random.default_rng(seed), problem.initial_weights(seed), 0.0
    count = -(-problem.samples // batch)
    total = epochs * count
    shown = set(np.unique(np.linspace(0, total, min(total, 20) + 1).round().astype(int)).tolist())
    yield 0, problem.energy(w), 0.0
    for epoch in range(epochs):
        for index, part in enumerate(np.array_split(rng.permutation(problem.samples), count)):
            number = epoch * count + index
            began = time.process_time()
            with np.errstate(all="ignore"):
                w = w + min(1.0, (total - number) / (0.4 * total)) * (step(problem.take(part), w) - w)
            spent += time.process_time() - began
            if number + 1 in shown:
                with np.errstate(all="ignore"):
                    yield number + 1, problem.energy(w) if np.isfinite(w).all() else np.nan, spent


def layerwise() -> Step:
    """Return the step of `ao.descend`, with what it remembers."""
    memory = ao.Momentum(0.5, adapt=True)
    return lambda batch, w: ao.step(batch, w, "model", momentum=memory, tol=1e-2)


def adamw(rate: float) -> Step:
    """Return AdamW without decay (Loshchilov, Hutter 2019), with what it remembers."""
    mean, square, count = 0.0, 0.0, 0

    def step(batch: ao.Problem, w: np.ndarray) -> np.ndarray:
        nonlocal mean, square, count
        g = batch.gradient(w) if np.isfinite(w).all() else np.full_like(w, np.nan)
        count += 1
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        return w - rate * (mean / (1.0 - 0.9**count)) / (np.sqrt(square / (1.0 - 0.999**count)) + 1e-8)

    return step


def draw(title: str, found: list[Curves], *, dark: bool = False) -> Any:
    """Return the figure: a line and a band a contestant, by step and by second."""
    fig, (by_step, by_second) = figures.figure(1, 2, dark=dark, sharey=True)
    for one, color in zip(found, figures.COLORS, strict=False):
        middle, seconds = np.median(one.energies, axis=0), np.median(one.seconds, axis=0)
        band = {"color": color, "alpha": 0.2, "linewidth": 0}
        for ax, at, label in ((by_step, one.steps, one.label), (by_second, seconds, None)):
            ax.plot(at, middle, color=color, label=label)
            ax.fill_between(at, one.energies.min(axis=0), one.energies.max(axis=0), **band)
    by_step.set(xlabel="step", ylabel="energy of all samples", yscale="log")
    by_second.set(xlabel="seconds of the processor")
    by_step.legend(loc="best")
    fig.suptitle(title, fontsize=10.5)
    return fig


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(np.isfinite(number) and number > 0 for number in numbers):
        raise ao.InputError(f"--rates takes positive numbers with commas between, such as 0.01,0.03; got {text!r}")
    return numbers


if __name__ == "__main__":
    main()
