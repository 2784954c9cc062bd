"""How the minimum action of a small network is found without actionopt: by hand in CasADi, rockit and SciPy.

Nothing here imports actionopt. Each contestant gets a `Case`, builds what it needs, solves, and returns the trajectory.
All minimise the same midpoint action of tanh networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg


@dataclass(frozen=True)
class Case:
    """A tanh network with linear output, its data, and what is asked of its trajectory.

    `labels` are class numbers for softmax cross-entropy, None for squared error. With `end` None the end is free and
    the metric is the layerwise one with the given mass and the Fisher output metric; with an end G = mass I.
    """

    name: str
    sizes: tuple[int, ...]
    inputs: np.ndarray
    targets: np.ndarray
    labels: np.ndarray | None
    start: np.ndarray
    end: np.ndarray | None
    horizon: float
    steps: int
    mass: float = 1.0

    @property
    def size(self) -> int:
        return len(self.start)

    @property
    def h(self) -> float:
        return self.horizon / self.steps

    @property
    def line(self) -> np.ndarray:
        """The straight line between the ends, the start alone where the end is free: `(N+1, n)`."""
        end = self.start if self.end is None else self.end
        return self.start + np.linspace(0.0, 1.0, self.steps + 1)[:, None] * (end - self.start)


@dataclass(frozen=True)
class Answer:
    """What a contestant found: points `(N+1, n)`, seconds to build and to solve, iterations, and its own status."""

    points: np.ndarray
    build: float
    solve: float
    iterations: int
    status: str


def pieces(sizes: tuple[int, ...]) -> list[tuple[slice, tuple[int, int], slice]]:
    """Where the matrix (row-major, with its shape) and the offset of each layer lie in the weights."""
    out, start = [], 0
    for columns, rows in pairwise(sizes):
        middle = start + rows * columns
        out.append((slice(start, middle), (rows, columns), slice(middle, middle + rows)))
        start = middle + rows
    return out


# SciPy: L-BFGS-B with the gradient of all stages at once, in closed form


def scipy_fixed(case: Case, memory: int = 20) -> Answer:
    """L-BFGS-B on the free points; closed-form batched gradient of a 2-H-1 network."""
    began = time.perf_counter()
    stages = two_layer_stages(case)
    n, h, points = case.size, case.h, case.line.copy()

    def action(x: np.ndarray) -> tuple[float, np.ndarray]:
        points[1:-1] = x.reshape(-1, n)
        value, force, momentum = stages(0.5 * (points[1:] + points[:-1]), (points[1:] - points[:-1]) / h)
        gradient = 0.5 * h * (force[1:] + force[:-1]) + momentum[:-1] - momentum[1:]
        return h * value.sum(), gradient.ravel()

    built = time.perf_counter()
    limits = {"gtol": 1e-8, "ftol": 0.0, "maxiter": 100_000, "maxfun": 1_000_000, "maxcor": memory}
    found = minimize(action, case.line[1:-1].ravel(), jac=True, method="L-BFGS-B", options=limits)
    solved = time.perf_counter()
    points[1:-1] = found.x.reshape(-1, n)
    return Answer(points, built - began, solved - built, found.nit, f"|gradient| {abs(found.jac).max():.0e}")


def two_layer_stages(case: Case) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return l, dl/dw and dl/dv of all stages `w, v (M, n)` for a 2-H-1 network with squared error and G = I.

    With c = v + g: l = |c|^2 / 2, dl/dv = c, dl/dw = (Hessian of E) c, all written out by hand.
    """
    assert len(case.sizes) == 3
    assert case.sizes[-1] == case.mass == 1
    x, y, samples = case.inputs, case.targets[:, 0], len(case.inputs)
    (m1, shape, o1), (m2, _, o2) = pieces(case.sizes)

    def stages(w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, second = w[:, m1].reshape(-1, *shape), w[:, None, m2]
        a = np.tanh(x @ first.swapaxes(1, 2) + w[:, None, o1])
        slope = 1.0 - a * a
        residual = (a @ second.swapaxes(1, 2) + w[:, None, o2] - y[:, None]) / samples
        back = residual * second
        delta = back * slope
        c = v + _joined(delta, x, residual, a)
        tangent = slope * (x @ c[:, m1].reshape(-1, *shape).swapaxes(1, 2) + c[:, None, o1])
        moved = (tangent @ second.swapaxes(1, 2) + a @ c[:, None, m2].swapaxes(1, 2) + c[:, None, o2]) / samples
        bent = (moved * second + residual * c[:, None, m2]) * slope - 2.0 * back * a * tangent
        force = _joined(bent, x, moved, a)
        force[:, m2] += (residual.swapaxes(1, 2) @ tangent)[:, 0]
        return 0.5 * (c * c).sum(axis=1), force, c

    return stages


def _joined(delta: np.ndarray, x: np.ndarray, residual: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Gradient `(M, n)` from the adjoints of both layers."""
    first = (delta.swapaxes(1, 2) @ x).reshape(len(delta), -1)
    second = (residual.swapaxes(1, 2) @ a)[:, 0]
    return np.concatenate([first, delta.sum(axis=1), second, residual.sum(axis=1)], axis=1)


# CasADi: one MX stage function, mapped over the steps


def outputs(case: Case, w: list[ca.MX]) -> ca.MX:
    """The network's outputs `(d, B)` from one symbol a layer."""
    z, samples = ca.DM(case.inputs.T), len(case.inputs)
    last = len(case.sizes) - 2
    for layer, (columns, rows) in enumerate(pairwise(case.sizes)):
        matrix = ca.reshape(w[layer][: rows * columns], columns, rows).T
        pre = ca.mtimes(matrix, z) + ca.repmat(w[layer][rows * columns :], 1, samples)
        z = pre if layer == last else ca.tanh(pre)
    return z


def symbols(case: Case) -> list[ca.MX]:
    return [ca.MX.sym(f"w{a}", o.stop - m.start) for a, (m, _, o) in enumerate(pieces(case.sizes))]


def energy(case: Case, y: ca.MX) -> ca.MX:
    """Mean loss of outputs `(d, B)`."""
    samples = len(case.inputs)
    if case.labels is None:
        return 0.5 * ca.sumsqr(y - case.targets.T) / samples
    columns = ca.horzsplit(y)
    return sum(ca.logsumexp(c) - c[int(k)] for c, k in zip(columns, case.labels, strict=True)) / samples


def gradient_function(case: Case) -> ca.Function:
    """`g(w)`."""
    w = symbols(case)
    value, whole = energy(case, outputs(case, w)), ca.MX.sym("w", case.size)
    g = ca.Function("g", w, [ca.gradient(value, part) for part in w])
    parts = g(*ca.vertsplit(whole, [0, *np.cumsum([part.numel() for part in w]).tolist()]))
    return ca.Function("g", [whole], [ca.vertcat(*parts)])


def casadi_fixed(case: Case, hessian: str = "exact", limit: float = 100.0) -> Answer:
    """Minimise over the free points with ipopt; one mapped stage function `(w, v) -> 1/2 |v + g|^2`."""
    began = time.perf_counter()
    n, steps, h = case.size, case.steps, case.h
    w, v = ca.MX.sym("w", n), ca.MX.sym("v", n)
    stage = ca.Function("stage", [w, v], [0.5 * ca.sumsqr(v + gradient_function(case)(w))]).map(steps)
    free = ca.MX.sym("x", n, steps - 1)
    points = ca.horzcat(case.start, free, case.end)
    middle, velocity = 0.5 * (points[:, 1:] + points[:, :-1]), (points[:, 1:] - points[:, :-1]) / h
    nlp = {"x": ca.vec(free), "f": h * ca.sum2(stage(middle, velocity))}
    solver = ca.nlpsol("solver", "ipopt", nlp, ipopt_options(hessian, limit))
    built = time.perf_counter()
    found = solver(x0=case.line[1:-1].ravel())
    solved = time.perf_counter()
    inner = found["x"].full().reshape(steps - 1, n)
    stats = solver.stats()
    points = np.concatenate([case.start[None], inner, case.end[None]])
    return Answer(points, built - began, solved - built, stats["iter_count"], stats["return_status"])


def ipopt_options(hessian: str, limit: float) -> dict[str, Any]:
    options = {"tol": 1e-8, "print_level": 0, "sb": "yes", "max_iter": 3000, "max_cpu_time": limit}
    if hessian == "limited-memory":
        options["hessian_approximation"] = "limited-memory"
    return {"ipopt": options, "print_time": False}


def metric_product(case: Case) -> ca.Function:
    """`(w, u) -> G(w) u`, layerwise with the Fisher output metric: a tangent and an adjoint a layer."""
    parts, moves = symbols(case), [ca.MX.sym(f"u{a}", part.numel()) for a, part in enumerate(symbols(case))]
    y = outputs(case, parts)
    rows = []
    for part, move in zip(parts, moves, strict=True):
        pushed = ca.jtimes(y, part, move) / len(case.inputs)
        if case.labels is not None:
            level = ca.horzcat(*[ca.logsumexp(column) for column in ca.horzsplit(y)])
            p = ca.exp(y - ca.repmat(level, y.shape[0], 1))
            pushed = p * pushed - p * ca.repmat(ca.sum1(p * pushed), y.shape[0], 1)
        rows.append(case.mass * move + ca.jtimes(ca.vec(y), part, ca.vec(pushed), True))
    product = ca.Function("Gu", [*parts, *moves], [ca.vertcat(*rows)])
    w, u = ca.MX.sym("w", case.size), ca.MX.sym("u", case.size)
    cuts = [0, *np.cumsum([part.numel() for part in parts]).tolist()]
    return ca.Function("Gu", [w, u], [product(*ca.vertsplit(w, cuts), *ca.vertsplit(u, cuts))])


def casadi_flow(case: Case, hessian: str = "exact", limit: float = 100.0) -> Answer:
    """Free end, layerwise metric: the flow's velocity u is a variable, `G u + g = 0` a constraint at every stage.

    `hessian` is "exact", "limited-memory" or "gauss-newton", which freezes G in `1/2 (v - u)^T G (v - u)`.
    """
    began = time.perf_counter()
    n, steps, h = case.size, case.steps, case.h
    product, g = metric_product(case), gradient_function(case)
    w, u, r = ca.MX.sym("w", n), ca.MX.sym("u", n), ca.MX.sym("r", n)
    cost = ca.Function("cost", [w, r], [0.5 * ca.dot(r, product(w, r))]).map(steps)
    law = ca.Function("law", [w, u], [product(w, u) + g(w)]).map(steps)
    free = ca.MX.sym("x", 2 * n, steps)  # per step: u, then the point it leads to
    points, flows = ca.horzcat(case.start, free[n:, :]), free[:n, :]
    middle, gap = 0.5 * (points[:, 1:] + points[:, :-1]), (points[:, 1:] - points[:, :-1]) / h - flows
    x = ca.vec(free)
    nlp = {"x": x, "f": h * ca.sum2(cost(middle, gap)), "g": ca.vec(law(middle, flows))}
    options = ipopt_options(hessian, limit)
    if hessian == "gauss-newton":
        # h J^T G J with v - u = J x + const, J sparse and constant, G of every stage side by side
        by_velocity = ca.Function("G", [w, u], [ca.densify(ca.jacobian(product(w, u), u))])
        dense = ca.Function("G", [w], [by_velocity(w, ca.DM.zeros(n))]).map(steps)
        law_of_gap = ca.DM(ca.Function("J", [x], [ca.jacobian(ca.vec(gap), x)])(0))
        columns = ca.Function("middle", [free], [middle])(ca.reshape(x, 2 * n, steps))
        blocks = ca.diagcat(*ca.horzsplit(dense(columns), n))
        curved = h * ca.mtimes(law_of_gap.T, ca.mtimes(blocks, law_of_gap))
        scale = ca.MX.sym("scale")
        arguments = [x, ca.MX.sym("p", 0), scale, ca.MX.sym("multipliers", n * steps)]
        options["hess_lag"] = ca.Function("hess_lag", arguments, [ca.triu(scale * curved)])
    solver = ca.nlpsol("solver", "ipopt", nlp, options)
    built = time.perf_counter()
    guess = np.tile(np.concatenate([np.zeros(n), case.start]), steps)
    found = solver(x0=guess, lbg=0, ubg=0)
    solved = time.perf_counter()
    inner = found["x"].full().reshape(steps, 2 * n)[:, n:]
    stats = solver.stats()
    points = np.concatenate([case.start[None], inner])
    return Answer(points, built - began, solved - built, stats["iter_count"], stats["return_status"])


# rockit: the same action as a discrete-time problem, w_{k+1} = w_k + h v_k


def rockit_fixed(case: Case, limit: float = 100.0) -> Answer:
    from rockit import MultipleShooting, Ocp

    began = time.perf_counter()
    n, h = case.size, case.h
    ocp = Ocp(T=case.horizon)
    w, v = ocp.state(n), ocp.control(n)
    ocp.set_next(w, w + h * v)
    ocp.add_objective(ocp.sum(0.5 * h * ca.sumsqr(v + gradient_function(case)(w + 0.5 * h * v))))
    ocp.subject_to(ocp.at_t0(w) == case.start)
    ocp.subject_to(ocp.at_tf(w) == case.end)
    ocp.set_initial(w, case.line[:-1].T)
    ocp.set_initial(v, (case.end - case.start) / case.horizon)
    ocp.solver("ipopt", ipopt_options("exact", limit))
    ocp.method(MultipleShooting(N=case.steps))
    ocp.transcribe()
    built = time.perf_counter()
    solution = ocp.solve()
    solved = time.perf_counter()
    points = np.asarray(solution.sample(w, grid="control")[1])
    stats = ocp._method.opti.stats() if hasattr(ocp, "_method") else {}
    return Answer(points, built - began, solved - built, stats.get("iter_count", -1), stats.get("return_status", ""))


# What everybody's answer is judged by


def midpoint_action(case: Case, points: np.ndarray, layerwise: bool = False) -> float:
    """The midpoint action of points `(N+1, n)`, stage by stage: G and g by CasADi, G^{-1} dense (CG where n is large).

    G is the layerwise metric where the end is free or `layerwise` says so, the mass otherwise.
    """
    g, product = gradient_function(case), metric_product(case) if layerwise or case.end is None else None
    total = 0.0
    for before, after in pairwise(points):
        middle, velocity = 0.5 * (before + after), (after - before) / case.h
        slope = g(middle).full()[:, 0]
        if product is None:
            c, solve = case.mass * velocity + slope, lambda c: c / case.mass
        elif case.size <= 300:
            columns = product.map("columns", "serial", case.size, [0], [])(middle, np.eye(case.size)).full()
            c, solve = columns @ velocity + slope, partial(np.linalg.solve, columns)
        else:
            metric = LinearOperator((case.size,) * 2, lambda u, w=middle: product(w, u).full()[:, 0], dtype=float)
            c, solve = metric @ velocity + slope, lambda c, metric=metric: cg(metric, c, rtol=1e-12)[0]
        total += 0.5 * case.h * c @ solve(c)
    return float(total)
