"""Moving pictures: a trajectory over its landscape, or its coordinates over time, frame after frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.action.draw_landscape import plot_landscape
from actionopt.action.draw_trajectory import draw_weights
from actionopt.action.trajectory_data import TrajectoryData
from actionopt.errors import InputError
from actionopt.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIL = 0.35  # opacity of the way that is still to come


def write_animation(
    trajectory: TrajectoryData,
    path: str | Path,
    what: Any = None,
    *,
    seconds: float = 4.0,
    rate: int = 15,
    dpi: int = 100,
    dark: bool = False,
    **options: Any,
) -> Path:
    """Write `trajectory` as a moving picture; the time of the picture is the trajectory's, evenly.

    Parameters
    ----------
    trajectory : Trajectory
    path : str or Path
        Ends in `.gif`, or in `.mp4` where ffmpeg is installed.
    what : Problem or Lagrangian, optional
        Whose landscape is drawn beneath; coordinates over time where None.
    seconds : float
        Length of the picture.
    rate : int
        Frames a second.
    dpi : int
    dark : bool
    **options
        As for `plot_landscape`.

    Raises
    ------
    InputError
        If the ending is another one, ffmpeg is not installed, or there is nothing that moves.
    """
    path = Path(path)
    frames = round(seconds * rate)
    if len(trajectory.times) < 2 or frames < 2:
        raise InputError("an animation needs a trajectory of two nodes and two frames at least")
    writer = _writer(path, rate)
    fig, ax = figures.figure(width=6.0, height=4.5, dark=dark)
    places = _over_landscape(ax, trajectory, what, options) if what is not None else _over_time(ax, trajectory, options)
    at = np.linspace(trajectory.times[0], trajectory.times[-1], frames)
    moving = np.stack([np.interp(at, trajectory.times, column) for column in places.T], axis=-1)
    ax.set_title(" ", loc="right")  # room for the clock
    stage, top = _frozen(fig, ax, dpi)
    color = figures.COLORS[1]
    (line,) = top.plot([], [], color=color, lw=2.5, zorder=6)
    (head,) = top.plot([], [], "o", color=color, markeredgecolor="white", ms=9, zorder=7)
    right, upper = top.get_position().max
    clock = stage.text(right, upper + 0.01, "", ha="right", va="bottom", fontsize=9, color=ax.xaxis.label.get_color())
    with replacing(path) as temporary, writer.saving(stage, str(temporary), dpi):
        for k, time in enumerate(at):
            line.set_data(*(moving[: k + 1].T if what is not None else moving[k : k + 1].T))
            head.set_data(*moving[k : k + 1].T)
            clock.set_text(f"t = {time:.3g}")
            writer.grab_frame()
    return path


def _over_landscape(ax: Axes, trajectory: TrajectoryData, what: Any, options: dict[str, Any]) -> np.ndarray:
    """Draw the landscape with the whole way, faint; return where the nodes are in it."""
    plot_landscape(what, path=trajectory, ax=ax, **options)
    for line in ax.lines[:4]:  # the way with its times and its ends, not the named points
        line.set_alpha(TRAIL)
    if what.size > 1:
        way = np.stack([np.asarray(data, dtype=float) for data in ax.lines[0].get_data()], axis=-1)
        return way[trajectory.discretisation.nodes]
    heights = trajectory.times if not what.has_energy else what.energy(trajectory.weights)
    return np.stack([trajectory.weights[:, 0], heights], axis=-1)[:, :: 1 if what.has_energy else -1]


def _over_time(ax: Axes, trajectory: TrajectoryData, options: dict[str, Any]) -> np.ndarray:
    """Draw the coordinates over time, faint; return the first of them that moves most."""
    draw_weights(trajectory, ax, **options)
    for line in ax.lines:
        line.set_alpha(TRAIL)
    most = int(np.ptp(trajectory.weights, axis=0).argmax())
    return np.stack([trajectory.times, trajectory.weights[:, most]], axis=-1)


def _writer(path: Path, rate: int) -> Any:
    """Return the writer of a file's ending."""
    with figures.house():
        from matplotlib import animation

        if path.suffix.lower() == ".gif":
            return animation.PillowWriter(fps=rate)
        if path.suffix.lower() != ".mp4":
            raise InputError(f"{path}: an animation's path must end in .gif or .mp4")
        if not animation.FFMpegWriter.isAvailable():
            raise InputError(f"{path}: .mp4 needs ffmpeg, which is not installed; .gif needs nothing")
        return animation.FFMpegWriter(fps=rate)


def _frozen(fig: Figure, ax: Axes, dpi: int) -> tuple[Figure, Axes]:
    """Return a figure that shows the drawn one as an image, and empty axes over its axes: frames cost little."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(fig)
    canvas.draw()
    width, height = fig.get_size_inches()
    stage = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(stage)
    ground = stage.add_axes((0.0, 0.0, 1.0, 1.0))
    ground.imshow(np.asarray(canvas.buffer_rgba()), aspect="auto", interpolation="none")
    ground.axis("off")
    top = stage.add_axes(ax.get_position().bounds, frameon=False)
    top.set(xlim=ax.get_xlim(), ylim=ax.get_ylim(), xscale=ax.get_xscale(), yscale=ax.get_yscale())
    top.axis("off")
    return stage, top
