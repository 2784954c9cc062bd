"""A student network learns what a teacher network of the same kind says.

Seeded: standard normal inputs, a teacher with `teacher_width` tanh units, optional noise on its answers. The student
has `width` units.

Source
------
E. Gardner and B. Derrida, Three unfinished works on the optimal storage capacity of networks, J. Phys. A 22, 1983
(1989); D. Saad and S. Solla, On-line learning in soft committee machines, Phys. Rev. E 52, 4225 (1995).

Known answer
------------
Without noise and with `width >= teacher_width` the least energy is 0, reached where the student copies the teacher
and its further units are idle (`solution`).
"""

from __future__ import annotations

import numpy as np

import actionopt as ao


def build(
    features: int = 4,
    teacher_width: int = 3,
    width: int = 4,
    samples: int = 32,
    noise: float = 0.0,
    activation: str = "tanh",
    mass: float = 0.1,
    seed: int = 0,
) -> ao.Problem:
    """Return the student's problem, with `width * (features + 2) + 1` weights."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((samples, features))
    teacher = ao.Problem(
        _layers(features, teacher_width, activation), inputs, np.zeros(samples), ao.SquaredError(), name="teacher"
    )
    targets = teacher.outputs(_teacher_weights(teacher, seed)) + noise * rng.standard_normal((samples, 1))
    return ao.Problem(
        _layers(features, width, activation), inputs, targets, ao.SquaredError(), mass=mass, name="teacher and student"
    )


def solution(problem: ao.Problem, teacher_width: int = 3, seed: int = 0) -> np.ndarray:
    """Return student weights that copy the teacher, for the `teacher_width` and `seed` it was built with."""
    first = problem.modules[0]
    layers = _layers(first.in_size, teacher_width, first.activation)
    teacher = ao.Problem(layers, problem.inputs, problem.targets, ao.SquaredError())
    hidden, out = teacher.unflatten(_teacher_weights(teacher, seed))
    matrix, offset = hidden[:-teacher_width], hidden[-teacher_width:]
    idle = np.zeros(first.out_size - teacher_width)
    no_rows = np.zeros(len(idle) * first.in_size)
    return np.concatenate([matrix, no_rows, offset, idle, out[:-1], idle, out[-1:]])


def _layers(features: int, width: int, activation: str) -> list[ao.Module]:
    return [ao.Dense(features, width, activation), ao.Dense(width, 1)]


def _teacher_weights(teacher: ao.Problem, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).standard_normal(teacher.size)


def known(width: int, teacher_width: int, noise: float, **options: object) -> dict[str, float]:
    """Return the least energy, where it is known."""
    return {"energy": 0.0} if width >= teacher_width and noise == 0.0 else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
