"""The stage of a run that trains: to a point where the optimality conditions hold, with the residual that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actionopt import figures
from actionopt.constrained import Solution, train
from actionopt.interrupts import unless_interrupted
from actionopt.losses import SoftmaxCrossEntropy
from actionopt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED = "trained.npz"
SECONDS = 20.0  # after which training is left to `actionopt train`


class Trip(Protocol):
    """What a run works on, where that is a problem."""

    @property
    def folder(self) -> Path: ...
    @property
    def problem(self) -> Problem: ...
    @property
    def start(self) -> np.ndarray: ...
    @property
    def draw(self) -> Callable[..., None] | None: ...


def train_from(context: Trip) -> Solution:
    """Train from the start, with the solver that fits."""
    return unless_interrupted(
        train(context.problem, context.start, solver="auto", throw=False, time_limit=SECONDS)
    )  # fmt: skip


def say(problem: Problem, start: np.ndarray, found: Solution) -> tuple[str, str, dict[str, Any]]:
    """Return what training found: a headline, sentences, and a summary."""
    first, last = float(problem.energy(start)), float(found.energy)
    right = accuracy(problem, found.weights)
    summary: dict[str, Any] = {
        "energy_start": first,
        "energy": last,
        "gradient_norm": found.gradient_norm,
        "iterations": found.stats.get("iterations"),
        "solver": found.stats["solver"],
        "status": found.status,
    }
    if right is not None:
        summary["accuracy"] = right
    headline = f"energy {last:.4g}, {found.status}" + ("" if right is None else f", {right:.1%} right")
    message = f"Trained by {found.stats['solver']} from the same start, the energy goes from {first:.4g} to {last:.6g}."
    if found.success:
        message += f" There the optimality conditions hold: {found.message}."
    else:
        message += f" The optimality conditions do not hold yet: {found.message}."
    if right is not None:
        message += f" {right:.1%} of the {problem.samples} training samples are classified as their labels."
    return headline, message, summary


def accuracy(problem: Problem, w: np.ndarray) -> Any:
    """Return the share of samples `(...)` that weights `(..., n)` classify right; None where there are no classes."""
    costs = problem.network.costs
    if len(costs) != 1 or not isinstance(costs[0].loss, SoftmaxCrossEntropy):
        return None
    labels = np.asarray(problem.targets)
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    return (problem.outputs(w).argmax(axis=-1) == labels.ravel()).mean(axis=-1)


def draw_training(context: Trip, dark: bool) -> Figure:
    """Draw the history of the training run."""
    arrays = _arrays(context)
    fig, ax = figures.figure(width=6.4, height=3.0, dark=dark)
    energy = arrays["energy"]
    above = np.where(energy > energy.min(), energy - energy.min(), np.nan)
    steps = np.arange(len(energy))
    ax.semilogy(steps, arrays["gradient_norm"], color=figures.COLORS[0], label="largest |gradient|")
    ax.semilogy(steps, above, "--", color=figures.COLORS[1], label="energy above the last")
    ax.set(xlabel="iteration")
    ax.legend(fontsize=8)
    return fig


def draw_fit(context: Trip, dark: bool) -> Figure:
    """Draw one output over one input: the data, the network at the start and trained."""
    problem, arrays = context.problem, _arrays(context)
    x, y = np.ravel(problem.inputs), np.ravel(problem.targets)
    order = np.argsort(x, kind="stable")
    fig, ax = figures.figure(width=6.4, height=3.0, dark=dark)
    ax.plot(x, y, "o", color=figures.GREY, ms=4, label="data")
    for w, name, style, color in (
        (context.start, "at the start", "--", figures.COLORS[1]),
        (arrays["weights"], "trained", "-", figures.COLORS[0]),
    ):
        ax.plot(x[order], np.ravel(problem.outputs(w))[order], style, color=color, label=name)
    ax.set(xlabel="input", ylabel="output")
    ax.legend(fontsize=8)
    return fig


def draw_system(context: Trip, dark: bool) -> Figure:
    """Draw the system as its problem file does, at the start and trained."""
    assert context.draw is not None
    fig, axes = figures.figure(1, 2, width=6.8, height=3.2, dark=dark, sharex=True, sharey=True)
    for ax, w, title in zip(
        axes, (context.start, _arrays(context)["weights"]), ("at the start", "trained"), strict=True
    ):
        context.draw(ax, context.problem, w)
        ax.set_title(title)
    return fig


def fits_a_curve(problem: Problem) -> bool:
    """Whether the network is one output of one input, which a figure can show."""
    placed = problem.network.placed
    one = len(problem.network.data) == 1 and problem.network.data[0].shape[1] == 1 and problem.samples > 2
    whole = len(problem.network.costs) == 1 and problem.network.costs[0].node == len(problem.network.nodes) - 1
    targets = problem.targets
    return bool(one and whole and placed and isinstance(targets, np.ndarray) and targets.size == problem.samples)


def saved(found: Solution) -> dict[str, np.ndarray]:
    """Return what is kept of a training run."""
    history = found.history
    arrays = {"weights": np.asarray(found.weights)}
    if history is not None and len(history) > 1:
        arrays |= {"energy": np.array(history.energy), "gradient_norm": np.array(history.gradient_norm)}
    return arrays


def _arrays(context: Trip) -> dict[str, np.ndarray]:
    with np.load(context.folder / TRAINED, allow_pickle=False) as archive:
        return dict(archive)


def has_history(context: Trip) -> bool:
    """Whether the solver wrote its iterations down."""
    return "energy" in _arrays(context)
