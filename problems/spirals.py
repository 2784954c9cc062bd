"""Two interleaved spirals, three turns each: a hard classification task in the plane, logistic loss.

Point i = 0 .. 96 of the first spiral lies at angle `pi i / 16` and radius `(104 - i) / 104` (the original's 6.5 is
scaled to 1); the second spiral is its mirror image through the origin.

Source
------
K. Lang and M. Witbrock, Learning to tell two spirals apart, Connectionist Models Summer School 1988; the benchmark of
Carnegie Mellon University.

Known answer
------------
The classes are separable, so that the energy has the infimum 0 without weight decay. Where the output is 0, the
energy is log 2.
"""

from __future__ import annotations

import numpy as np

import actionopt as ao


def build(
    samples: int = 194,
    width: int = 12,
    depth: int = 3,
    residual: bool = True,
    mass: float = 0.1,
    weight_decay: float = 1e-4,
) -> ao.Problem:
    """Return the problem on `samples` points, an even number, with `depth` hidden tanh layers.

    The layers after the first are `residual`, each adding a change to the features it gets, or plain.
    """
    points, labels = spirals(samples)
    hidden = [ao.Dense(width, width, "tanh") for _ in range(depth - 1)]
    modules = [ao.Dense(2, width, "tanh"), *(map(ao.Residual, hidden) if residual else hidden), ao.Dense(width, 1)]
    return ao.Problem(modules, points, labels, ao.Logistic(), mass=mass, weight_decay=weight_decay, name="two spirals")


def spirals(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points `(samples, 2)` and labels 0 or 1 `(samples, 1)`, the spirals in turn."""
    if not isinstance(samples, int) or samples < 2 or samples % 2:
        raise ao.InputError(f"samples must be an even number >= 2, half of them a spiral; got {samples!r}")
    i = np.linspace(0.0, 96.0, samples // 2)
    angle, radius = np.pi * i / 16, (104 - i) / 104
    first = radius[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    points = np.stack([first, -first], axis=1).reshape(samples, 2)
    return points, np.tile([[1.0], [0.0]], (samples // 2, 1))


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
