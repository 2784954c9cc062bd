"""How far a computed flow is from the true one: the action of a curve in continuous time, and a distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from actionopt.action.certificate.distance import Errors, carried_distance
from actionopt.action.certificate.hermite import HermiteCurve
from actionopt.action.certificate.linearised import DenseErrors, KrylovErrors, LinearisedFlow, node_blocks
from actionopt.action.density.gradient_flow import GradientFlowDensity, GradientFlowExpansion
from actionopt.action.density.local_model import LocalModel

GAUSS = 4  # quadrature points of a step
DENSE_SIZE = 32  # weights up to which Jacobians are formed at every node
KNOTS = 12  # steps, at most, over which the error of more weights is carried
RESOLVED = 0.05  # distance, in lengths of the curve, above which a flow is underresolved
STILL = 1e-9  # length of a curve that does not move, in lengths of its weights
ROUNDING = 16.0 * np.finfo(float).eps  # of a step, in lengths of the weights


@dataclass(frozen=True)
class FlowCertificate:
    """What certifies a computed flow.

    Attributes
    ----------
    step_actions : array (N,)
        `int 1/2 |w' + G^{-1} g|^2_G dt` over each step, of the quintic Hermite curve through the nodes, by four Gauss
        points a step: never negative, zero along the flow only; O(h^10) for exact nodes.
    distance : array (N+1,)
        Estimated distance to the true flow in the metric, at each node.
    length : float
        Length of the way from node to node in the metric, or of the rounding of the weights where that is more.
    """

    step_actions: np.ndarray
    distance: np.ndarray
    length: float

    @property
    def resolved(self) -> bool:
        """Whether the distance stays within `RESOLVED` of the length of the curve."""
        return bool(self.distance.max() <= RESOLVED * self.length)


def certify_flow(
    density: GradientFlowDensity,
    times: np.ndarray,
    weights: np.ndarray,
    nodes: np.ndarray | None = None,
    errors: Mapping[int, np.ndarray] | None = None,
) -> FlowCertificate:
    """Certify a computed gradient flow, whatever method computed it.

    Parameters
    ----------
    density : GradientFlowDensity
        Of the problem in its metric.
    times : array (M+1,)
    weights : array (M+1, n)
        The curve goes through all of these.
    nodes : array (N+1,) of int, optional
        Which of them to report on, the first and the last included; all by default.
    errors : mapping of int to array (n,), optional
        Errors of steps that are known otherwise: they take the place of the curve's defect in the distance. So it is
        where a step crosses a kink, at which the velocity jumps and no smooth curve is near the flow.

    Returns
    -------
    FlowCertificate
        With infinite distances from where the flow's equations are not finite.
    """
    nodes = np.arange(len(times)) if nodes is None else nodes
    with np.errstate(all="ignore"):
        curve, lengths, length, matrices = _linearise(density.model, times, weights)
        if not (np.isfinite(curve.velocities).all() and np.isfinite(curve.accelerations).all()):
            unknown = np.full(len(nodes), np.inf)
            return FlowCertificate(unknown[1:], np.append(0.0, unknown[1:]), 0.0)
        actions, defects, pushes = _defects(density, curve)
        for step, error in (errors or {}).items():
            flow = LinearisedFlow(density.model, weights[step + 1 : step + 2])
            defects[step], pushes[step] = flow.lengths(error[None])[0], error
        moving: Errors
        if matrices is not None:
            knots = np.arange(len(times))
            moving = DenseErrors(*matrices, np.diff(times))
        else:
            knots = np.unique(np.linspace(0, len(times) - 1, KNOTS + 1).round().astype(int))
            moving = KrylovErrors(
                [LinearisedFlow(density.model, weights[k : k + 1]) for k in knots], np.diff(times[knots])
            )
        distance = carried_distance(moving, times, knots, defects + ROUNDING * lengths[1:], pushes)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    step_actions = np.add.reduceat(np.where(np.isfinite(actions), actions, np.inf), nodes[:-1])
    return FlowCertificate(step_actions, distance[nodes], max(length, STILL * float(lengths.max())))


def _linearise(
    model: LocalModel, times: np.ndarray, weights: np.ndarray
) -> tuple[HermiteCurve, np.ndarray, float, tuple[np.ndarray, np.ndarray] | None]:
    """Return the curve, the lengths `|w|_G (M+1,)`, that of the way and, for few weights, metric and Jacobian."""
    small = weights.shape[1] <= DENSE_SIZE
    velocities, accelerations, lengths, matrices = [], [], [], []
    way, chords = 0.0, np.diff(weights, axis=0, append=weights[-1:])
    for cut in node_blocks(model, len(times), weights.shape[1] if small else 1):
        flow = LinearisedFlow(model, weights[cut])
        velocities.append(flow.velocities)
        accelerations.append(flow.accelerations)
        lengths.append(flow.lengths(flow.w))
        way += float(flow.lengths(chords[cut]).sum())
        if small:
            matrices.append(flow.matrices())
    curve = HermiteCurve(times, weights, np.concatenate(velocities), np.concatenate(accelerations))
    joined = tuple(np.concatenate(parts) for parts in zip(*matrices, strict=True))
    return curve, np.concatenate(lengths), way, (joined[0], joined[1]) if small else None


def _defects(density: GradientFlowDensity, curve: HermiteCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate over each step: the action `(M,)`, `|d|_G (M,)` and d `(M, n)`."""
    local, shares = np.polynomial.legendre.leggauss(GAUSS)
    position, velocity = curve.at(0.5 * (local + 1.0))
    steps, _, n = position.shape
    values, gaps = [], []
    w, v = position.reshape(-1, n), velocity.reshape(-1, n)
    for first in range(0, len(w), density.block):
        expansion = density.expand(w[first : first + density.block], v[first : first + density.block])
        assert isinstance(expansion, GradientFlowExpansion)
        values.append(np.maximum(expansion.value, 0.0))
        gaps.append(expansion.gap)
    shares = 0.5 * shares * np.diff(curve.times)[:, None]
    value = np.concatenate(values).reshape(steps, GAUSS)
    gap = np.concatenate(gaps).reshape(steps, GAUSS, n)
    return (
        (shares * value).sum(axis=1),
        (shares * np.sqrt(2.0 * value)).sum(axis=1),
        (shares[..., None] * gap).sum(axis=1),
    )
