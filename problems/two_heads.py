"""Two inputs enter a trunk, on which two heads stand, each with a loss of its own: a value and a probability.

| node | features |
|---|---|
| x, u | 3 and 2, standard normal |
| trunk | `width`, tanh of both inputs joined |
| value | 1, squared error |
| chance | 1, logistic: it sees the trunk and u once more |

Source
------
R. Caruana, Multitask learning, Machine Learning 28, 41 (1997).

Known answer
------------
The targets are the values and the probabilities of a network of the same kind, so the least energy is the weighted mean
entropy of those probabilities (`least_energy`), reached at that network's weights (`solution`), where both heads'
adjoints vanish.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import actionopt as ao


def build(
    width: int = 4, samples: int = 24, weights: tuple[float, float] = (1.0, 0.5), mass: float = 0.1, seed: int = 0
) -> ao.Problem:
    """Return the problem, with `9 width + 4` weights; `weights` are the coefficients of the two losses."""
    rng = np.random.default_rng(seed)
    x, u = rng.standard_normal((samples, 3)), rng.standard_normal((samples, 2))
    teacher = _network(x, u, width, (np.zeros(samples), np.zeros(samples)), weights, mass)
    value, score = teacher.outputs(_teacher_weights(teacher, seed))
    return _network(x, u, width, (value, 0.5 + 0.5 * np.tanh(0.5 * score)), weights, mass)


def solution(problem: ao.Problem, seed: int = 0) -> np.ndarray:
    """Return the weights that made the targets, for the `seed` the problem was built with."""
    return _teacher_weights(problem, seed)


def least_energy(problem: ao.Problem) -> float:
    """Return the least energy: the mean entropy, in nats, of the probabilities that are to be learnt."""
    p = problem.target_array[1]
    return -problem.costs[1].weight * float((p * np.log(p) + (1 - p) * np.log(1 - p)).mean())


def _network(
    x: np.ndarray,
    u: np.ndarray,
    width: int,
    targets: tuple[np.ndarray, np.ndarray],
    weights: tuple[float, float],
    mass: float,
) -> ao.Problem:
    left, right = ao.Input(x, name="x"), ao.Input(u, name="u")
    trunk = ao.Dense(5, width, "tanh", name="trunk")(left, right)
    value = ao.Dense(width, 1, name="value")(trunk)
    chance = ao.Dense(width + 2, 1, name="chance")(trunk, right)
    costs = [
        ao.Cost(value, ao.SquaredError(), targets[0], weight=weights[0]),
        ao.Cost(chance, ao.Logistic(), targets[1], weight=weights[1]),
    ]
    return ao.Problem(costs, mass=mass, name="two heads")


def _teacher_weights(problem: ao.Problem, seed: int) -> np.ndarray:
    return 0.7 * np.random.default_rng([seed, 1]).standard_normal(problem.size)


def known(**options: Any) -> dict[str, float]:
    """Return the least energy."""
    return {"energy": least_energy(build(**options))}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
