"""Random combinations of the output metric's rows, fewer than there are: a metric whose mean is the exact one."""

from __future__ import annotations

import numpy as np

from actionopt.problem import Problem


def sampled(problem: Problem, count: int, rng: np.random.Generator) -> Problem:
    """Return the problem with `count` rows a sample in the factor of its output metric.

    Row j is `sum_i s_ij L_i / sqrt(count)` with independent random signs `s_ij` of every sample, so that the mean of
    the metric over the signs is the exact one (Hutchinson's estimator, on the factor).
    """
    copy = object.__new__(Problem)

    def combined(factor: np.ndarray) -> np.ndarray:
        *_, rows, samples, _ = factor.shape
        if rows <= count:
            return factor
        signs = rng.choice((-1.0, 1.0), size=(samples, count, rows)) / np.sqrt(count)
        return np.swapaxes(signs @ np.swapaxes(factor, -3, -2), -3, -2)

    vars(copy).update(vars(problem), sampling=combined)
    return copy
