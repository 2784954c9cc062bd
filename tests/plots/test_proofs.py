"""The figure of what is proved shows the numbers that the proofs give."""

from __future__ import annotations

import numpy as np

import actionopt as ao
from plots import proofs
from problems import double_well, linear_regression


def test_radii_and_tube_of_the_double_well() -> None:
    problem = double_well.build()
    figure = proofs.draw(problem, np.array([0.1]), tube=0.01, horizon=8.0, steps=60)
    left, right = figure.axes
    proof = ao.prove_contraction(problem, [1.0])
    said = [text.get_text() for text in left.texts]
    edge = 1.0 - np.sqrt(1.0 / 3.0)  # where `3 w^2 = 1`
    (line,) = [text for text in said if text.startswith(f"proved up to {proof.radius:.3g}, refuted beyond ")]
    assert edge <= float(line.split()[-1]) <= 1.03 * edge
    assert 0.75 * edge < proof.radius < edge
    assert right.get_title().startswith("tube proved: radius 0.01 at the start")
    assert right.collections  # the band


def test_measured_replacements_lie_below_the_bound() -> None:
    problem = linear_regression.build(weight_decay=0.1, features=2)
    figure = proofs.draw(problem, np.zeros(3), replacements=3)
    measured, bound = figure.axes[1].lines
    assert measured.get_ydata().max() <= bound.get_ydata()[0]
    assert measured.get_ydata().max() >= 0.5 * bound.get_ydata()[0]
    assert (np.diff(measured.get_ydata()) <= 0.0).all()
