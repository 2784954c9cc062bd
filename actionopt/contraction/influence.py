"""Which exchanges of one training sample move the minimum most, to first order **[ours]**.

Exchanging z for z' among n samples moves the minimum by about `-H^-1 (grad l_z' - grad l_z) / n`, and the loss of a
sample q by its gradient times that. All exchanges are compared; none is trained for.
"""

from __future__ import annotations

import numpy as np

from actionopt.contraction.displacement import displacement
from actionopt.contraction.lipschitz import sample_gradients
from actionopt.problem import Problem


def influential_exchanges(
    whole: Problem, kept: int, minimum: np.ndarray, quantity: str, count: int
) -> list[tuple[int, int]]:
    """Return the exchanges `(out, in)` that are predicted to change most, the largest first.

    Parameters
    ----------
    whole : Problem
        Of the samples trained on, the first `kept`, and behind them those that may come in.
    kept : int
    minimum : array (n,)
        Of the problem of the first `kept`.
    quantity : str
        "loss": the largest change of any sample's loss; the Euclidean distance of the minima otherwise.
    count : int
        How many.
    """
    hessian = displacement(whole.take(np.arange(kept)), minimum, "euclidean").rate_form
    gradients = sample_gradients(whole, minimum)
    pulled = np.linalg.solve(hessian, gradients.T).T
    scores = np.empty((kept, whole.samples - kept))
    for out in range(kept):
        moved = pulled[kept:] - pulled[out]
        loss = quantity == "loss"
        scores[out] = abs(gradients @ moved.T).max(axis=0) if loss else np.linalg.norm(moved, axis=1)
    best = np.argsort(-scores, axis=None, kind="stable")[:count]
    return [(int(k // scores.shape[1]), int(kept + k % scores.shape[1])) for k in best]
