"""The sizes of the terms of a chain's first-order conditions: those of `scale.py`, all stages in a few calls."""

from __future__ import annotations

import numpy as np

from actionopt.constrained.scale import NEAR, Terms
from actionopt.constrained.stage_point import ChainPoint, Costs
from actionopt.ops import NUMPY


def stage_slopes(point: ChainPoint) -> list[np.ndarray]:
    """Return the sizes of the costs' slopes, `(P,)` a group of costs; see `scale.cost_slopes`."""
    return [_sizes(costs, costs.spots.look(point.w, point.x)) for costs in point.chain.costs]


def stage_terms(point: ChainPoint, slopes: list[np.ndarray]) -> Terms:
    """Return `t_i = sum_b |(B_b^T s_b)_i| + rho |w_i|` at a point whose states are those of its weights."""
    chain, signs = point.chain, np.random.default_rng(0)
    to_x, direct = np.zeros(len(point.x)), np.zeros(len(point.w))
    for costs, sizes in zip(chain.costs, slopes, strict=True):
        count, samples, k = costs.spots.look(point.w, point.x).shape
        own = sizes[:, None, None] / chain.samples * signs.choice([-1.0, 1.0], (count, samples, k))
        nothing = np.zeros(len(point.w))
        costs.spots.pull(own, nothing, to_x)
        if costs.spots.at_w is not None:
            np.add.at(direct, costs.spots.at_w, abs(own[..., : costs.spots.cut]).sum(axis=1))
    lam = point.backward(to_x[chain.data_size :])
    for kind, expansion in zip(chain.kinds, point.expansions, strict=True):
        terms = np.einsum("pbe,pben->pbn", lam[kind.at_out], expansion.jacobians[1])
        direct[kind.at_w] += abs(terms).sum(axis=1)
    found = np.nan_to_num(direct, nan=0.0, posinf=0.0) + chain.problem.weight_decay * abs(point.w)
    return Terms(found, max(float(sizes.max()) for sizes in slopes) / chain.samples)


def _sizes(costs: Costs, y: np.ndarray) -> np.ndarray:
    """Return the size of a loss's slope at each of its spots, in the units of E."""
    loss, weight = costs.loss, abs(costs.weight)
    if costs.targets.shape[-1]:
        at_zero = loss.gradient(NUMPY, np.zeros_like(y), costs.targets)
        sizes = _largest(at_zero + np.zeros_like(y))
        if sizes.all():
            return weight * sizes
    here = _largest(loss.gradient(NUMPY, y, costs.targets) + np.zeros_like(y))
    along = np.where(_largest(y) > 0.0, _largest(y), 1.0)[:, None, None] + np.zeros_like(y)
    bent = _largest(loss.curvature(NUMPY, y, costs.targets, along) + np.zeros_like(y))
    return weight * np.where(here < NEAR * bent, bent, here)


def _largest(values: np.ndarray) -> np.ndarray:
    """Return the largest finite magnitude at each spot, `(P,)`."""
    return np.where(np.isfinite(values), abs(values), 0.0).max(axis=(1, 2), initial=0.0)
