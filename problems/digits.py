"""Handwritten digits: 1797 real images of 8 x 8 pixels in ten classes, cross-entropy.

Source
------
E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998), the test
part, as scikit-learn ships it. It needs the extra: `pip install 'actionopt[problems]'`.

Known answer
------------
None for the weights. Where the outputs are equal for all classes, the energy is log 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import actionopt as ao


def build(
    samples: int = 300,
    hidden: int | Sequence[int] = 32,
    activation: str = "tanh",
    mass: float = 1.0,
    weight_decay: float = 1e-4,
) -> ao.Problem:
    """Return the problem on the first `samples` images, 1797 at most; 64-32-10 by default.

    Parameters
    ----------
    hidden : int or sequence of int
        Widths of the hidden layers.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ao.InputError("scikit-learn is missing; pip install 'actionopt[problems]' brings it") from None
    images, labels = load_digits(return_X_y=True)
    if not (isinstance(samples, int) and 1 <= samples <= len(labels)):
        raise ao.InputError(f"samples must be a whole number 1 .. {len(labels)}, got {samples!r}")
    widths = (64, *((hidden,) if isinstance(hidden, int) else hidden))
    modules = [ao.Dense(before, after, activation) for before, after in pairwise(widths)]
    return ao.Problem(
        [*modules, ao.Dense(widths[-1], 10)],
        images[:samples] / 16.0,
        labels[:samples],
        ao.SoftmaxCrossEntropy(),
        mass=mass,
        weight_decay=weight_decay,
        name="digits",
    )


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
