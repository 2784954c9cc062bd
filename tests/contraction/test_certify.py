"""The certificate: modules, couplings and composed rate against the blocks they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import eigh, sqrtm

import actionopt as ao
from actionopt.contraction.displacement import displacement


@pytest.mark.parametrize("metric", ["layerwise", "euclidean"])
def test_against_blocks_in_another_factor_of_the_metric(metric: str) -> None:
    """Rates and norms do not depend on the factor of G: here its symmetric square root, dense."""
    problem = ao.load_problem("problems/teacher_student.py")
    w = problem.initial_weights(3)
    certificate = ao.certify(problem, w, metric=metric)
    local = displacement(problem, w, metric)
    half = np.linalg.inv(sqrtm(local.metric).real)
    form, flow = half @ local.rate_form @ half, half @ local.momentum_jacobian @ half
    for a, rows in enumerate(problem.slices):
        alone = eigh(local.rate_form[rows, rows], local.metric[rows, rows], eigvals_only=True)[0]
        assert certificate.rates[0, a] == pytest.approx(alone)
        for b, columns in enumerate(problem.slices):
            if a != b:
                norms = (np.linalg.norm(m[rows, columns], 2) for m in (form, flow))
                assert (certificate.couplings[0, a, b], certificate.gains[0, a, b]) == pytest.approx(tuple(norms))
    assert certificate.whole[0] == pytest.approx(ao.contraction_rate(problem, w, metric=metric))
    assert certificate.ok


@pytest.mark.parametrize("name", ["xor", "teacher_student", "deep_linear", "linear_regression", "iris"])
@pytest.mark.parametrize("metric", ["layerwise", "euclidean"])
def test_composed_never_exceeds_the_whole(name: str, metric: str) -> None:
    problem = ao.load_problem(f"problems/{name}.py")
    points = np.stack([problem.initial_weights(seed) for seed in range(4)])
    certificate = ao.certify(problem, points, metric=metric)
    assert (certificate.composed <= certificate.whole + 1e-10 * abs(certificate.whole)).all()
    assert (certificate.composed <= certificate.rates.min(axis=1) + 1e-12).all()
    assert certificate.uniform <= certificate.rates.min() + 1e-9
    assert certificate.ok
    np.testing.assert_array_equal(certificate.times, np.arange(4))


def test_one_module_is_the_whole() -> None:
    certificate = ao.certify(ao.load_problem("problems/linear_regression.py"), np.zeros((2, 4)))
    np.testing.assert_allclose(certificate.composed, certificate.whole)
    assert certificate.status == "contracting"
    assert certificate.worst == 0
    assert "every node contracts, and the modules" in certificate.message


def test_trajectory_and_table() -> None:
    problem = ao.load_problem("problems/xor.py", width=2)
    trajectory = ao.flow(problem, problem.initial_weights(1), horizon=0.3, steps=3)
    certificate = ao.certify(problem, trajectory)
    np.testing.assert_array_equal(certificate.times, trajectory.times)
    np.testing.assert_allclose(certificate.whole, ao.rates_along(problem, trajectory))
    table = certificate.table().splitlines()
    assert len(table) == 5
    assert table[1].split()[:2] == ["1", "Dense"]
    assert f"{certificate.whole.min():.4g}" in table[4]
    assert certificate.status == "not contracting"
    assert "neighbouring solutions separate" in certificate.message
    assert "whole" in certificate._repr_html_()
    assert repr(certificate).startswith("Certificate(not contracting: 2 modules, 4 nodes")


def test_modules_without_weights_are_left_out() -> None:
    problem = ao.Problem([ao.Dense(1, 2), ao.Activation(2, "tanh"), ao.Dense(2, 1)], [[0.5], [1.0]], [[1.0], [0.0]],
                         ao.SquaredError())  # fmt: skip
    certificate = ao.certify(problem, problem.initial_weights())
    assert certificate.labels == ("1 Dense", "3 Dense")
    assert certificate.gains.shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("coupling", "signs", "composed", "status"),
    [
        (0.4, 1.0, 0.2, "contracting"),
        (0.6, 1.0, -0.2, "composition too weak"),  # whole 0.4: only the couplings' signs show it
        (0.6, -1.0, -0.2, "not contracting"),
    ],
)
def test_three_modules_of_one_weight(coupling: float, signs: float, composed: float, status: str) -> None:
    hessian = np.full((3, 3), signs * coupling) + (1.0 - signs * coupling) * np.eye(3)
    certificate = ao.certify(chain(hessian), np.zeros(3), metric="euclidean")
    assert certificate.whole[0] == pytest.approx(np.linalg.eigvalsh(hessian)[0])
    assert certificate.composed[0] == pytest.approx(composed)
    assert certificate.uniform == pytest.approx(composed)
    assert certificate.status == status
    assert status != "composition too weak" or "use the whole's rate" in certificate.message


class Shift(ao.Module):
    """Puts its weight into feature `index` of three."""

    in_size, out_size, weight_size = 3, 3, 1

    def __init__(self, index: int) -> None:
        super().__init__()
        self.unit = np.eye(3)[index]

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z + ops.unpack(w, (1,)) * ops.row(self.unit)


def chain(hessian: np.ndarray) -> ao.Problem:
    """Three modules of one weight each and the energy `1/2 w^T H w`."""
    loss = ao.CustomLoss(lambda ops, y, target: 0.5 * ops.sum(y * ops.matmul(y, ops.row(hessian))))
    return ao.Problem([Shift(i) for i in range(3)], [[0.0, 0.0, 0.0]], None, loss, output_metric=None)


def test_joint_metric_is_refused() -> None:
    with pytest.raises(ao.InputError, match="modules have no lengths of their own"):
        ao.certify(chain(np.eye(3)), np.zeros(3), metric="joint")
    with pytest.raises(ao.InputError, match="did you mean 'euclidean'"):
        ao.certify(chain(np.eye(3)), np.zeros(3), metric="euclid")
