"""A recurrent network learns what another one of its kind says after a number of time steps.

One cell, `h_t = tanh(W [x_t, h_{t-1}] + b)`, is placed once a time step, so that all steps share its weights; a linear
layer reads the last state. Every step is a node: its adjoint is the costate of backpropagation through time.

| node | features |
|---|---|
| x1 .. xT | `inputs` each, standard normal |
| start | `width`, zero |
| step 1 .. step T | `width` each |
| read | 1 |

Source
------
P. Werbos, Backpropagation through time: what it does and how to do it, Proc. IEEE 78, 1550 (1990); R. Pascanu,
T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013.

Known answer
------------
The least energy is 0, at the weights of the network that made the targets (`solution`). Gradient and costates are
those of backpropagation through time, written by hand (`through_time`).
"""

from __future__ import annotations

import numpy as np

import actionopt as ao


def build(
    steps: int = 20,
    samples: int = 32,
    width: int = 8,
    inputs: int = 2,
    mass: float = 0.1,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> ao.Problem:
    """Return the problem, with `width (inputs + width + 1) + width + 1` weights however many steps there are."""
    data = np.random.default_rng(seed).standard_normal((steps, samples, inputs))
    teacher = _network(data, width, np.zeros(samples), mass=mass)
    targets = teacher.outputs(_teacher_weights(teacher, seed))
    return _network(data, width, targets, mass=mass, weight_decay=weight_decay)


def solution(problem: ao.Problem, seed: int = 0) -> np.ndarray:
    """Return the weights that made the targets, for the `seed` the problem was built with."""
    return _teacher_weights(problem, seed)


def through_time(problem: ao.Problem, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient `(n,)` and the costates `(steps, samples, width)` without weight decay, in plain NumPy."""
    start, *inputs = problem.inputs
    width, features = start.shape[1], inputs[0].shape[1]
    cell, read = problem.unflatten(w)
    matrix, offset = cell[:-width].reshape(width, features + width), cell[-width:]
    states, joined = [start], []
    for x in inputs:
        joined.append(np.concatenate([x, states[-1]], axis=1))
        states.append(np.tanh(joined[-1] @ matrix.T + offset))
    error = (states[-1] @ read[:width] + read[width] - problem.target_array[:, 0]) / problem.samples
    costates = np.empty((len(inputs), *start.shape))
    costates[-1] = error[:, None] * read[:width]
    of_matrix, of_offset = np.zeros_like(matrix), np.zeros_like(offset)
    for t in reversed(range(len(inputs))):
        delta = costates[t] * (1.0 - states[t + 1] ** 2)
        of_matrix += delta.T @ joined[t]
        of_offset += delta.sum(axis=0)
        if t:
            costates[t - 1] = delta @ matrix[:, features:]
    return np.concatenate([of_matrix.ravel(), of_offset, error @ states[-1], [error.sum()]]), costates


def _network(data: np.ndarray, width: int, targets: np.ndarray, **options: float) -> ao.Problem:
    cell, read = ao.Dense(data.shape[2] + width, width, "tanh", name="cell"), ao.Dense(width, 1, name="read")
    h: ao.Node = ao.Input(np.zeros((data.shape[1], width)), name="start")
    for t, x in enumerate(data, start=1):
        h = cell(ao.Input(x, name=f"x{t}"), h, name=f"step {t}")
    return ao.Problem([ao.Cost(read(h), ao.SquaredError(), targets)], name="recurrent", **options)


def _teacher_weights(problem: ao.Problem, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).standard_normal(problem.size) / np.sqrt(problem.groups[1].module.in_size)


def known(weight_decay: float, **options: object) -> dict[str, float]:
    """Return the least energy, where it is known."""
    return {"energy": 0.0} if weight_decay == 0.0 else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
