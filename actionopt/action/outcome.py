"""What is said of a computed flow: status, message, and advice that fits its method."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from actionopt.action.certificate.certificate import FlowCertificate, certify_flow
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.explicit import EXPLICIT, INTERRUPTED, SOLVE_IVP

if TYPE_CHECKING:
    from actionopt.action.trajectory import Trajectory

L_STABLE = ("radau5", "radau3", "Radau", "BDF", "LSODA")


def flow_outcome(trajectory: Trajectory, failure: str | None, certificate: FlowCertificate | None) -> tuple[str, str]:
    """Return status and message of a flow that ended, early where there is a failure."""
    time, method = trajectory.times[-1], str(trajectory.stats.get("method"))
    if failure == INTERRUPTED:
        return INTERRUPTED, f"interrupted at t = {time:.4g}; this is the flow so far. Continue from its last weights"
    if failure is not None:
        where = "did not take its first step" if len(trajectory.times) == 1 else f"stopped at t = {time:.4g}"
        return "diverged", f"the flow {where}: {failure}. {_remedy(method)}"
    message = f"the flow reached its horizon{_in_parts(trajectory)}"
    if certificate is None:
        return "converged", message
    if certificate.resolved:
        return "converged", f"{message}, {distance_said(trajectory)}"
    return "underresolved", f"{message}, but is {distance_said(trajectory)}{_worst(trajectory)}. {_finer(method)}"


def certified_minimiser(trajectory: Trajectory, density: GradientFlowDensity) -> Trajectory:
    """Say of a minimiser of the discrete action with a free end, which is a flow, how far it is from the true one."""
    certificate = certify_flow(density, trajectory.times, trajectory.weights)
    found = replace(trajectory, distance=certificate.distance, step_certificates=certificate.step_actions)
    return replace(found, message=f"{found.message}; as a flow it is {distance_said(found)}")


def distance_said(trajectory: Trajectory) -> str:
    """Say how far a certified flow is from the true one."""
    assert trajectory.distance is not None
    distance = trajectory.distance
    if not np.isfinite(distance.max()):
        return "at an unknown distance from the true flow"
    largest = f", {distance.max():.1e} at most on the way" if distance.max() > 2.0 * distance[-1] else ""
    return f"within {distance[-1]:.1e} of the true flow at its end (estimated, in the metric){largest}"


def _worst(trajectory: Trajectory) -> str:
    """Say where the defect is largest."""
    assert trajectory.step_certificates is not None
    worst = int(trajectory.step_certificates.argmax())
    return f"; the defect is largest from t = {trajectory.times[worst]:.4g} to {trajectory.times[worst + 1]:.4g}"


def _in_parts(trajectory: Trajectory) -> str:
    parts, explicit = (int(trajectory.stats.get(name, 0)) for name in ("in_parts", "explicit"))
    if not parts:
        return ""
    how = f", {explicit} of them by explicit steps in places" if explicit else ""
    return f" ({parts} of its steps taken in parts, as where relu or abs has a kink{how})"


def _remedy(method: str) -> str:
    """Advise where a flow stopped."""
    if method in L_STABLE:
        return "Take more steps, a larger mass or a shorter horizon"
    return 'Take more steps, a larger mass or an L-stable method ("radau5", the default, or "Radau")'


def _finer(method: str) -> str:
    """Advise where a flow is underresolved."""
    if method in SOLVE_IVP:
        return "Lower tol"
    graded = 'give times= that are close together where it moves fast, or let method="Radau" choose them'
    if method in (*EXPLICIT, "implicit_midpoint", "gauss2"):
        return f'Take more steps or the default method, "radau5"; or {graded}'
    return f"Take more steps; or {graded}"
