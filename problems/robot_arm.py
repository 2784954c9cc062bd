"""A planar robot arm: modules are its links, weights are its joint angles. No network.

The arm holds a rigid tool with marked points and brings them to given places in the plane. A **sample** is a marked
point: its input is where it sits in the frame of the hand, its target where it should be in the room. The modules run
from the hand to the base, each taking a point from the frame at the end of its link to the frame before its joint:

    z_out = R(angle) (z_in + (length, 0))

so the last output is the point in the room, and the energy is half the mean squared distance of the marked points
from their targets. With two marked points the targets fix place and direction of the hand (its pose).

Source
------
Forward kinematics as a product of joint motions: R. Murray, Z. Li and S. Sastry, A Mathematical Introduction to
Robotic Manipulation, CRC Press 1994, chapter 3.

Known answer
------------
Three links reach a pose in two ways, elbow up and elbow down, by the law of cosines (`postures`); the energy is 0 at
both. The multiplier of a link's equation is the force that the sample's error exerts at that frame, and the gradient
in a joint angle is its torque, summed over the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import actionopt as ao

LENGTHS = (1.0, 0.8, 0.5)  # from the base to the hand
POSE = (0.9, 1.1, 0.4)  # x and y of the hand, and its direction in radians


class Link(ao.Module):
    """A rigid link behind a revolute joint; its one weight is the joint's angle in radians."""

    in_size, out_size, weight_size = 2, 2, 1

    def __init__(self, length: float, name: str | None = None, mass: float | None = None) -> None:
        super().__init__(name=name, mass=mass)
        self.length = length

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        angle = ops.unpack(w, (1,))
        x, y = ops.columns(z)
        x = x + self.length
        cos, sin = ops.cos(angle), ops.sin(angle)
        return ops.concatenate([cos * x - sin * y, sin * x + cos * y])

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0.0, 0.5, 1)


def build(
    lengths: Sequence[float] = LENGTHS,
    pose: Sequence[float] = POSE,
    tool: Sequence[Sequence[float]] = ((0.0, 0.0), (0.3, 0.0)),
    mass: float = 0.1,
) -> ao.Problem:
    """Return the problem of bringing the hand into a pose.

    Parameters
    ----------
    lengths : sequence of float
        Lengths of the links, from the base to the hand. Modules and weights run the other way, hand first.
    pose : (x, y, direction)
        Where the hand should be; its direction in radians, from the x axis.
    tool : sequence of (x, y)
        Marked points in the frame of the hand, one a sample.
    mass : float
        Mass of every joint angle in the metric.
    """
    x, y, direction = pose
    tool = np.asarray(tool, dtype=float)
    targets = tool @ _rotation(direction).T + (x, y)
    links = [Link(length, name=f"Link {place}") for place, length in enumerate(lengths, start=1)]
    return ao.Problem(links[::-1], tool, targets, ao.SquaredError(), mass=mass, name="robot arm")


def postures(lengths: Sequence[float] = LENGTHS, pose: Sequence[float] = POSE) -> tuple[np.ndarray, np.ndarray]:
    """Return the two weight vectors `(3,)`, hand first, with which three links reach a pose: elbow up, elbow down."""
    (upper, fore, hand), (x, y, direction) = lengths, pose
    wrist = np.array([x, y]) - hand * np.array([np.cos(direction), np.sin(direction)])
    cosine = (wrist @ wrist - upper**2 - fore**2) / (2 * upper * fore)
    if abs(cosine) > 1:
        raise ao.InputError(f"links of lengths {tuple(lengths)} do not reach the pose {tuple(pose)}")
    both = []
    for elbow in (-np.arccos(cosine), np.arccos(cosine)):
        shoulder = np.arctan2(wrist[1], wrist[0]) - np.arctan2(fore * np.sin(elbow), upper + fore * np.cos(elbow))
        both.append(np.array([direction - shoulder - elbow, elbow, shoulder]))
    return both[0], both[1]


def _rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


POINTS = dict(zip(("elbow up", "elbow down"), map(tuple, postures()), strict=True))


def draw(ax: Any, problem: ao.Problem, w: np.ndarray) -> None:
    """Draw the arm at joint angles `w`, and where its marked points should be."""
    joint, direction, places = np.zeros(2), 0.0, [np.zeros(2)]
    for link, angle in zip(problem.modules[::-1], w[::-1], strict=True):  # from the base to the hand
        direction += angle
        joint = joint + link.length * np.array([np.cos(direction), np.sin(direction)])
        places.append(joint)
    ax.plot(*np.transpose(places), "o-", lw=3, ms=6, label="arm")
    ax.plot(*problem.outputs(w).T, "s", ms=5, label="marked points")
    ax.plot(*np.asarray(problem.targets).T, "x", ms=8, mew=2, label="where they should be")
    ax.set_aspect("equal")
    ax.legend(fontsize=8)


def known(**options: object) -> dict[str, float]:
    """Return the least energy: the default pose is within reach."""
    return {"energy": 0.0} if options["lengths"] is LENGTHS and options["pose"] is POSE else {}


if __name__ == "__main__":
    from problems._main import main

    main(__file__)
