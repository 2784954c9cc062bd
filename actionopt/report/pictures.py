"""The figures of a report, each from the files of its stage, and what each says in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actionopt import figures
from actionopt.action.draw_trajectory import draw_hamiltonian, draw_trajectory
from actionopt.action.trajectory import Trajectory
from actionopt.archive import load_arrays
from actionopt.constrained import plot_adjoints
from actionopt.constrained.draw_adjoints import draw_adjoints
from actionopt.contraction.draw_rates import shade_parting
from actionopt.problem import Problem
from actionopt.report.proof import PROOF, draw_proof, proof_caption
from actionopt.report.stages import ACTION, ADJOINTS, HORIZONS, PATH, RATES, Context
from actionopt.report.training import TRAINED, accuracy, draw_fit, draw_system, draw_training, fits_a_curve, has_history
from actionopt.report.transition import TRANSITION, draw_over_profile, draw_transition, draw_transition_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 4  # multipliers up to which a number says more than a picture
DEEP = 3  # modules from which adjoints are shown over the depth
CONSTANT = 1e-2  # the share of the largest action density by which a Hamiltonian called constant may vary


@dataclass(frozen=True)
class Drawing:
    """A figure: the stage it belongs to, the file it needs, how it is drawn on light or dark ground, its caption."""

    name: str
    stage: str
    file: str
    draw: Callable[[Context, bool], Figure]
    caption: Callable[[Context], str]
    applies: Callable[[Context], bool] = lambda context: True


def _adjoints(context: Context, dark: bool) -> Figure:
    arrays, problem = load_arrays(context.folder / ADJOINTS), context.problem
    modules = range(len(problem.modules))
    multipliers = [arrays[f"multipliers_{i}"] for i in modules]
    return draw_adjoints(
        problem.name, problem.labels, multipliers, [arrays[f"adjoints_{i}"] for i in modules], dark=dark
    )


def _costates(context: Context, dark: bool) -> Figure:
    arrays, problem = load_arrays(context.folder / ADJOINTS), context.problem
    multipliers = [arrays[f"multipliers_{i}"] for i in range(len(problem.modules))]
    w = problem.initial_weights(context.options.seed) if context.at_rest else context.start
    fig, ax = figures.figure(width=6.4, height=3.0, dark=dark)
    plot_adjoints(problem, w, multipliers=multipliers, ax=ax)
    return fig


def _trajectory(context: Context, dark: bool) -> Figure:
    return _over_time(context, ACTION, dark)


def _path(context: Context, dark: bool) -> Figure:
    return _over_time(context, PATH, dark)


def _over_time(context: Context, file: str, dark: bool) -> Figure:
    what = context.what
    groups = {group.name: group.slice for group in what.groups} if isinstance(what, Problem) else None
    return draw_trajectory(
        context.trajectory(file), labels=getattr(what, "coordinates", None), groups=groups, dark=dark
    )


def _learning(context: Context, dark: bool) -> Figure:
    found, problem = context.trajectory(ACTION), context.problem
    fig, (top, bottom) = figures.figure(2, 1, width=6.4, height=4.2, dark=dark, sharex=True)
    top.semilogy(found.times, found.energy, color=figures.COLORS[0])
    top.set_ylabel("energy")
    bottom.plot(found.times, 100.0 * accuracy(problem, found.weights), color=figures.COLORS[2])
    bottom.set(xlabel="time", ylabel="classified right (%)")
    return fig


def _learning_caption(context: Context) -> str:
    right = accuracy(context.problem, context.trajectory(ACTION).weights)
    return (
        f"Energy and accuracy on the training samples along the flow: {right[0]:.1%} are classified right at the start "
        f"and {right[-1]:.1%} at the end."
    )


def _balance(context: Context, dark: bool) -> Figure:
    found = context.trajectory(ACTION)
    assert found.energy is not None
    fig, (ax, below) = figures.figure(2, 1, width=6.4, height=4.4, dark=dark, sharex=True, height_ratios=(3, 2))
    kinetic, potential = (_spent(found, density) for density in (found.kinetic_density, found.potential_density))
    lost = found.energy[0] - found.energy
    ax.plot(found.times, lost, color=figures.COLORS[0], label="energy lost")
    ax.plot(found.times, kinetic, color=figures.COLORS[2], label="spent as kinetic")
    ax.plot(found.times, potential, ":", color=figures.COLORS[3], lw=2.5, label="spent as potential")
    ax.set_ylabel("energy")
    ax.legend(fontsize=8)
    below.plot(found.times, lost - kinetic - potential, color=figures.COLORS[1])
    below.axhline(0.0, color=figures.GREY, lw=0.8, zorder=1)
    below.set(xlabel="time", ylabel="lost - spent")
    return fig


def _spent(found: Trajectory, density: np.ndarray | None) -> np.ndarray:
    """Integrate a density from the start to each node."""
    assert density is not None
    weighted = (found.discretisation.weights * density).reshape(len(found.times) - 1, -1)
    return np.concatenate([[0.0], np.cumsum(weighted.sum(axis=1))])


def _balance_caption(context: Context) -> str:
    found = context.trajectory(ACTION)
    assert found.kinetic is not None
    assert found.potential is not None
    assert found.energy_change is not None
    return (
        f"Energy balance: the energy lost, {-found.energy_change:.6g}, is spent in equal parts as kinetic, "
        f"{found.kinetic:.6g}, and potential, {found.potential:.6g}. Below, the difference, of the size of the time "
        f"steps' error (defect {found.balance_defect:.1e})."
    )


def _horizons(context: Context, dark: bool) -> Figure:
    arrays = load_arrays(context.folder / HORIZONS)
    fig, ax = figures.figure(width=6.4, height=2.6, dark=dark)
    ax.plot(arrays["times"], arrays["actions"], "o-", color=figures.COLORS[1])
    ax.set(xlabel="horizon T", ylabel="least action", xlim=(0.0, None))
    return fig


def _hamiltonian(context: Context, dark: bool) -> Figure:
    fig, ax = figures.figure(width=6.4, height=2.8, dark=dark)
    draw_hamiltonian(ax, context.trajectory(PATH))
    ax.set_xlabel("time")
    return fig


def _hamiltonian_caption(context: Context) -> str:
    path = context.trajectory(PATH)
    spread, peak = float(np.ptp(path.hamiltonian)), float(abs(path.step_actions / np.diff(path.times)).max())
    if spread <= CONSTANT * peak:
        verdict = "constant, to the order of the scheme, as along every extremal"
    else:
        verdict = (
            "it is constant along every extremal, and where it is not, time steps are too long: take more --steps or "
            "--scheme gauss2"
        )
    return f"The Hamiltonian along the path is {path.hamiltonian.mean():.4g} within {spread:.1e}: {verdict}."


def _landscape(file: str) -> Callable[[Context, bool], Figure]:
    return lambda context, dark: draw_over_profile(context, context.trajectory(file), dark)


def _landscape_caption(context: Context) -> str:
    if context.what.size <= 2:
        return (
            "The trajectory on the landscape it crosses, from the circle to the square; open dots are equal times. "
            "Below, the energy along its way."
        )
    return (
        f"The trajectory on a slice of the energy through {context.what.size} weights: the plane in which it moves "
        "most (PCA), to scale, with the share of its motion that each axis holds; from the circle to the square, open "
        "dots are equal times. Below, the energy along its way, which is that of the weights themselves."
    )


def _rates(context: Context, dark: bool) -> Figure:
    arrays = load_arrays(context.folder / RATES)
    fig, ax = figures.figure(width=6.4, height=2.8, dark=dark)
    if "modules" in arrays:
        low, high = arrays["modules"].min(axis=1), arrays["modules"].max(axis=1)
        ax.fill_between(arrays["times"], low, high, color=figures.GREY, alpha=0.3, lw=0, label="modules, each alone")
        ax.plot(arrays["times"], arrays["composed"], "--", color=figures.COLORS[1], label="composed from them")
    ax.plot(arrays["times"], arrays["rates"], "o-", color=figures.COLORS[0], markersize=3, label="whole")
    if "modules" in arrays:
        ax.legend(fontsize=8)
    shade_parting(ax)
    ax.set(xlabel="time", ylabel="contraction rate (1 / time)")
    return fig


def _rates_caption(context: Context) -> str:
    rates = load_arrays(context.folder / RATES)["rates"]
    share = float((rates > 0).mean())
    return (
        f"Contraction rate at nodes of the trajectory: above zero, at {share:.0%} of them, neighbouring trajectories "
        "approach each other; below, they may part."
    )


PICTURES = (
    Drawing(
        "adjoints",
        "check",
        ADJOINTS,
        _adjoints,
        lambda context: (
            "Multipliers of the layer equations against adjoints, a point a sample and feature: they lie on the "
            "diagonal, and below, on a log axis, off it by rounding alone."
        ),
        lambda context: sum(array.size for array in load_arrays(context.folder / ADJOINTS).values()) > 2 * FEW,
    ),
    Drawing(
        "costates",
        "check",
        ADJOINTS,
        _costates,
        lambda context: (
            "Adjoints with their sign over the depth, from backpropagation: lines, or the median and the middle 50 % "
            "and 90 % of samples. Dots are the solver's multipliers."
        ),
        lambda context: len(context.problem.labels) >= DEEP,
    ),
    Drawing(
        "training",
        "train",
        TRAINED,
        draw_training,
        lambda context: "Training: the largest entry of the gradient, and what the energy still had to fall.",
        has_history,
    ),
    Drawing(
        "fit",
        "train",
        TRAINED,
        draw_fit,
        lambda context: "The data, and what the network makes of them before and after training.",
        lambda context: fits_a_curve(context.problem),
    ),
    Drawing(
        "system",
        "train",
        TRAINED,
        draw_system,
        lambda context: "The system as its file draws it: at the start, and trained.",
        lambda context: context.draw is not None,
    ),
    Drawing(
        "learning",
        "action",
        ACTION,
        _learning,
        _learning_caption,
        lambda context: accuracy(context.problem, context.start) is not None,
    ),
    Drawing(
        "trajectory",
        "action",
        ACTION,
        _trajectory,
        lambda context: (
            "Weights, energy, estimated distance to the true flow, and the action of a curve through the nodes, along "
            "the certified flow."
        ),
    ),
    Drawing("balance", "action", ACTION, _balance, _balance_caption),
    Drawing("landscape", "action", ACTION, _landscape(ACTION), _landscape_caption),
    Drawing(
        "path",
        "path",
        PATH,
        _path,
        lambda context: (
            "Weights, energy, action density and Hamiltonian along the path that was found: it pays action where it "
            "climbs, and none where it follows the flow."
        ),
    ),
    Drawing("path-landscape", "path", PATH, _landscape(PATH), _landscape_caption),
    Drawing(
        "action-horizon",
        "path",
        HORIZONS,
        _horizons,
        lambda context: "The least action on the way to the horizon asked for: it falls as there is more time.",
    ),
    Drawing("hamiltonian", "path", PATH, _hamiltonian, _hamiltonian_caption),
    Drawing(
        "transition",
        "transition",
        TRANSITION,
        draw_transition,
        lambda context: (
            "The transition path, from the circle to the square: uphill against the flow, downhill with it."
        ),
    ),
    Drawing(
        "transition-profile",
        "transition",
        TRANSITION,
        draw_transition_profile,
        lambda context: (
            "What the path has cost so far over its length: it pays on the way up to a saddle (dashed) and nothing on "
            "the way down to an attractor (solid)."
        ),
    ),
    Drawing("contraction", "contraction", RATES, _rates, _rates_caption),
    Drawing("proof", "proof", PROOF, draw_proof, proof_caption),
)
