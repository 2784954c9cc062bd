"""A dense layer that starts where another library stopped."""

from __future__ import annotations

import numpy as np

from actionopt.modules.dense import Dense


class Pretrained(Dense):
    """A dense layer whose `initial_weights` are given: `z_out = phi(matrix z_in + offset)`.

    Parameters
    ----------
    matrix : array (out, in)
        Rows are outputs, whatever the library it comes from does.
    offset : array (out,), optional
        A layer without bias where it is None.
    activation : str, optional
        A name in `ACTIVATIONS`; None is linear.
    name : str, optional
        The name in tables and messages; "Dense" where it is None.
    """

    def __init__(
        self, matrix: np.ndarray, offset: np.ndarray | None, activation: str | None = None, name: str | None = None
    ) -> None:
        out_size, in_size = matrix.shape
        super().__init__(in_size, out_size, activation, bias=offset is not None, name=name or "Dense")
        parts = [matrix.ravel()] if offset is None else [matrix.ravel(), offset]
        self.weights = np.concatenate(parts).astype(float)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Return the given weights; nothing is drawn."""
        return self.weights.copy()
