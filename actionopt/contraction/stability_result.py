"""What a measurement of stability found, in numbers, words and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Stability:
    """What replacing one sample changed, for each number of samples.

    Attributes
    ----------
    sizes : array (k,)
        Numbers n of training samples.
    distances : array (k, r)
        `|w - w'|`, Euclidean, at the horizon, for each of r replacements.
    loss_changes : array (k, r)
        Largest `|loss_z(w) - loss_z(w')|` over all samples z of the problem, trained on or not.
    kappas : array (k,)
        Largest norm of a sample's gradient met: at every node for the samples replaced, at the horizon for all.
    rates : array (k,) or None
        Smallest contraction rate at nodes of the unperturbed trajectory; None where the metric depends on the data, so
        that the bound does not apply.
    bounds : array (k,) or None
        `stability_bound` on the loss with these kappas and rates, infinite where the flow does not contract.
    horizon : float
    metric : str

    Examples
    --------
    >>> moved = ao.measure_stability(problem, horizon=1.0, steps=5, replacements=2)
    >>> len(moved.sizes)
    1
    """

    sizes: np.ndarray
    distances: np.ndarray
    loss_changes: np.ndarray
    kappas: np.ndarray
    rates: np.ndarray | None
    bounds: np.ndarray | None
    horizon: float
    metric: str

    @property
    def slope(self) -> float:
        """Slope of log(mean distance) against log(n), by least squares; -1 is uniform stability O(1/n)."""
        return fitted_slope(self.sizes, self.distances.mean(axis=1))

    @property
    def loss_slope(self) -> float:
        """The same for the mean change of the loss."""
        return fitted_slope(self.sizes, self.loss_changes.mean(axis=1))

    @property
    def ok(self) -> bool:
        """Whether every change of the loss is below the bound; true where no bound applies."""
        return self.bounds is None or bool((self.loss_changes.max(axis=1) <= self.bounds).all())

    @property
    def status(self) -> str:
        """ "below the bound", "above the bound" or "no bound"."""
        if self.bounds is None or np.isinf(self.bounds).all():
            return "no bound"
        return "below the bound" if self.ok else "above the bound"

    @property
    def message(self) -> str:
        """The slopes, and what they may be compared with."""
        slopes = "" if len(self.sizes) < 2 else f"slopes {self.slope:.3f} (weights), {self.loss_slope:.3f} (loss); "
        if self.bounds is None:
            return f"{slopes}no bound applies: the {self.metric} metric depends on the data"
        if np.isinf(self.bounds).all():
            return f"{slopes}no bound applies: the flow does not contract along its trajectory"
        return f"{slopes}every change is {self.status}"

    def table(self) -> str:
        """Write a line a size: mean and largest changes, and the bound where there is one."""
        return text_table(*self._cells())

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        headers = ["samples", "mean |dw|", "largest |dw|", "mean |dloss|", "largest |dloss|"]
        columns = [self.sizes, self.distances.mean(axis=1), self.distances.max(axis=1)]
        columns += [self.loss_changes.mean(axis=1), self.loss_changes.max(axis=1)]
        if self.bounds is not None and self.rates is not None:
            headers += ["rate", "bound on |dloss|"]
            columns += [self.rates, self.bounds]
        return headers, [list(row) for row in zip(*columns, strict=True)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the changes of the loss against n, both axes logarithmic, into `ax` or a new figure."""
        from actionopt import figures

        ax = figures.axes(ax)
        changes = self.loss_changes.mean(axis=1)
        ax.loglog(np.repeat(self.sizes, self.loss_changes.shape[1]), self.loss_changes.ravel(), ".", color=figures.GREY,
                  alpha=0.5, label="each replacement")  # fmt: skip
        slope = f", slope {self.loss_slope:.2f}" if len(self.sizes) > 1 else ""
        ax.loglog(self.sizes, changes, "o-", label=f"mean of {self.loss_changes.shape[1]}{slope}")
        if self.bounds is not None and np.isfinite(self.bounds).any():
            ax.loglog(self.sizes, self.bounds, "--", label="bound (ours)")
        ax.set_xlabel("training samples n")
        ax.set_ylabel("largest change of a sample's loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"Stability({self.message}; {len(self.sizes)} sizes, {self.distances.shape[1]} replacements)"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), self.message)


def fitted_slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """Return the least-squares slope of log(values) against log(sizes).

    Raises
    ------
    InputError
        If there are fewer than two sizes, or a value is not positive.
    """
    if len(sizes) < 2 or not (values > 0.0).all():
        raise InputError("a slope needs at least two sizes and positive values")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
