"""How far a computed flow is from the true one: the action of a curve in continuous time, and a distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return certify_flows(density, times, weights[None], nodes, [errors or {}])[0]


def certify_flows(
    density: GradientFlowDensity,
    times: np.ndarray,
    weights: np.ndarray,
    nodes: np.ndarray | None = None,
    errors: Sequence[Mapping[int, np.ndarray]] = (),
) -> list[FlowCertificate]:
    """Certify several flows on the same grid all at once: `weights (S, M+1, n)`, and errors of steps for each."""
    nodes = np.arange(len(times)) if nodes is None else nodes
    with np.errstate(all="ignore"):
        curve, lengths, way, matrices = _linearise(density.model, times, weights)
        derivatives = np.concatenate([curve.velocities, curve.accelerations], axis=-1)
        finite = np.isfinite(derivatives).all(axis=(-1, -2))
        actions, defects, pushes = _defects(density, curve)
        for s, found in enumerate(errors):
            for step, error in found.items():
                flow = LinearisedFlow(density.model, weights[s, step + 1 : step + 2])
                defects[s, step], pushes[s, step] = flow.lengths(error[None])[0], error
        moving: Errors
        if matrices is not None:
            knots = np.arange(len(times))
            moving = DenseErrors(*matrices, np.diff(times))
        else:
            knots = np.unique(np.linspace(0, len(times) - 1, KNOTS + 1).round().astype(int))
            moving = KrylovErrors([LinearisedFlow(density.model, weights[:, k]) for k in knots], np.diff(times[knots]))
        distance = carried_distance(moving, times, knots, defects + ROUNDING * lengths[:, 1:], pushes)
    distance = np.where(np.isfinite(distance), distance, np.inf)[:, nodes]
    actions = np.add.reduceat(np.where(np.isfinite(actions), actions, np.inf), nodes[:-1], axis=-1)
    long = np.maximum(way, STILL * lengths.max(axis=-1))
    unknown = FlowCertificate(np.full(len(nodes) - 1, np.inf), np.append(0.0, np.full(len(nodes) - 1, np.inf)), 0.0)
    told = zip(finite, actions, distance, long, strict=True)
    return [FlowCertificate(a, d, float(length)) if known else unknown for known, a, d, length in told]


def _linearise(
    model: LocalModel, times: np.ndarray, weights: np.ndarray
) -> tuple[HermiteCurve, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the curves, the lengths `|w|_G (S, M+1)`, of the ways `(S,)` and, for few weights, metric and Jacobian."""
    flows, _, n = weights.shape
    small = n <= DENSE_SIZE
    chords = np.diff(weights, axis=1, append=weights[:, -1:])
    w, d = weights.reshape(-1, n), chords.reshape(-1, n)
    parts = []
    for cut in node_blocks(model, len(w), n if small else 1):
        flow = LinearisedFlow(model, w[cut])
        found = (flow.velocities, flow.accelerations, flow.lengths(flow.w), flow.lengths(d[cut]))
        parts.append((*found, *flow.matrices()) if small else found)
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    velocities, accelerations, lengths, steps, *matrices = (x.reshape(flows, -1, *x.shape[1:]) for x in joined)
    curve = HermiteCurve(times, weights, velocities, accelerations)
    return curve, lengths, steps.sum(axis=-1), (matrices[0], matrices[1]) if small else None


def _defects(density: GradientFlowDensity, curve: HermiteCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate over each step: the action `(S, M)`, `|d|_G (S, M)` and d `(S, M, n)`."""
    local, shares = np.polynomial.legendre.leggauss(GAUSS)
    position, velocity = curve.at(0.5 * (local + 1.0))
    flows, steps, _, n = position.shape
    values, gaps = [], []
    w, v = position.reshape(-1, n), velocity.reshape(-1, n)
    for first in range(0, len(w), density.block):
        expansion = density.expand(w[first : first + density.block], v[first : first + density.block])
        assert isinstance(expansion, GradientFlowExpansion)
        values.append(np.maximum(expansion.value, 0.0))
        gaps.append(expansion.gap)
    shares = 0.5 * shares * np.diff(curve.times)[:, None]
    value = np.concatenate(values).reshape(flows, steps, GAUSS)
    gap = np.concatenate(gaps).reshape(flows, steps, GAUSS, n)
    return (
        (shares * value).sum(axis=-1),
        (shares * np.sqrt(2.0 * value)).sum(axis=-1),
        (shares[..., None] * gap).sum(axis=-2),
    )
