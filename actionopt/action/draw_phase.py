"""The phase portrait of a drift in the plane, with paths upon it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actionopt.action.draw_landscape import plot_landscape
from actionopt.action.lagrangian import Drift
from actionopt.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_phase(
    drift: Drift,
    paths: Any = (),
    *,
    window: tuple[Any, Any] | None = None,
    points: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    resolution: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw the streamlines of a drift in the plane, with paths and named points.

    Parameters
    ----------
    drift : Drift
        Of two coordinates.
    paths : Trajectory, GeometricPath, array (K, 2), or a sequence of them
    window : (low (2,), high (2,)), optional
        The corners of what is shown; where None what holds the paths and the points.
    points, kinds, labels, names, ax
        As for `plot_landscape`.
    resolution : int
        Points of the field along each axis.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        If the drift is not one of two coordinates, or the window is empty.

    Examples
    --------
    >>> turning = ao.Drift(2, lambda ops, w: ops.concatenate([-ops.columns(w)[1], ops.columns(w)[0]]))
    >>> ax = ao.plot_phase(turning, window=([-1, -1], [1, 1]), labels=["x", "y"])
    >>> ax.get_ylabel()
    'y'
    """
    if not isinstance(drift, Drift) or drift.size != 2:
        raise InputError(f"a phase portrait needs a Drift of two coordinates, got {drift!r}")
    return plot_landscape(
        _without_energy(drift), path=paths, window=window, points=points, kinds=kinds, labels=labels, names=names,
        resolution=resolution, ax=ax,
    )  # fmt: skip


def _without_energy(drift: Drift) -> Drift:
    """Return the drift alone: its field is shown, and not the contours of a potential it may have."""
    import copy

    bare = copy.copy(drift)
    bare.potential = None
    return bare
