"""What is said of a computed flow: status, message, and advice that fits its method.

What certifies it is computed when somebody asks: no flow says "converged" before it was checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from actionopt.action.certificate.certificate import FlowCertificate
from actionopt.action.explicit import EXPLICIT, INTERRUPTED, SOLVE_IVP
from actionopt.action.trajectory_data import TrajectoryData

Found = TypeVar("Found", bound=TrajectoryData)
Certify = Callable[[], FlowCertificate]

L_STABLE = ("radau5", "radau3", "Radau", "BDF", "LSODA")


CERTIFIED = ("distance", "step_certificates")
UNCERTIFIED: dict[str, Any] = dict.fromkeys(CERTIFIED)
JUDGED = (*CERTIFIED, "success", "status", "message")


def judged_flow(flow: Found, failure: str | None, certify: Certify | None) -> Found:
    """Give a flow that ended, early where there is a failure, its status and message.

    Parameters
    ----------
    flow : trajectory
    failure : str or None
        What stopped it.
    certify : callable or None
        Asked for the certificate when that, or a status that depends on it, is asked for; None where nobody shall be.
    """
    if failure is not None:
        flow = replace(flow, **_stopped(flow, failure))
        return flow if certify is None else flow.deferred(lambda: _certified(certify()), CERTIFIED)
    reached, method = f"the flow reached its horizon{_in_parts(flow)}", str(flow.stats.get("method"))
    if certify is None:
        return replace(flow, **_verdict("converged", reached))

    def judge() -> dict[str, Any]:
        found = certify()
        said = distance_said(found)
        if found.resolved:
            return _certified(found) | _verdict("converged", f"{reached}, {said}")
        return _certified(found) | _verdict(
            "underresolved", f"{reached}, but is {said}{_worst(flow, found)}. {_finer(method)}"
        )

    return flow.deferred(judge, JUDGED)


def judged_minimiser(least: Found, certify: Certify) -> Found:
    """Say of a minimiser of the discrete action with a free end, which is a flow, how far it is from the true one."""

    def judge() -> dict[str, Any]:
        found = certify()
        said = f"{least.message}; as a flow it is {distance_said(found)}"
        if found.resolved or least.status != "converged":
            return _certified(found) | _verdict(least.status, said)
        return _certified(found) | _verdict("underresolved", f"{said}{_worst(least, found)}. {_finer('radau5')}")

    return least.deferred(judge, JUDGED)


def judged_or_interrupted(found: Found) -> Found:
    """Ask for status and message; Ctrl-C, which ends a certificate, keeps the trajectory without one."""
    try:
        _ = found.status
    except KeyboardInterrupt:
        said = _verdict(INTERRUPTED, "interrupted before it was certified: its distance to the true flow is unknown")
        return replace(found, **UNCERTIFIED, **said)
    return replace(found, **UNCERTIFIED) if found.status == INTERRUPTED else found


def distance_said(certificate: FlowCertificate) -> str:
    """Say how far a certified flow is from the true one."""
    distance = certificate.distance
    if not np.isfinite(distance.max()):
        return "at an unknown distance from the true flow"
    largest = f", {distance.max():.1e} at most on the way" if distance.max() > 2.0 * distance[-1] else ""
    return f"within {distance[-1]:.1e} of the true flow at its end (estimated, in the metric){largest}"


def _certified(certificate: FlowCertificate) -> dict[str, Any]:
    return {"distance": certificate.distance, "step_certificates": certificate.step_actions}


def _verdict(status: str, message: str) -> dict[str, Any]:
    return {"success": status == "converged", "status": status, "message": message}


def _stopped(flow: TrajectoryData, failure: str) -> dict[str, Any]:
    time, method = flow.times[-1], str(flow.stats.get("method"))
    if failure == INTERRUPTED:
        said = f"interrupted at t = {time:.4g}; this is the flow so far. Continue from its last weights"
        return _verdict(INTERRUPTED, said)
    where = "did not take its first step" if len(flow.times) == 1 else f"stopped at t = {time:.4g}"
    return _verdict("diverged", f"the flow {where}: {failure}. {_remedy(method)}")


def _worst(trajectory: TrajectoryData, certificate: FlowCertificate) -> str:
    """Say where the defect is largest."""
    worst = int(certificate.step_actions.argmax())
    return f"; the defect is largest from t = {trajectory.times[worst]:.4g} to {trajectory.times[worst + 1]:.4g}"


def _in_parts(trajectory: TrajectoryData) -> str:
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
