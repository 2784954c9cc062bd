"""The problem: a chain of modules, data, a loss and a metric."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.backprop import adjoints
from actionopt.errors import InputError, unknown_name
from actionopt.interop import read_onnx, read_sklearn
from actionopt.losses import Logistic, Loss, as_samples
from actionopt.modules.base import Module, positive
from actionopt.modules.composite import check_modules, check_sizes, flatten
from actionopt.ops import NUMPY

OUTPUT_METRICS = ("fisher", "euclidean")


class Problem:
    """Train a chain of modules: `E(w) = 1/B sum_b loss(z_L,b, y_b) + weight_decay/2 |w|^2`.

    Parameters
    ----------
    modules : Module or sequence of Module
        The chain, first module first; chains inside it are resolved.
    inputs : array (B, in_size) or (B,), or None
        Samples; None where the first module takes no input (`Parameter`).
    targets : array (B, ...) or None
        What the loss compares with: `(B, out_size)`, or integer labels `(B,)` for cross-entropy. None where the
        loss needs no target.
    loss : Loss
        Energy of one sample.
    mass : float, array (n,) or sequence with one entry a module
        Diagonal D of the metric, positive. It has the scale of the mean loss: its meaning does not change with B.
    output_metric : "fisher", "euclidean", None or callable
        Metric on the outputs that the layerwise metric pulls back: the Hessian of the loss in the output, the
        identity, or none, so that the metric is the mass alone. A callable `factor(ops, outputs, targets)`
        returns the m rows of L_o, `g_o = L_o^T L_o`, as a list of arrays `(..., B, out_size)`. Where no derivatives of
        the metric are needed, `factor(outputs)` or `factor(outputs, targets)` on NumPy will do, which returns factors
        `(..., B, m, out_size)`, or one `(m, out_size)` for all samples.
    weight_decay : float
        Coefficient rho >= 0.
    name : str, optional
        Name in tables, figures and messages.

    Attributes
    ----------
    modules : tuple of Module
    inputs, targets : arrays as given (inputs as a float matrix)
    size : int
        Number of weights n.
    samples : int
        Number of samples B.
    target_array : array (B, t)
        Targets as the loss takes them (labels one-hot).
    mass : array (n,)
        Diagonal of the metric.

    Raises
    ------
    InputError
        If sizes do not chain, data do not fit or are not finite, or an option is out of range.
    """

    def __init__(
        self,
        modules: Module | Iterable[Module],
        inputs: Any,
        targets: Any,
        loss: Loss,
        *,
        mass: Any = 1.0,
        output_metric: str | Callable[..., Any] | None = "fisher",
        weight_decay: float = 0.0,
        name: str | None = None,
    ) -> None:
        self.modules = flatten(check_modules("Problem", [modules] if isinstance(modules, Module) else modules))
        check_sizes(self.modules)
        if not isinstance(loss, Loss):
            raise InputError(f"loss must be a Loss such as ao.SquaredError(), got {loss!r}")
        if not callable(output_metric) and output_metric not in (None, *OUTPUT_METRICS):
            raise unknown_name("output_metric", output_metric, OUTPUT_METRICS)
        self.name = name or "problem"
        self.loss = loss
        self.output_metric = output_metric
        self.weight_decay = _weight_decay(weight_decay)
        self.inputs = _inputs(inputs, targets, self.modules[0])
        self.samples = len(self.inputs)
        self.targets = targets
        self.target_array = loss.prepare(targets, self.samples, self.modules[-1].out_size)
        self.size = sum(module.weight_size for module in self.modules)
        self.mass = _mass(mass, self)
        _dry_run(self)

    @classmethod
    def from_onnx(cls, path: str | Path, inputs: Any, targets: Any, loss: Loss, **options: Any) -> Problem:
        """Read a feed-forward network from an ONNX file, as `torch.onnx.export` writes it.

        `initial_weights` are the file's, in float64, whatever the seed.

        Parameters
        ----------
        path : str or Path
            A model of one input and one output, out of Gemm, MatMul, Add, Tanh, Relu, Sigmoid, Softplus, Sin, Exp,
            skip connections x + f(x), and nodes that only arrange (Flatten, Reshape, Transpose, Identity, Cast,
            Dropout).
        inputs : array (B, in_size)
            Samples first, also where the file has features first; images flattened row by row.
        targets, loss
            As `Problem` takes them. The losses for classes take logits: export without the last softmax or sigmoid.
        **options
            Further options of `Problem`.

        Raises
        ------
        InputError
            If the package onnx is missing, the file is no valid model, or a node is not supported: it is named.
        """
        modules = read_onnx(path, as_samples("inputs", inputs).shape[1])
        if isinstance(loss, Logistic) and getattr(modules[-1], "activation", None) == "sigmoid":
            raise InputError(f"{path} ends in a sigmoid, and the logistic loss applies one too; export the logits")
        return cls(modules, inputs, targets, loss, **{"name": Path(path).stem, **options})

    @classmethod
    def from_sklearn(cls, estimator: Any, X: Any, y: Any, **options: Any) -> Problem:
        """Continue from a fitted MLPRegressor or MLPClassifier of scikit-learn.

        `initial_weights` are the fitted ones, whatever the seed. `outputs` are logits: `predict_proba` is their
        softmax (more than two classes) or sigmoid (two classes, or several labels a sample); of a regression they are
        `predict`, or its logarithm for the Poisson loss.

        Parameters
        ----------
        estimator : MLPRegressor or MLPClassifier
            Fitted. Of a pipeline pass the last step, and X transformed by those before.
        X : array (B, features)
        y : array (B,) or (B, k)
            Targets, or labels the estimator was fitted on; `problem.targets` holds class numbers.
        **options
            Further options of `Problem`. `weight_decay` is `alpha/B` unless given.

        Notes
        -----
        The energy is the function whose gradient scikit-learn follows on a batch of all B samples, with two
        differences: scikit-learn does not decay intercepts, so the gradients differ by `alpha/B` times the offsets;
        and its reported loss divides the squared error by the number of outputs as well, which its gradient does not.

        Raises
        ------
        InputError
            If the estimator is another one or is not fitted, or a label is unknown to it.
        """
        parts = read_sklearn(estimator, y)
        defaults = {"weight_decay": parts.weight_decay, "name": type(estimator).__name__}
        return cls(parts.modules, X, parts.targets, parts.loss, **{**defaults, **options})

    def __repr__(self) -> str:
        return (
            f"Problem({self.name!r}: {len(self.modules)} modules, {self.size} weights, {self.samples} samples, "
            f"{self.loss.name})"
        )

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the weights of each module lie in the flat vector."""
        ends = np.cumsum([module.weight_size for module in self.modules])
        return tuple(
            slice(int(end) - module.weight_size, int(end)) for module, end in zip(self.modules, ends, strict=True)
        )

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name a module, with its place in the chain, as tables show it."""
        return tuple(f"{index} {module.label}" for index, module in enumerate(self.modules, start=1))

    def initial_weights(self, seed: int = 0) -> np.ndarray:
        """Draw starting weights `(n,)`, module by module, from one generator with this seed, a whole number >= 0."""
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
            raise InputError(f"seed must be a whole number >= 0, got {seed!r}")
        rng = np.random.default_rng(seed)
        return np.concatenate([_drawn(module, rng) for module in self.modules])

    def unflatten(self, w: Any) -> list[np.ndarray]:
        """Split weights `(..., n)` into one piece `(..., n_a)` a module."""
        w = self.check_weights(w)
        return [w[..., piece] for piece in self.slices]

    def check_weights(self, w: Any, what: str = "weights") -> np.ndarray:
        """Return `w` as a finite float array `(..., n)`.

        Raises
        ------
        InputError
            If the last axis is not n long, or a number is not finite.
        """
        try:
            array = np.asarray(w, dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what} must be {self.size} numbers, got {type(w).__name__}: {error}") from None
        if array.ndim == 0 or array.shape[-1] != self.size:
            raise InputError(f"{what} must have length {self.size}, got shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{what} must be finite, got {array[~np.isfinite(array)][0]}")
        return array

    def outputs(self, w: Any) -> np.ndarray:
        """Evaluate the chain: weights `(..., n)` give outputs `(..., B, out_size)`."""
        z = self.inputs
        for module, piece in zip(self.modules, self.unflatten(w), strict=True):
            z = module.forward(NUMPY, piece, z)
        return z

    def energy(self, w: Any) -> Any:
        """Return E(w): a float for weights `(n,)`, an array `(...)` for `(..., n)`."""
        w = self.check_weights(w)
        losses = self.loss.value(NUMPY, self.outputs(w), self.target_array)
        energy = losses.mean(axis=-1) + 0.5 * self.weight_decay * (w * w).sum(axis=-1)
        return float(energy) if w.ndim == 1 else energy

    def gradient(self, w: Any) -> np.ndarray:
        """Return dE/dw, of the shape of `w (..., n)`, by backpropagation."""
        return adjoints(self, w).gradient


def _weight_decay(value: Any) -> float:
    if not (isinstance(value, numbers.Real) and 0 <= float(value) < np.inf):
        raise InputError(f"weight_decay must be a finite number >= 0, got {value!r}")
    return float(value)


def _inputs(inputs: Any, targets: Any, first: Module) -> np.ndarray:
    if inputs is None:
        if first.in_size:
            raise InputError(f"inputs are None, but the first module {first!r} takes {first.in_size} inputs")
        return np.zeros((1 if targets is None else len(np.atleast_1d(targets)), 0))
    array = as_samples("inputs", inputs)
    if array.shape[1] != first.in_size:
        raise InputError(
            f"inputs must have {first.in_size} columns, what the first module {first!r} takes; got {array.shape[1]}"
        )
    if len(array) == 0:
        raise InputError("inputs must hold at least one sample, got none")
    return array


def _mass(mass: Any, problem: Problem) -> np.ndarray:
    """Resolve the masses of problem and modules to one vector `(n,)`."""
    parts = list(zip(problem.labels, problem.modules, strict=True))
    if isinstance(mass, (list, tuple)) and len(mass) == len(parts) != problem.size:
        default = np.concatenate(
            [
                positive(f"mass of module {label}", entry, module.weight_size)
                for (label, module), entry in zip(parts, mass, strict=True)
            ]
        )
    else:
        default = positive("mass", mass, problem.size, f" (or a list of {len(parts)}, one entry a module)")
    pieces = [module.mass_vector(default[piece]) for module, piece in zip(problem.modules, problem.slices, strict=True)]
    return np.concatenate(pieces)


def _drawn(module: Module, rng: np.random.Generator) -> np.ndarray:
    weights = np.asarray(module.initial_weights(rng), dtype=float)
    if weights.shape != (module.weight_size,):
        raise InputError(
            f"{module.label}: initial_weights must return {module.weight_size} numbers, got shape {weights.shape}"
        )
    return weights


def _dry_run(problem: Problem) -> None:
    """Evaluate every formula on NumPy, so that a wrong one is named before anything is solved."""
    z, targets = problem.inputs[:2], problem.target_array[:2]
    nodes = np.stack([problem.initial_weights(seed) for seed in (0, 1)])
    with np.errstate(all="ignore"):
        for label, module, piece in zip(problem.labels, problem.modules, problem.slices, strict=True):
            out = _try_module(f"module {label}", module, nodes[:, piece], z)
            _try_derivative(f"module {label}: forward", module.vjp, nodes[0, piece], z, out, np.ones_like(out))
            z = out
        value = np.asarray(problem.loss.value(NUMPY, np.stack([z, z]), targets))
    if value.shape != (2, len(z)):
        raise InputError(
            f"{problem.loss.name}: value returned shape {value.shape} for outputs {(2, *z.shape)}, "
            f"expected one number a sample, {(2, len(z))}"
        )
    with np.errstate(all="ignore"):
        _try_derivative(f"{problem.loss.name}: value", problem.loss.gradient, z, targets)


def _try_derivative(what: str, derivative: Callable[..., Any], *point: np.ndarray) -> None:
    """Evaluate a reverse derivative, where a formula that leaves the namespace fails."""
    try:
        derivative(NUMPY, *point)
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise InputError(
            f"{what} cannot be differentiated, {type(error).__name__}: {error}; write it with the functions of ops: "
            "ops.tanh in place of np.tanh, ops.columns(z) in place of z[...]"
        ) from error


def _try_module(what: str, module: Module, nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the module's output at the first of two nodes.

    The two nodes and the samples at once must give what they give one by one, which is also what CasADi evaluates:
    a formula that takes weights or samples apart by hand would mix them silently.
    """
    single = [[np.asarray(module.forward(NUMPY, w, row[None])) for row in z] for w in nodes]
    for out in (out for outs in single for out in outs):
        if out.shape == () and out.item() is None:
            raise InputError(f"{what}: forward returned None; is its `return` missing?")
        if out.shape != (1, module.out_size):
            raise InputError(
                f"{what}: forward returned shape {out.shape} for one sample, expected (1, {module.out_size})"
            )
    expected = np.stack([np.concatenate(outs) for outs in single])
    advice = "take weights apart with ops.unpack and features with ops.columns, both keep leading axes"
    try:
        together = np.asarray(module.forward(NUMPY, nodes, z))
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(f"{what}: forward fails on weights {nodes.shape} of two nodes, {error}; {advice}") from error
    if together.shape not in (expected.shape, expected.shape[1:]):
        raise InputError(
            f"{what}: forward returned shape {together.shape} for weights {nodes.shape} and inputs {z.shape}, "
            f"expected {expected.shape}; {advice}, and ops.repeat_samples(row, z) gives a constant to every sample"
        )
    if not np.allclose(together, expected, equal_nan=True):
        raise InputError(f"{what}: forward mixes the nodes or samples it gets at once; {advice}")
    return expected[0]
