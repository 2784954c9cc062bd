"""The picture of a trajectory: weights, energy, action density and Hamiltonian, or distance and defect, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.action.trajectory_data import TrajectoryData
from actionopt.errors import check_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LEGEND_LIMIT = 8  # curves up to which a legend names each
SHOWN_LIMIT = 100  # curves that are drawn
BAND_LIMIT = 10  # weights beyond which modules are bands
DEEP = 100.0  # ratio of energies from which their axis is a log one
SMALL = 0.1  # action, relative to the range of the energy, up to which the balance is shown
DECADES = 1e-16  # what lies further below the largest action density is rounding, and not shown


def draw_trajectory(
    trajectory: TrajectoryData,
    *,
    labels: Sequence[str] | None = None,
    groups: Mapping[str, slice] | None = None,
    dark: bool = False,
) -> Figure:
    """Return a figure of four panels over time; momenta take the place of an energy that the system does not have.

    Of a certified flow, whose action density and Hamiltonian are rounding, the lower panels show the estimated distance
    to the true flow and the defect of the curve that certifies it.

    The energy panel of a gradient flow also holds `E(0) - int (kinetic + potential) dt`, which meets the energy where
    the action is zero; for a path that pays action, from which it parts by the action so far, it is left out. The
    highest point of a path that climbs is marked.

    Parameters
    ----------
    trajectory : Trajectory
    labels : sequence of str, optional
        Names of the coordinates; those of its system where None.
    groups : mapping of str to slice, optional
        Where the weights of each module are: of many weights, a band a module is drawn.
    dark : bool
    """
    fig, axes = figures.figure(2, 2, width=7.6, height=5.0, sharex=True, dark=dark)
    (weights, energy), (density, hamiltonian) = axes
    draw_weights(trajectory, weights, labels=labels, groups=groups).set_xlabel("")
    if trajectory.energy is None:
        draw_momenta(energy, trajectory)
    else:
        draw_energy(energy, trajectory)
    if trajectory.distance is None or len(trajectory.times) == 1:
        draw_action_density(density, trajectory)
        draw_hamiltonian(hamiltonian, trajectory)
        _mark_top(axes.ravel()[:3], trajectory)
    else:
        draw_distance(density, trajectory)
        draw_certificate(hamiltonian, trajectory)
    for ax in axes[1]:
        ax.set_xlabel("time")
    fig.suptitle(_said(trajectory), fontsize=10.5)
    return fig


def _said(trajectory: TrajectoryData) -> str:
    """Say what is seen."""
    energy = trajectory.energy
    if trajectory.distance is not None and energy is not None:
        said = f"the energy goes from {energy[0]:.3g} to {energy[-1]:.3g}"
    else:
        said = f"action {trajectory.action:.6g}"
        if energy is not None and energy.max() > max(energy[0], energy[-1]):
            said += f", over a height of {energy.max() - energy[0]:.4g}"
    return said if trajectory.success else f"{said}; {trajectory.status}"


def _mark_top(axes: Sequence[Axes], trajectory: TrajectoryData) -> None:
    """Mark when a path is highest, where that is on its way."""
    energy = trajectory.energy
    if energy is None or not 0 < int(energy.argmax()) < len(energy) - 1:
        return
    for ax in axes:
        ax.axvline(trajectory.times[int(energy.argmax())], color=figures.GREY, lw=0.8, ls="--", zorder=1)
    axes[1].annotate(
        "highest", (trajectory.times[int(energy.argmax())], 0.0), (3, 4), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=8, color=figures.GREY,
    )  # fmt: skip


def draw_weights(
    trajectory: TrajectoryData,
    ax: Axes | None = None,
    *,
    labels: Sequence[str] | None = None,
    groups: Mapping[str, slice] | None = None,
) -> Axes:
    """Draw the weights at the nodes into `ax`, or a new figure.

    Of many a band a module, where the groups are known, else the hundred that move most.
    """
    labels = check_labels(labels if labels is not None else trajectory.stats.get("labels"), trajectory.size)
    ax = figures.axes(ax)
    few, weights = trajectory.size <= LEGEND_LIMIT, trajectory.weights
    if groups is not None and trajectory.size > BAND_LIMIT:
        return _draw_bands(trajectory, ax, groups)
    shown = np.sort(np.argsort(-np.ptp(weights, axis=0), kind="stable")[:SHOWN_LIMIT])
    style: dict[str, Any] = {"lw": 1.5, "alpha": 1.0} if few else {"lw": 0.8, "alpha": 0.7}
    names = labels or [f"$w_{{{index + 1}}}$" for index in range(trajectory.size)]
    for index in shown:
        ax.plot(trajectory.times, weights[:, index], label=names[index] if few else None, **style)
    count = f"{len(shown)} of {trajectory.size}" if len(shown) < trajectory.size else str(trajectory.size)
    one = labels[0] if labels and trajectory.size == 1 else "coordinates" if labels else "weights"
    ax.set(xlabel="time", ylabel=one if few else f"weights ({count})")
    if few and trajectory.size > 1:
        ax.legend()
    return ax


def _draw_bands(trajectory: TrajectoryData, ax: Axes, groups: Mapping[str, slice]) -> Axes:
    """Draw the median of each module's weights, and the band of the middle 80 %; of many modules those that move."""
    moved = {name: float(np.ptp(trajectory.weights[:, part], axis=0).max(initial=0.0)) for name, part in groups.items()}
    most = sorted(moved, key=lambda name: -moved[name])[: len(figures.COLORS) - 1]
    for name, color in zip([name for name in groups if name in most], figures.COLORS, strict=False):
        low, middle, high = np.quantile(trajectory.weights[:, groups[name]], [0.1, 0.5, 0.9], axis=1)
        ax.fill_between(trajectory.times, low, high, color=color, alpha=0.2, lw=0)
        ax.plot(trajectory.times, middle, color=color, lw=1.5, label=name)
    ax.set(xlabel="time", ylabel=f"{trajectory.size} weights: median, middle 80 %")
    ax.legend(fontsize=8)
    return ax


def draw_energy(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw the energy at the nodes, and the balance of a gradient flow."""
    assert trajectory.energy is not None
    energy = trajectory.energy
    ax.plot(trajectory.times, energy, label="$E$")
    if energy.min() > 0.0 and energy.max() > DEEP * energy.min():
        ax.set_yscale("log")
    balanced = abs(trajectory.action) <= SMALL * float(np.ptp(trajectory.energy))  # it parts by the action elsewhere
    if balanced and trajectory.kinetic_density is not None and trajectory.potential_density is not None:
        spent = np.cumsum(_per_step(trajectory, trajectory.kinetic_density + trajectory.potential_density))
        balance = trajectory.energy[0] - np.concatenate([[0.0], spent])
        ax.plot(trajectory.times, balance, "--", label=r"$E(0) - \int (\mathrm{kinetic} + \mathrm{potential})$")
        ax.legend(fontsize=8)
    ax.set_ylabel("energy")


def draw_momenta(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw the momenta at the nodes."""
    few = trajectory.size <= len(figures.COLORS)
    for index, column in enumerate(trajectory.node_momenta.T):
        ax.plot(trajectory.times, column, label=f"$p_{{{index + 1}}}$" if few else None, lw=1.5 if few else 0.8)
    ax.set_ylabel("momenta")
    if few and trajectory.size > 1:
        ax.legend(fontsize=8)


def draw_distance(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw the estimated distance of the nodes to the true flow, on a log axis."""
    assert trajectory.distance is not None
    distance = trajectory.distance
    shown = np.isfinite(distance) & (distance > 0.0)
    ax.plot(trajectory.times[shown], distance[shown], color=figures.COLORS[2], **_line(distance))
    if shown.any():
        ax.set_yscale("log")
    ax.set_ylabel("distance to the true flow")
    ax.set_title("estimated, in the metric", fontsize=8.5, loc="right")


def draw_certificate(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw the defect of the curve through the nodes: root mean squares of `|w' + G^{-1} g|_G` over the intervals."""
    assert trajectory.step_certificates is not None
    defect = np.sqrt(2.0 * trajectory.step_certificates / np.diff(trajectory.discretisation.times))
    middles = 0.5 * (trajectory.times[1:] + trajectory.times[:-1])
    shown = np.isfinite(defect) & (defect > 0.0)
    ax.plot(middles[shown], defect[shown], color=figures.COLORS[3], **_line(defect))
    if shown.any():
        ax.set_yscale("log")
    ax.set_ylabel("defect of the curve")
    ax.set_title(f"certificate: {trajectory.certificate:.2g}", fontsize=8.5, loc="right")


def draw_action_density(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw l at the stages, on a log axis where it is positive over more than two decades."""
    density = trajectory.action_density
    largest = float(density.max())
    ax.plot(trajectory.stage_times, density, color=figures.COLORS[2], **_line(density))
    if density.min() >= 0.0 and largest > 0.0 and density.min() < 1e-2 * largest:
        ax.set_yscale("log")
        shown = density[density > DECADES * largest]
        ax.set_ylim(bottom=0.5 * float(shown.min()))
    ax.set_ylabel("action density $l$")


def draw_hamiltonian(ax: Axes, trajectory: TrajectoryData) -> None:
    """Draw the Hamiltonian of each interval, less its mean, which the title gives."""
    hamiltonian = trajectory.hamiltonian
    mean = float(hamiltonian.mean())
    middles = 0.5 * (trajectory.times[1:] + trajectory.times[:-1])
    ax.plot(middles, hamiltonian - mean, color=figures.COLORS[3], **_line(middles))
    ax.axhline(0.0, color=figures.GREY, lw=0.8, zorder=1)
    ax.set_ylabel("$H$ less its mean")
    ax.set_title(f"mean of $H$: {mean:.4g}", fontsize=8.5, loc="right")


def _per_step(trajectory: TrajectoryData, density: np.ndarray) -> np.ndarray:
    """Integrate a density over each interval."""
    weighted = trajectory.discretisation.weights * density
    return weighted.reshape(len(trajectory.times) - 1, -1).sum(axis=1)


def _line(values: np.ndarray) -> dict[str, Any]:
    """Mark the values where there are few."""
    return {"marker": "o" if len(values) <= 60 else None, "markersize": 2.5, "lw": 1.2}
