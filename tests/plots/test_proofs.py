"""The figure of what is proved shows the numbers that the proofs give."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from plots import proofs
from problems import double_well, linear_regression


def test_radii_and_tube_of_the_double_well() -> None:
    problem = double_well.build()
    figure = proofs.draw(problem, np.array([0.1]), tube=0.01, horizon=8.0, steps=60)
    left, right = figure.axes
    proof = ao.prove_contraction(problem, [1.0])
    said = [text.get_text() for text in left.texts]
    assert any(text.startswith(f"{proof.radius:.2g} of ") for text in said)
    assert right.get_title() == "tube proved"
    assert right.collections  # the band


def test_measured_replacements_lie_below_the_bound() -> None:
    problem = linear_regression.build(weight_decay=0.1, features=2)
    figure = proofs.draw(problem, np.zeros(3), replacements=3)
    measured, bound = figure.axes[1].lines
    assert measured.get_ydata().max() <= bound.get_ydata()[0]
    assert measured.get_ydata().max() == pytest.approx(bound.get_ydata()[0], rel=0.9)
