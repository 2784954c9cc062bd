"""The explicit step in a metric: `w - step_size * G^{-1} dE/dw`."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from actionopt.backprop import forward_pass
from actionopt.errors import InputError, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.metric.layer_metric import LayerMetric, finite_gradient
from actionopt.problem import Problem


def step(
    problem: Problem,
    w: Any,
    step_size: float,
    *,
    metric: str = "layerwise",
    solve: str = "auto",
    tol: float = 1e-10,
) -> np.ndarray:
    """Take one explicit step of the Riemannian gradient flow, `w - step_size * G(w)^{-1} g(w)`.

    Parameters
    ----------
    problem : Problem
    w : array (n,)
        Weights.
    step_size : float
        eta, the time a step takes along the flow.
    metric : "layerwise", "joint" or "euclidean"
        Block diagonal over modules, all modules at once, or the mass alone.
    solve, tol
        How G is inverted and how exactly; see `LayerMetric`.

    Returns
    -------
    array (n,)
        The new weights.

    Raises
    ------
    InputError
        If an argument is wrong, or a module's output or the gradient is not finite at w.
    SolverError
        If G could not be inverted; the message names the module and the remedy.

    Notes
    -----
    The gradient g holds the weight decay, the metric does not. The step is the exact solution of the linearised
    control problem: minimise the energy, linearised in the states, plus `|dw|^2_G / (2 step_size)` subject to the
    linearised module equations (docs/metric.md). Along a trajectory, `LayerMetric(problem, w, after=metric)` saves
    most of the work.

    Examples
    --------
    >>> w = ao.step(problem, w, 0.1)
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if isinstance(step_size, bool) or not isinstance(step_size, numbers.Real) or not np.isfinite(step_size):
        raise InputError(f"step_size must be a finite number, got {step_size!r}")
    w = problem.check_weights(w)
    if metric == "euclidean":
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            passed = forward_pass(problem, w)
        direction = finite_gradient(problem, passed) / problem.mass
    else:
        inverse = LayerMetric(problem, w, joint=metric == "joint", solve=solve, tol=tol)
        direction = inverse.solve(inverse.gradient)
    stepped: np.ndarray = w - float(step_size) * direction
    return stepped
