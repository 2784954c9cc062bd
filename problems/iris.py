"""Fisher's iris flowers: 150 samples of four measurements in three species, cross-entropy; small real data.

Source
------
R. Fisher, The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 179-188 (1936), as
scikit-learn ships it. It needs the extra: `pip install 'actionopt[problems]'`.

Known answer
------------
None for the weights. Where the outputs are equal for all species, the energy is log 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

import actionopt as ao


def build(
    samples: int = 150,
    hidden: int | Sequence[int] = (8, 8),
    activation: str = "tanh",
    mass: float = 0.1,
    weight_decay: float = 1e-3,
) -> ao.Problem:
    """Return the problem on the first `samples` flowers, the species in turn; 4-8-8-3 by default, 139 weights.

    The measurements are centred and scaled over the samples chosen.
    """
    try:
        from sklearn.datasets import load_iris
    except ImportError:
        raise ao.InputError("scikit-learn is missing; pip install 'actionopt[problems]' brings it") from None
    flowers, species = load_iris(return_X_y=True)
    if not (isinstance(samples, int) and 1 <= samples <= len(species)):
        raise ao.InputError(f"samples must be a whole number 1 .. {len(species)}, got {samples!r}")
    in_turn = np.arange(150).reshape(3, 50).T.ravel()[:samples]  # the file lists species after species
    flowers, species = flowers[in_turn], species[in_turn]
    scale = flowers.std(axis=0)
    flowers = (flowers - flowers.mean(axis=0)) / (scale + (scale == 0))
    widths = (4, *((hidden,) if isinstance(hidden, int) else hidden))
    modules = [ao.Dense(before, after, activation) for before, after in pairwise(widths)]
    return ao.Problem(
        [*modules, ao.Dense(widths[-1], 3)],
        flowers,
        species,
        ao.SoftmaxCrossEntropy(),
        mass=mass,
        weight_decay=weight_decay,
        name="iris",
    )


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
