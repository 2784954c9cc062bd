"""The optimiser for PyTorch takes the steps of `ao.LayerMetric`, and refuses what it cannot see into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.move import move

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from actionopt.interop.torch import Layerwise  # noqa: E402


def flat(model: Any) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]).astype(float)


def dense() -> tuple[Any, list[ao.Module]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(18, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    return model, [ao.Dense(18, 7, "tanh"), ao.Dense(7, 4)]


def convolutional() -> tuple[Any, list[ao.Module]]:
    torch.manual_seed(1)
    layers = [nn.Unflatten(1, (2, 3, 3)), nn.Conv2d(2, 5, 2, padding=1, stride=2), nn.Tanh(), nn.AvgPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(5, 4)).double()
    conv = ao.Conv2d((2, 3, 3), 5, 2, "tanh", stride=2, padding=1)
    return model, [conv, ao.AveragePool2d(conv.out_shape, 2), ao.Dense(5, 4)]


def tokens() -> tuple[Any, list[ao.Module]]:
    torch.manual_seed(2)
    layers = [nn.Unflatten(1, (3, 6)), nn.Linear(6, 4), nn.Tanh(), nn.LayerNorm(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Dropout(0.0), nn.Linear(12, 4, bias=False)).double()
    each = [ao.Each(ao.Dense(6, 4, "tanh"), 3), ao.Each(ao.LayerNorm(4), 3)]
    return model, [*each, ao.Dense(12, 4, bias=False)]


MODELS = {"dense": dense, "convolutional": convolutional, "tokens": tokens}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_steps_are_those_of_the_layer_metric(name: str, loss: str, rng: np.random.Generator) -> None:
    model, modules = MODELS[name]()
    x = rng.standard_normal((6, 18))
    targets = np.arange(6) % 4 if loss == "cross_entropy" else rng.standard_normal((6, 4))
    kind = ao.SoftmaxCrossEntropy() if loss == "cross_entropy" else ao.SquaredError()
    problem = ao.Problem(modules, x, targets, kind, mass=0.2, weight_decay=0.01)
    optimiser = Layerwise(model, loss, mass=0.2, momentum=0.6, weight_decay=0.01, solve="dual", tol=1e-12)
    w, previous = flat(model), None
    for _ in range(3):
        metric = ao.LayerMetric(problem, w, solve="dual", tol=1e-12)
        taken = move(metric, "model", momentum=0.6, previous=previous)
        energy = optimiser.step(model(torch.from_numpy(x)), torch.from_numpy(targets))
        decay = 0.005 * float(w @ w)
        assert float(energy) == pytest.approx(problem.energy(w) - decay, rel=1e-13)
        previous, w = taken.direction, taken.weights
        found = np.concatenate([optimiser.state[p]["direction"].numpy().ravel() for p in model.parameters()])
        np.testing.assert_allclose(found, previous, rtol=1e-12, atol=1e-12 * abs(previous).max())
        np.testing.assert_allclose(flat(model), w, rtol=1e-12, atol=1e-13)


def test_batch_norm_in_evaluation_mode_is_an_affine_layer(rng: np.random.Generator) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(18, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    model(torch.from_numpy(rng.standard_normal((50, 18))))
    x, targets = torch.from_numpy(rng.standard_normal((6, 18))), torch.from_numpy(rng.standard_normal((6, 2)))
    optimiser = Layerwise(model, "squared", mass=0.3, momentum=0.0, tol=1e-12)
    model.eval()
    jacobian = _jacobian(model, x)
    ends = np.cumsum([18 * 4 + 4, 8, 10])
    g = np.concatenate(
        [g.detach().numpy().ravel() for g in torch.autograd.grad(_loss(model, x, targets), model.parameters())]
    )
    start, expected = 0, []
    for end in ends:
        rows = jacobian[..., start:end].reshape(-1, end - start) / np.sqrt(6)
        expected.append(np.linalg.solve(0.3 * np.eye(end - start) + rows.T @ rows, g[start:end]))
        start = end
    optimiser.step(model(x), targets)
    found = np.concatenate([optimiser.state[p]["direction"].numpy().ravel() for p in model.parameters()])
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-9, atol=1e-11)


def _loss(model: Any, x: Any, targets: Any) -> Any:
    return 0.5 * ((model(x) - targets) ** 2).sum(1).mean()


def _jacobian(model: Any, x: Any) -> np.ndarray:
    rows = []
    for y in model(x).ravel():
        pieces = torch.autograd.grad(y, list(model.parameters()), retain_graph=True)
        rows.append(np.concatenate([piece.numpy().ravel() for piece in pieces]))
    return np.stack(rows).reshape(len(x), -1, sum(p.numel() for p in model.parameters()))


class Shared(nn.Module):
    """One layer placed three times: rows are summed over its uses."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.read = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        for _ in range(3):
            x = torch.tanh(self.cell(x))
        return self.read(x)


def test_a_layer_used_twice_sums_its_rows(rng: np.random.Generator) -> None:
    torch.manual_seed(4)
    model = Shared().double()
    x, targets = rng.standard_normal((5, 4)), rng.standard_normal((5, 2))
    cell, z = ao.Dense(4, 4, "tanh"), ao.Input(x)
    out = ao.Dense(4, 2)(cell(cell(cell(z))))
    problem = ao.Problem([ao.Cost(out, ao.SquaredError(), targets)], mass=0.1)
    w = flat(model)
    metric = ao.LayerMetric(problem, w, tol=1e-12)
    optimiser = Layerwise(model, "squared", mass=0.1, momentum=0.0, tol=1e-12)
    optimiser.step(model(torch.from_numpy(x)), torch.from_numpy(targets))
    np.testing.assert_allclose(flat(model), move(metric, "model").weights, rtol=1e-10, atol=1e-11)


def test_single_precision_learns_and_its_state_goes_on(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((64, 6)).astype(np.float32))
    labels = (x @ torch.from_numpy(rng.standard_normal((6, 3)).astype(np.float32))).argmax(1)

    def made() -> tuple[Any, Any]:
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        return model, Layerwise(model, "cross_entropy", rows=1)

    def train(model: Any, optimiser: Any, steps: int) -> float:
        for _ in range(steps):
            torch.manual_seed(steps)
            found = float(optimiser.step(model(x), labels))
        return found

    model, optimiser = made()
    first = train(model, optimiser, 1)
    assert train(model, optimiser, 20) < 0.3 * first
    other, again = made()
    other.load_state_dict(model.state_dict())
    again.load_state_dict(optimiser.state_dict())
    assert train(other, again, 2) == train(model, optimiser, 2)
    assert next(model.parameters()).dtype == torch.float32
    scheduler = torch.optim.lr_scheduler.StepLR(again, 1, gamma=0.0)
    train(other, again, 1)
    scheduler.step()
    before = flat(other)
    train(other, again, 1)
    np.testing.assert_array_equal(flat(other), before)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Any) -> Any:
        return x * self.scale


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), Odd()), "1 is a Odd, whose weights Layerwise cannot see into"),
        (lambda: nn.Sequential(nn.LSTM(2, 2)), "0 is a LSTM"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), "1 works in place"),
        (lambda: nn.Sequential(nn.Conv2d(2, 2, 1, groups=2)), "groups=1"),
        (lambda: nn.Sequential(nn.Tanh()), "no weights to train"),
    ],
)
def test_layers_it_cannot_see_into_are_named(make: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        Layerwise(make())


def test_batch_norm_in_training_mode_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    optimiser = Layerwise(model)
    with pytest.raises(ao.InputError, match=r"1 \(BatchNorm in training mode\) couples the samples"):
        optimiser.step(model(torch.ones(4, 2)), torch.tensor([0, 1, 0, 1]))


def test_bad_steps_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    optimiser = Layerwise(model)
    x = torch.ones(4, 2)
    with pytest.raises(ao.InputError, match=r"class numbers must lie in 0 \.\. 2, got 0 \.\. 3"):
        optimiser.step(model(x), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ao.InputError, match=r"targets must be class numbers \(4,\)"):
        optimiser.step(model(x), torch.ones(4, 3))
    with pytest.raises(ao.InputError, match="with gradients enabled"):
        optimiser.step(model(x).detach(), torch.tensor([0, 1, 2, 0]))
    outputs = model(x)
    model(x)
    with pytest.raises(ao.InputError, match="do not come from the last forward pass"):
        optimiser.step(outputs, torch.tensor([0, 1, 2, 0]))
    for options, message in (
        ({"mass": 0.0}, "mass must be a positive number"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"rows": 0}, "rows must be 'exact' or a whole number"),
    ):
        with pytest.raises(ao.InputError, match=message):
            Layerwise(model, **options)


def test_a_batch_that_is_not_finite_is_skipped_or_raised() -> None:
    model = nn.Sequential(nn.Linear(2, 3)).double()
    bad, labels = torch.full((4, 2), torch.nan, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ao.SolverError, match="the loss is nan"):
        Layerwise(model).step(model(bad), labels)
    skipping = Layerwise(model, not_finite="skip")
    before = flat(model)
    skipping.step(model(bad), labels)
    assert skipping.skipped == 1
    np.testing.assert_array_equal(flat(model), before)
