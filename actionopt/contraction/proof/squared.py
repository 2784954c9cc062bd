"""Derivatives of the energy of squared errors from those of the outputs.

With e = z - target and J, F, .. the derivatives of the outputs, sums over samples and outputs,

    E = 1/2 e.e,  E_i = e.J_i,  E_ij = J_i.J_j + e.F_ij,  E_ijk = J_i.F_jk (in 3 orders) + e.P_ijk,
    E_ijkl = F_ij.F_kl (in 3 orders) + J_i.P_jkl (in 4) + e.Q_ijkl,

a few matrix products where jets through the loss multiply every entry by every other.
"""

from __future__ import annotations

import numpy as np

from actionopt.losses import SquaredError
from actionopt.network import Network
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import Interval, point


def all_squared(network: Network) -> bool:
    """Whether every cost is half a squared distance."""
    return all(type(term.loss) is SquaredError for term in network.costs)


def squared_energy(errors: list[Interval], weight: float, samples: int) -> list[Interval]:
    """Return the energy of one cost and its derivatives.

    Parameters
    ----------
    errors : list of Interval (..., B, d), (..., B, d, n), ..
        `z - target` and derivatives up to the order of the energy's.
    weight : float
        Of the cost.
    samples : int
        B.
    """
    lead = errors[0].ndim - 2
    front = tuple(range(lead))
    flat = [x.map(lambda a: a.reshape(*a.shape[:lead], a.shape[lead] * a.shape[lead + 1], -1)) for x in errors]
    n = errors[1].shape[-1] if len(errors) > 1 else 0

    def paired(a: int, b: int) -> Interval:
        product = INTERVAL.matmul(INTERVAL.transpose(flat[a]), flat[b])
        return product.map(lambda x: x.reshape(*x.shape[:lead], *[n] * (a + b)))

    def first_in_turn(x: Interval, rank: int) -> Interval:
        found = x
        for place in range(1, rank):
            found = found + x.map(lambda a, place=place: np.moveaxis(a, lead, lead + place))
        return found

    found = [INTERVAL.sum(flat[0][..., 0].square()) * 0.5]
    for order in range(1, len(errors)):
        total = paired(0, order)
        if order == 2:
            total = total + paired(1, 1)
        elif order > 2:
            total = total + first_in_turn(paired(1, order - 1), order)
        if order == 4:
            pairs = paired(2, 2)
            total = total + pairs
            for turned in ((0, 2, 1, 3), (0, 2, 3, 1)):
                total = total + pairs.map(lambda a, t=turned: a.transpose(*front, *[lead + k for k in t]))
        found.append(total)
    return [x * (point(weight) / float(samples)) for x in found]
