"""Contestants of `benchmarks.train`: each trains from the same weights to the same largest entry of |gradient|."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

import actionopt as ao
from actionopt.backprop import adjoints_of, forward_pass
from actionopt.constrained.energy import Energy
from actionopt.constrained.newton import energy_scale
from actionopt.constrained.task import make_task
from actionopt.constrained.training import transcribe
from actionopt.newton.projected import projected
from actionopt.ops import NUMPY

GRADIENT = 1e-8  # to reach


@dataclass(frozen=True)
class Run:
    """One run: CPU seconds, all of building included, and where it ended."""

    seconds: float
    energy: float
    gradient: float
    success: bool
    status: str


Contestant = Callable[[ao.Problem, np.ndarray], Run]


def _ended(problem: ao.Problem, w: np.ndarray, seconds: float, status: str = "") -> Run:
    """Judge all contestants alike, by the gradient at their weights; twice the tolerance is forgiven."""
    norm = float(abs(problem.gradient(w)).max())
    return Run(seconds, problem.energy(w), norm, norm <= 2.0 * GRADIENT, status)


def newton(problem: ao.Problem, w: np.ndarray) -> Run:
    """`ao.train(solver="newton")`."""
    tol = GRADIENT / energy_scale(problem, w)  # which is relative there
    began = time.process_time()
    solution = ao.train(problem, w, solver="newton", tol=tol, throw=False)
    return _ended(problem, solution.weights, time.process_time() - began, solution.status)


def casadi(solver: str, formulation: str = "lifted", max_iterations: int = 1000) -> Contestant:
    """One of CasADi's solvers, building and solving."""

    def run(problem: ao.Problem, w: np.ndarray) -> Run:
        began = time.process_time()
        solution = ao.train(
            problem, w, solver=solver, formulation=formulation, throw=False, max_iterations=max_iterations
        )
        seconds = time.process_time() - began
        judged = _ended(problem, solution.weights, seconds, solution.status)
        # a lifted point that satisfies the conditions to 1e-8 has a gradient somewhat larger in a deep chain
        arrived = judged.success or (solution.success and judged.gradient <= 1e3 * GRADIENT)
        return Run(seconds, judged.energy, judged.gradient, arrived, solution.status)

    return run


def limited(solver: str, bounds: tuple[float, float] | None = None, solve_alone: bool = False) -> Contestant:
    """`ao.train` within bounds, or of a control problem with its own; judged by the residual that we compute.

    `solve_alone` leaves the building of CasADi's program out of the seconds.
    """

    def run(problem: ao.Problem, w: np.ndarray) -> Run:
        options = {"solver": solver, "bounds": bounds}
        began = time.process_time()
        if solve_alone:
            task = make_task(problem, w, **options, formulation="lifted")
            transcription = transcribe(task)
            began = time.process_time()
            trained = transcription.solve(task.start, task.scale)
            seconds, energy = time.process_time() - began, problem.energy(trained.weights)
            stationarity, ended = trained.nlp.stats["stationarity"], trained.nlp.status
        else:
            found = ao.train(problem, w, **options, throw=False)
            seconds, energy = time.process_time() - began, found.energy
            stationarity, ended = found.stats["stationarity"], found.status
        return Run(seconds, energy, stationarity, ended == "converged", ended)

    return run


def bounded_lbfgsb(bounds: tuple[float, float]) -> Contestant:
    """SciPy's L-BFGS-B within bounds, on the stacked gradient."""

    def run(problem: ao.Problem, w: np.ndarray) -> Run:
        energy = Energy(problem)

        def together(w: np.ndarray) -> tuple[float, np.ndarray]:
            point = energy(w)
            return point.value, point.gradient

        options = {"gtol": GRADIENT, "ftol": 0.0, "maxiter": 30_000, "maxfun": 60_000}
        began = time.process_time()
        found = minimize(together, w, jac=True, method="L-BFGS-B", bounds=[bounds] * w.size, options=options)
        seconds = time.process_time() - began
        low, high = (np.full(w.size, side) for side in bounds)
        norm = float(abs(projected(problem.gradient(found.x), found.x, low, high)).max())
        return Run(seconds, problem.energy(found.x), norm, norm <= 2.0 * GRADIENT, str(found.message))

    return run


def lbfgsb(stacked: bool) -> Contestant:
    """SciPy's L-BFGS-B on our gradient: one forward and one backward pass a value.

    `stacked` says whether equal modules are stacked, as in all of actionopt now, or walked through one by one.
    """

    def run(problem: ao.Problem, w: np.ndarray) -> Run:
        energy = Energy(problem)

        def together(w: np.ndarray) -> tuple[float, np.ndarray]:
            point = energy(w)
            return point.value, point.gradient

        def one_by_one(w: np.ndarray) -> tuple[float, np.ndarray]:
            passed = forward_pass(problem, w)
            losses = problem.network.values(NUMPY, passed.states)
            value = float(losses.mean()) + 0.5 * problem.weight_decay * float(w @ w)
            return value, adjoints_of(problem, passed).gradient

        options = {"gtol": GRADIENT, "ftol": 0.0, "maxiter": 30_000, "maxfun": 60_000}
        began = time.process_time()
        found = minimize(together if stacked else one_by_one, w, jac=True, method="L-BFGS-B", options=options)
        return _ended(problem, found.x, time.process_time() - began, str(found.message))

    return run


def torch_lbfgs(problem: ao.Problem, w: np.ndarray) -> Run:
    """`torch.optim.LBFGS` with its strong Wolfe search on dense layers in float64, one thread."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    layers: list[torch.nn.Module] = []
    for module, piece in zip(problem.modules, problem.unflatten(w), strict=True):
        layer = torch.nn.Linear(module.in_size, module.out_size)
        cut = module.in_size * module.out_size
        layer.weight.data = torch.from_numpy(piece[:cut].reshape(module.out_size, module.in_size).copy())
        layer.bias.data = torch.from_numpy(piece[cut:].copy())
        layers += [layer, torch.nn.Tanh()] if module.activation == "tanh" else [layer]
    net = torch.nn.Sequential(*layers)
    x = torch.from_numpy(problem.inputs)
    labels = torch.from_numpy(np.asarray(problem.target_array).argmax(axis=1))
    parameters = list(net.parameters())
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=20_000, max_eval=40_000, tolerance_grad=GRADIENT, tolerance_change=0.0,
        history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        loss = loss + 0.5 * problem.weight_decay * sum((p * p).sum() for p in parameters)
        loss.backward()
        return loss

    began = time.process_time()
    optimiser.step(closure)
    seconds = time.process_time() - began
    end = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    return _ended(problem, end, seconds)
