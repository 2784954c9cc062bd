"""Problems: energies from their definition, shapes, and every way the description can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from tests.systems import LOSSES, SYSTEMS, system

X, Y = np.linspace(-1, 1, 12).reshape(4, 3), np.linspace(0, 1, 8).reshape(4, 2)


def problem(modules: Any = None, inputs: Any = X, targets: Any = Y, loss: Any = None, **options: Any) -> ao.Problem:
    modules = [ao.Dense(3, 4, "tanh"), ao.Dense(4, 2)] if modules is None else modules
    return ao.Problem(modules, inputs, targets, loss or ao.SquaredError(), **options)


def test_energy_is_its_definition() -> None:
    p = problem(weight_decay=0.3)
    w = p.initial_weights(1)
    first, a, second, b = np.split(w, [12, 16, 24])
    y = np.tanh(X @ first.reshape(4, 3).T + a) @ second.reshape(2, 4).T + b
    assert p.energy(w) == pytest.approx(0.5 * ((y - Y) ** 2).sum() / 4 + 0.15 * w @ w, rel=1e-14)
    np.testing.assert_allclose(p.outputs(w), y, rtol=1e-14)
    assert isinstance(p.energy(w), float)


@pytest.mark.parametrize("name", SYSTEMS)
def test_leading_axes(name: str) -> None:
    p = SYSTEMS[name]
    nodes = np.stack([p.initial_weights(seed) for seed in range(6)]).reshape(2, 3, p.size)
    assert p.energy(nodes).shape == (2, 3)
    assert p.outputs(nodes).shape == (2, 3, p.samples, p.modules[-1].out_size)
    for place in np.ndindex(2, 3):
        assert p.energy(nodes)[place] == pytest.approx(p.energy(nodes[place]), rel=1e-13)
    pieces = p.unflatten(nodes)
    assert [piece.shape[-1] for piece in pieces] == [module.weight_size for module in p.modules]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=-1), nodes)


def test_initial_weights_are_seeded() -> None:
    p = problem()
    np.testing.assert_array_equal(p.initial_weights(3), p.initial_weights(3))
    assert (p.initial_weights(3) != p.initial_weights(4)).any()


@pytest.mark.parametrize("seed", [-1, 0.5, "zero", None, True])
def test_wrong_seeds(seed: Any) -> None:
    with pytest.raises(ao.InputError, match="seed must be a whole number >= 0, got"):
        problem().initial_weights(seed)


def test_initial_weights_of_the_wrong_length() -> None:
    class Short(ao.Dense):
        def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
            return np.zeros(3)

    with pytest.raises(ao.InputError, match=r"Short: initial_weights must return 8 numbers, got shape \(3,\)"):
        problem([Short(3, 2)])


def test_vectors_are_one_column() -> None:
    p = ao.Problem(ao.Dense(1, 1), [1.0, 2.0], [3.0, 4.0], ao.SquaredError())
    assert p.inputs.shape == p.target_array.shape == (2, 1)


def test_chains_are_resolved() -> None:
    layers = [ao.Dense(3, 4), ao.Dense(4, 4), ao.Dense(4, 2)]
    p = problem(ao.Chain(layers[0], ao.Chain(*layers[1:])))
    assert p.modules == tuple(layers)
    assert p.labels == ("1 Dense", "2 Dense", "3 Dense")


def test_landscape_without_data() -> None:
    p = ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(lambda ops, y, target: ops.sum(y * y)))
    assert (p.size, p.samples) == (2, 1)
    assert p.energy([1.0, 2.0]) == 5.0
    np.testing.assert_array_equal(p.gradient([1.0, 2.0]), [2.0, 4.0])


def test_given_arrays_are_not_kept_by_reference() -> None:
    inputs = X.copy()
    p = problem(inputs=inputs)
    before = p.energy(p.initial_weights())
    inputs[:] = 0
    assert p.energy(p.initial_weights()) == before


def test_mass_of_problem_and_modules() -> None:
    np.testing.assert_array_equal(problem(mass=2.0).mass, np.full(26, 2.0))
    np.testing.assert_array_equal(problem(mass=np.arange(1, 27)).mass, np.arange(1.0, 27))
    np.testing.assert_array_equal(problem(mass=[2.0, 3.0]).mass, np.repeat([2.0, 3.0], [16, 10]))
    modules = [ao.Dense(3, 4, mass=5.0), ao.Dense(4, 2)]
    np.testing.assert_array_equal(problem(modules, mass=2.0).mass, np.repeat([5.0, 2.0], [16, 10]))


def test_names() -> None:
    assert problem().name == "problem"
    assert repr(problem(name="mine")) == "Problem('mine': 2 modules, 26 weights, 4 samples, squared error)"


class Shaped(ao.Module):
    """Returns the wrong width."""

    in_size, out_size, weight_size = 3, 2, 0

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z


class ByHand(ao.Module):
    """Takes weights apart without leading axes."""

    in_size, out_size, weight_size = 3, 2, 2

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.concatenate([ops.columns(z)[0] * w[0], ops.columns(z)[1] * w[1]])


class Unready(ao.Module):
    """Has no forward."""

    in_size, out_size, weight_size = 3, 2, 0


class Own(ao.Module):
    """Has the equation it is given, and one weight."""

    in_size, out_size, weight_size = 3, 2, 1

    def __init__(self, equation: Any) -> None:
        self.equation = equation

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return self.equation(ops, w, z)


BAD_X, BAD_Y = X.copy(), Y.copy()
BAD_X[2, 1], BAD_Y[3, 0] = np.nan, -np.inf

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"modules": [ao.Dense(3, 4), ao.Dense(5, 2)]},
        r"sizes do not chain: module 1 Dense\(3, 4, None\) gives 4 outputs, module 2 Dense\(5, 2, None\) takes 5$",
    ),
    ({"modules": []}, "Problem needs at least one module, got none"),
    ({"modules": [3]}, "Problem takes modules, got 3 of type int"),
    ({"modules": 3}, "Problem takes modules, got 3 of type int"),
    ({"modules": [Shaped()]}, r"module 1 Shaped: forward returned shape \(1, 3\) for one sample, expected \(1, 2\)"),
    ({"modules": [ByHand()]}, "module 1 ByHand: forward .*take weights apart with ops.unpack"),
    (
        {"modules": [Own(lambda ops, w, z: np.tanh(z[..., :2]) * ops.unpack(w, (1,)))]},
        "module 1 Own: forward cannot be differentiated, TypeError: .*; write it with the functions of ops",
    ),
    ({"modules": [Own(lambda ops, w, z: None)]}, "module 1 Own: forward returned None; is its `return` missing"),
    (
        {"modules": [Own(lambda ops, w, z: ops.unpack(w, (1,), (2,))[1])]},
        r"ops.unpack: pieces \(1,\), \(2,\) take more than 1 weight",
    ),
    (
        {"loss": ao.CustomLoss(lambda ops, y, target: ops.sum(np.abs(y)))},
        "value cannot be differentiated, TypeError: .*; write it with the functions of ops",
    ),
    ({"inputs": X[:, :2]}, r"inputs must have 3 columns, what the first module Dense\(3, 4, 'tanh'\) takes; got 2"),
    ({"inputs": BAD_X}, "inputs must be finite, got nan at sample 2, column 1"),
    ({"inputs": X[None]}, r"inputs must have shape \(B, d\), samples first, got shape \(1, 4, 3\)"),
    ({"inputs": [["a"] * 3] * 4}, "inputs must be an array of numbers"),
    ({"inputs": [[1, 2, 3], [4, 5]]}, "inputs must be an array of numbers"),
    ({"inputs": None}, r"inputs are None, but the first module Dense\(3, 4, 'tanh'\) takes 3 inputs"),
    ({"inputs": X[:0], "targets": Y[:0]}, "inputs must hold at least one sample, got none"),
    ({"targets": Y[:3]}, "targets must match the 4 samples of the inputs, got 3"),
    ({"targets": BAD_Y}, "targets must be finite, got -inf at sample 3, column 0"),
    ({"targets": Y[:, :1]}, r"targets must have 2 columns, the outputs of the last module, got shape \(4, 1\)"),
    ({"loss": ao.SoftmaxCrossEntropy(), "targets": [0, 1, 2, 0]}, r"labels must be whole numbers 0 \.\. 1.*got 2 at"),
    ({"loss": ao.SoftmaxCrossEntropy(), "targets": [0, 1, 0.5, 0]}, r"labels must be whole numbers.*got 0\.5 at"),
    ({"loss": "squared"}, r"loss must be a Loss such as ao.SquaredError\(\), got 'squared'"),
    ({"loss": ao.CustomLoss(lambda ops, y, t: y)}, r"custom loss: value returned 2 numbers a sample, expected one"),
    ({"mass": 0.0}, r"mass must be positive and finite, got 0\.0"),
    ({"mass": -1}, "mass must be positive and finite, got -1"),
    ({"mass": np.inf}, "mass must be positive and finite, got inf"),
    ({"mass": np.ones(5)}, r"mass must be one number or 26 numbers \(or a list of 2, one entry a module\), got"),
    ({"mass": [1.0, 0.0]}, r"mass of module 2 Dense must be positive and finite, got 0\.0"),
    ({"mass": "heavy"}, "mass must be one number or 26 numbers .*, got 'heavy'"),
    ({"modules": [ao.Dense(3, 4, mass=-2.0), ao.Dense(4, 2)]}, r"Dense: mass must be positive and finite, got -2\.0"),
    ({"output_metric": "fischer"}, "unknown output_metric 'fischer'; did you mean 'fisher'"),
    ({"output_metric": 3}, "unknown output_metric 3"),
    ({"weight_decay": -1.0}, r"weight_decay must be a finite number >= 0, got -1\.0"),
    ({"weight_decay": np.nan}, "weight_decay must be a finite number >= 0, got nan"),
    ({"weight_decay": "much"}, "weight_decay must be a finite number >= 0, got 'much'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_descriptions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message) as caught:
        problem(**options)
    assert "\n" not in str(caught.value)


def test_module_without_forward() -> None:
    with pytest.raises(NotImplementedError, match="Unready must define forward"):
        problem([Unready()])


def test_unknown_activation() -> None:
    with pytest.raises(ao.InputError, match="unknown activation 'than'; did you mean 'tanh'"):
        ao.Dense(2, 3, "than")


@pytest.mark.parametrize("size", [-1, 2.5, "three", None, True])
def test_sizes_are_whole_numbers(size: Any) -> None:
    with pytest.raises(ao.InputError, match=r"must be a whole number >= 0, got"):
        ao.Dense(size, 3) if size is not None else problem([type("Sizeless", (ao.Module,), {})()])


def test_every_loss_on_every_kind_of_chain_builds() -> None:
    for loss in LOSSES:
        assert system("residual", loss).energy(system("residual", loss).initial_weights()) > 0
