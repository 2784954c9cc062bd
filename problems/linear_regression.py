"""Linear regression with an offset: one linear module, squared error, optional ridge term.

Seeded data: standard normal inputs, targets of a random linear map with noise.

Known answer
------------
The normal equations (`solution`): with the inputs extended by a one, `X`, and targets `Y`,
`(X^T X / B + weight_decay I) W^T = X^T Y / B`. The offset is decayed like every weight.
Under any constant metric G the gradient flow is `w* + expm(-G^{-1} H t)(w0 - w*)`, with H the Hessian (`hessian`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao


def build(
    samples: int = 40,
    features: int = 3,
    outputs: int = 1,
    noise: float = 0.1,
    weight_decay: float = 0.0,
    mass: float = 1.0,
    seed: int = 0,
) -> ao.Problem:
    """Return the problem with `outputs * (features + 1)` weights."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((samples, features))
    targets = inputs @ rng.standard_normal((features, outputs)) + rng.standard_normal(outputs)
    targets += noise * rng.standard_normal(targets.shape)
    module = ao.Dense(features, outputs)
    return ao.Problem(
        module, inputs, targets, ao.SquaredError(), mass=mass, weight_decay=weight_decay, name="linear regression"
    )


def solution(problem: ao.Problem) -> np.ndarray:
    """Return the minimiser `(n,)` by the normal equations."""
    extended = _extended(problem)
    matrix = np.linalg.solve(_covariance(problem), extended.T @ problem.target_array / problem.samples).T
    return np.concatenate([matrix[:, :-1].ravel(), matrix[:, -1]])


def hessian(problem: ao.Problem) -> np.ndarray:
    """Return the Hessian `(n, n)` of the energy, which does not depend on the weights."""
    covariance, outputs = _covariance(problem), problem.modules[-1].out_size
    features = len(covariance) - 1
    # places of [W row by row, b] in the order [W_1, b_1, W_2, b_2, ..], in which the Hessian is block diagonal
    places = np.arange(outputs * (features + 1)).reshape(outputs, features + 1)
    order = np.concatenate([places[:, :-1].ravel(), places[:, -1]])
    return np.kron(np.eye(outputs), covariance)[np.ix_(order, order)]


def _extended(problem: ao.Problem) -> np.ndarray:
    return np.hstack([problem.inputs, np.ones((problem.samples, 1))])


def _covariance(problem: ao.Problem) -> np.ndarray:
    extended = _extended(problem)
    return extended.T @ extended / problem.samples + problem.weight_decay * np.eye(extended.shape[1])


def known(**options: Any) -> dict[str, float]:
    """Return the least energy."""
    problem = build(**options)
    return {"energy": float(problem.energy(solution(problem)))}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
