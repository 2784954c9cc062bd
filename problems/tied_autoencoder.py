"""A linear autoencoder whose decoder is the transpose of its encoder: principal components by gradient.

`code = W x`, `reconstruction = W^T code`: one matrix, used twice, whose gradient and metric are sums over both uses.

| node | features |
|---|---|
| x | `features`, centred, of the covariance `diag(variances)` exactly |
| code | `width` |
| reconstruction | `features` |

Source
------
P. Baldi and K. Hornik, Neural networks and principal component analysis: learning from examples without local minima,
Neural Networks 2, 53 (1989); E. Oja, J. Math. Biology 15, 267 (1982).

Known answer
------------
The least energy is half the sum of the variances that the code leaves out (`least_energy`), reached where the rows of W
are an orthonormal basis of the principal subspace (`solution`, up to a rotation of the code). There is no other local
minimum: a code along other principal axes is a saddle (`saddle`), with half the sum of the variances that it leaves
out. With weight decay rho the axes shrink, `|W_i|^2 = 1 - rho / (2 variance_i)`, where that is positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import actionopt as ao


def build(
    variances: Sequence[float] = (3.0, 2.0, 1.0, 0.5, 0.25),
    width: int = 2,
    samples: int = 40,
    mass: float = 0.1,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> ao.Problem:
    """Return the problem, with `width * len(variances)` weights."""
    features = len(variances)
    if not 1 <= width <= features <= samples:
        raise ao.InputError(
            f"width must lie between 1 and the number of variances, {features}, and that be at most the number of "
            f"samples, {samples}; got {width}"
        )
    draws = np.random.default_rng(seed).standard_normal((samples, features))
    basis = np.linalg.qr(draws - draws.mean(axis=0))[0]
    x = ao.Input(np.sqrt(samples) * basis * np.sqrt(np.asarray(variances)), name="x")
    encoder = ao.Dense(features, width, bias=False, name="code")
    back = ao.Transposed(encoder, name="reconstruction")(encoder(x))
    cost = ao.Cost(back, ao.SquaredError(), x.values)
    return ao.Problem([cost], mass=mass, weight_decay=weight_decay, name="tied autoencoder")


def solution(problem: ao.Problem) -> np.ndarray:
    """Return the weights whose code holds the principal components, shrunk where there is weight decay."""
    return saddle(problem, range(problem.groups[0].module.out_size))


def saddle(problem: ao.Problem, axes: Sequence[int]) -> np.ndarray:
    """Return the stationary weights whose code holds the principal components of some axes, 0 the largest."""
    variances = (problem.inputs**2).mean(axis=0)
    order = np.argsort(-variances)[list(axes)]
    matrix = np.zeros((problem.groups[0].module.out_size, len(variances)))
    lengths = np.sqrt(np.clip(1.0 - 0.5 * problem.weight_decay / variances[order], 0.0, None))
    matrix[np.arange(len(order)), order] = lengths
    return matrix.ravel()


def least_energy(problem: ao.Problem) -> float:
    """Return the least energy of the problem without weight decay."""
    variances = np.sort((problem.inputs**2).mean(axis=0))
    return 0.5 * float(variances[: len(variances) - problem.groups[0].module.out_size].sum())


def known(**options: Any) -> dict[str, float]:
    """Return the least energy."""
    return {"energy": least_energy(build(**options))}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
