"""`bound_lipschitz`: Lipschitz constants over a region and a set or box of data, from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import box_of, derivatives, unit_scale
from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue
from actionopt.contraction.proof.metrics import metric_matrix
from actionopt.contraction.proof.outputs import outputs
from actionopt.contraction.proof.samples import greatest_separation, slopes_over
from actionopt.errors import InputError
from actionopt.ops.rounded import UNIT, Interval, point
from actionopt.problem import Problem, takes_problem
from actionopt.tables import html_table


@dataclass(frozen=True)
class LipschitzBounds:
    """Upper bounds over a ball of weights, proved; infinite where nothing is known.

    Attributes
    ----------
    kappa : float
        Norm of the gradient in the weights of one sample's loss, without weight decay, over all samples.
    spread : float
        Norm of the difference of two samples' gradients, both at the same weights, in the norm dual to the mass:
        `|g_z - g_z'|_{D^-1}`, at most `2 kappa / sqrt(mass)`.
    smoothness : float
        Largest absolute eigenvalue of the Hessian of the energy: a Lipschitz constant of its gradient. None for data
        that are not the problem's.
    xi : float
        Condition number of the layerwise metric (of the mass where the output metric is None).
    radius : float
        Of the ball, in the norm of the mass.

    Examples
    --------
    >>> bounds = ao.bound_lipschitz(problem, w, 0.01)
    >>> bool(bounds.kappa >= ao.estimate_lipschitz(problem, w[None]).kappa)
    True
    """

    kappa: float
    spread: float
    smoothness: float
    xi: float
    radius: float

    def __repr__(self) -> str:
        return (
            f"LipschitzBounds(kappa {self.kappa:.6g}, spread {self.spread:.6g}, smoothness {self.smoothness:.6g}, "
            f"xi {self.xi:.6g} within {self.radius:.6g})"
        )

    def _repr_html_(self) -> str:
        rows = [("kappa", self.kappa), ("spread", self.spread), ("smoothness", self.smoothness), ("xi", self.xi)]
        return html_table(("constant", "at most"), rows, f"over the ball of radius {self.radius:.6g}")


@takes_problem
def bound_lipschitz(problem: Problem, centre: Any, radius: float, data: Any = None) -> LipschitzBounds:
    """Bound Lipschitz constants over the ball `|w - centre|_D <= radius` from above **[ours]**.

    Parameters
    ----------
    problem : Problem
    centre : array (n,)
    radius : float
        0 for the centre alone.
    data : (inputs, targets), optional
        Samples that kappa and spread are taken over in place of the problem's: arrays as `Problem` takes them, or for a
        box of data a pair `(low, high)` of arrays in place of either.

    Returns
    -------
    LipschitzBounds

    Raises
    ------
    InputError
        If an argument cannot be used, or the energy has a kink in the ball.

    Examples
    --------
    >>> import actionopt as ao
    >>> line = ao.Problem(ao.Dense(1, 1, bias=False), [[1.0], [2.0]], [1.0, 2.0], ao.SquaredError())
    >>> bounds = ao.bound_lipschitz(line, [1.0], 0.5)
    >>> round(bounds.kappa, 9), round(bounds.smoothness, 9)  # 2 |2 w - 2| and (1 + 4) / 2
    (2.0, 2.5)
    """
    centre = problem.check_weights(centre, "centre")
    if centre.ndim != 1:
        raise InputError(f"centre must have shape ({problem.size},), one point; got {centre.shape}")
    if not (np.isfinite(radius) and radius >= 0.0):
        raise InputError(f"radius must be a finite number >= 0, got {radius}")
    samples = None if data is None else read_data(problem, data)
    with np.errstate(all="ignore"):
        slopes = slopes_over(problem, centre, float(radius), samples)
        back = 1.0 / unit_scale(problem) * (1.0 + 4.0 * UNIT)
        spread = greatest_separation(slopes, slopes)
        if slopes.hessian is None and not slopes.centre.is_point:  # two gradients in one box of numbers
            spread = min(spread, 2.0 * float(slopes.lengths().max()))
        box = box_of(problem, centre, float(radius))
        return LipschitzBounds(
            float(slopes.lengths(back).max()),
            spread,
            _smoothness(problem, box),
            _condition(problem, box),
            float(radius),
        )


def read_data(problem: Problem, data: Any) -> tuple[Any, Any]:
    """Return samples `(inputs, targets)`, or boxes of them, as intervals.

    Raises
    ------
    InputError
        If they do not fit the problem, which must have one input and one cost.
    """
    if not (isinstance(data, tuple) and len(data) == 2):
        raise InputError("data must be (inputs, targets)")
    network = problem.network
    if len(network.data) > 1 or len(network.costs) > 1:
        raise InputError("data can be given for a problem of one input and one cost")
    term = network.costs[0]
    size = network.nodes[term.node].size
    ends = [_ends(part) for part in data]
    sizes = {len(np.atleast_1d(x)) for pair in ends for x in pair if x is not None and np.ndim(x) > 0}
    found = []
    for k, (low, high) in enumerate(ends):
        pair = []
        for values in (low, high):
            if k == 0:
                array = np.zeros((max(sizes, default=1), 0)) if values is None else _columns("inputs", values)
            else:
                array = term.loss.prepare(
                    values, max(sizes, default=1) if values is None else len(np.atleast_1d(values)), size
                )
            pair.append(array)
        found.append(point(pair[0]) if high is low else Interval(np.minimum(*pair), np.maximum(*pair)))
    inputs, targets = found
    if network.data and inputs.shape[1] != network.nodes[0].size:
        raise InputError(f"inputs of data must have {network.nodes[0].size} columns, got {inputs.shape[1]}")
    if inputs.shape[0] != targets.shape[0]:
        raise InputError(f"data must have as many inputs as targets, got {inputs.shape[0]} and {targets.shape[0]}")
    return inputs, targets


def _ends(part: Any) -> tuple[Any, Any]:
    return part if isinstance(part, tuple) else (part, part)


def _columns(what: str, values: Any) -> np.ndarray:
    from actionopt.losses import as_samples

    return as_samples(what, values)


def _smoothness(problem: Problem, box: Interval) -> float:
    """Largest absolute eigenvalue of the Hessian in w over a box."""
    hessian = derivatives(problem, box, 2)[2]
    back = point(np.sqrt(problem.mass)) * (Interval(1.0 - 4.0 * UNIT, 1.0 + 4.0 * UNIT))
    in_w = hessian * back * back[:, None]
    return float(max(greatest_eigenvalue(in_w), greatest_eigenvalue(-in_w)))


def _condition(problem: Problem, box: Interval) -> float:
    """Condition number of the layerwise metric in w over a box."""
    if problem.output_metric is None:
        return float(problem.mass.max() / problem.mass.min() * (1.0 + 4.0 * UNIT))
    if callable(problem.output_metric):
        return float("inf")
    matrix = metric_matrix(problem, outputs(problem, box, 1), "layerwise")
    back = point(np.sqrt(problem.mass)) * (Interval(1.0 - 4.0 * UNIT, 1.0 + 4.0 * UNIT))
    in_w = matrix * back * back[:, None]
    low, high = float(least_eigenvalue(in_w)), float(greatest_eigenvalue(in_w))
    low = max(low, float(problem.mass.min()) * (1.0 - 4.0 * UNIT))  # G is at least the mass
    return float(np.nextafter(high / low, np.inf))
