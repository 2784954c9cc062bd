"""The metric against two independent libraries, where they are installed: `pip install 'actionopt[oracles]'`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from tests.metric.twins import dense_metric, relative

torch = pytest.importorskip("torch", reason="the extra `oracles` is not installed")
# what the libraries' own imports warn of is not ours
pytestmark = [pytest.mark.filterwarnings("default")]

SIZES, SAMPLES, MASS = (6, 8, 5, 4), 9, 0.01
LOSSES = ["softmax", "squared error"]


def problem_of(loss: str) -> ao.Problem:
    """Return a tanh network; batch size, widths and number of classes all differ."""
    rng = np.random.default_rng(3)
    modules = [ao.Dense(before, after, "tanh") for before, after in pairwise(SIZES[:-1])]
    inputs = rng.standard_normal((SAMPLES, SIZES[0]))
    if loss == "softmax":
        targets, ours = rng.integers(0, SIZES[-1], SAMPLES), ao.SoftmaxCrossEntropy()
    else:
        targets, ours = rng.standard_normal((SAMPLES, SIZES[-1])), ao.SquaredError()
    return ao.Problem([*modules, ao.Dense(*SIZES[-2:])], inputs, targets, ours, mass=MASS)


def network_of(problem: ao.Problem, w: np.ndarray) -> Any:
    """Return the same network in torch, in double precision."""
    modules: list[Any] = []
    for module, piece in zip(problem.modules, problem.unflatten(w), strict=True):
        linear = torch.nn.Linear(module.in_size, module.out_size, dtype=torch.float64)
        cut = module.in_size * module.out_size
        linear.weight.data = torch.tensor(piece[:cut].reshape(module.out_size, module.in_size))
        linear.bias.data = torch.tensor(piece[cut:])
        modules += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*modules[:-1])


def loss_of(loss: str) -> tuple[Any, float]:
    """Return torch's loss and what its Hessian is multiplied by to be ours.

    `MSELoss` is a mean over samples and outputs without the 1/2, so its Hessian is 2/d times that of our loss.
    """
    return (torch.nn.CrossEntropyLoss(), 1.0) if loss == "softmax" else (torch.nn.MSELoss(), SIZES[-1] / 2.0)


def data_of(problem: ao.Problem) -> tuple[Any, Any]:
    return torch.tensor(problem.inputs), torch.tensor(problem.targets)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_against_backpack(loss: str) -> None:
    backpack = pytest.importorskip("backpack", reason="the extra `oracles` is not installed")
    from backpack.extensions import SqrtGGNExact

    problem = problem_of(loss)
    w = problem.initial_weights(1)
    function, scale = loss_of(loss)
    network, function = backpack.extend(network_of(problem, w)), backpack.extend(function)
    inputs, targets = data_of(problem)
    with backpack.backpack(SqrtGGNExact()):
        function(network(inputs), targets).backward()
    metric = ao.LayerMetric(problem, w)
    linears = [module for module in network if isinstance(module, torch.nn.Linear)]
    for linear, block in zip(linears, metric.blocks, strict=True):
        rows = torch.cat([p.sqrt_ggn_exact.reshape(-1, p.numel()) for p in (linear.weight, linear.bias)], dim=1).numpy()
        expected = scale * rows.T @ rows
        assert relative(block.dense() - MASS * np.eye(block.size), expected) < 1e-13


@pytest.mark.parametrize("loss", LOSSES)
def test_joint_metric_against_curvlinops(loss: str) -> None:
    curvlinops = pytest.importorskip("curvlinops", reason="the extra `oracles` is not installed")
    problem = problem_of(loss)
    w = problem.initial_weights(2)
    network, (function, scale) = network_of(problem, w), loss_of(loss)
    operator = curvlinops.GGNLinearOperator(network, function, list(network.parameters()), [data_of(problem)])
    expected = (operator @ torch.eye(problem.size, dtype=torch.float64)).detach().numpy() * scale
    metric = ao.LayerMetric(problem, w, joint=True)
    assert relative(metric.dense() - MASS * np.eye(problem.size), expected) < 1e-13
    g = np.random.default_rng(0).standard_normal(problem.size)
    solution = np.linalg.solve(expected + MASS * np.eye(problem.size), g)
    for solve in ("primal", "dual", "cg"):
        assert relative(ao.LayerMetric(problem, w, joint=True, solve=solve).solve(g), solution) < 1e-9


@pytest.mark.parametrize("loss", LOSSES)
def test_the_twin_of_the_other_tests_agrees_with_torch(loss: str) -> None:
    problem = problem_of(loss)
    w = problem.initial_weights(3)
    network, (inputs, targets) = network_of(problem, w), data_of(problem)
    function, scale = loss_of(loss)
    parameters = dict(network.named_parameters())

    def outputs(values: Any) -> Any:
        return torch.func.functional_call(network, values, (inputs,))

    jacobians = torch.func.jacrev(outputs)(parameters)
    rows = torch.cat([jacobians[name].flatten(2) for name in parameters], dim=2)
    y = outputs(parameters).detach()
    hessians = torch.stack(
        [torch.func.hessian(function)(y[b : b + 1], targets[b : b + 1])[0, :, 0, :] for b in range(SAMPLES)]
    )
    expected = scale * torch.einsum("bin,bij,bjm->nm", rows, hessians, rows).detach().numpy() / SAMPLES
    assert relative(dense_metric(problem, w, joint=True) - MASS * np.eye(problem.size), expected) < 1e-13
