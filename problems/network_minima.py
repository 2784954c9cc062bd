"""Two minima of a small network, and what it costs gradient flow to go from one to the other.

Two tanh units with weights w, offsets c and heads v fit a curve of two tanh's at 21 points,
`E = 1/21 sum 5 (f(x) - y)^2 + 0.05 |(w, c, v)|^2`. Weights are w_1, w_2, c_1, c_2, v_1, v_2.

Source
------
Ours; the question is that of T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov and A. G. Wilson, Loss surfaces, mode
connectivity, and fast ensembling of DNNs, NeurIPS 2018.

Known answer
------------
"left" and "right" are neighbours over one saddle: the least action is twice the climb, 0.30857593248810666, in every
metric. "left" and "swapped" are one network with its units exchanged: the lowest path known costs 0.446544, an upper
bound.
"""

from __future__ import annotations

import numpy as np

import actionopt as ao

LEFT = (
    -0.22481877770069497, 1.2394706298894946, 0.57367740803821, -0.15463785703527505, -0.7030403953183343,
    1.2144861734726533,
)  # fmt: skip
POINTS = {
    "left": LEFT,
    "right": (-LEFT[0], LEFT[1], -LEFT[2], LEFT[3], -LEFT[4], LEFT[5]),
    "swapped": (LEFT[1], LEFT[0], LEFT[3], LEFT[2], LEFT[5], LEFT[4]),
}
ACTIONS = {"right": 0.30857593248810666, "swapped": 0.446544}


def build(mass: float = 1.0) -> ao.Problem:
    """Return the gradient flow of the network's energy, in the mass alone."""
    x = np.linspace(-2.0, 2.0, 21)
    y = np.tanh(2.0 * x) - 0.7 * np.tanh(-0.6 * x + 1.0)
    return ao.Problem(
        [ao.Dense(1, 2, "tanh"), ao.Dense(2, 1, bias=False)],
        x,
        y,
        ao.CustomLoss(lambda ops, out, target: 5.0 * ops.sum((out - target) * (out - target)), name="squared error"),
        mass=mass,
        output_metric=None,
        weight_decay=0.1,
        name="network minima",
    )


def known(mass: float) -> dict[str, float]:
    """Return the least action between the first two minima."""
    return {"action": ACTIONS["right"]}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "path", "--start", "left", "--end", "right")
