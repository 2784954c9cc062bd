"""The kinds of metric: which blocks it has, and whether it depends on where it is; asked, not compared by name."""

from __future__ import annotations

from dataclasses import dataclass

from actionopt.backprop import ForwardPass
from actionopt.errors import is_name, unknown_name
from actionopt.metric.block import Block, metric_blocks
from actionopt.problem import Problem


@dataclass(frozen=True)
class Kind:
    """One kind of metric, `G = D + what is pulled back`, D the mass.

    Attributes
    ----------
    name : str
        What users call it.
    together : bool
        Whether it has one block over all weights, rather than one a group.
    pulls_back : bool
        Whether it pulls the output metric back; without, G is the mass alone.
    """

    name: str
    together: bool
    pulls_back: bool

    def constant(self, problem: Problem) -> bool:
        """Whether G is the mass alone, the same at all weights."""
        return not self.pulls_back or problem.output_metric is None

    def tangents(self, problem: Problem) -> list[int] | None:
        """Return the groups whose weights move apart from the others' in `G u`, None where all move at once."""
        moving = [index for index, group in enumerate(problem.groups) if group.size]
        return None if self.together or self.constant(problem) or len(moving) < 2 else moving

    def cuts(self, problem: Problem) -> tuple[slice, ...]:
        """Return where the blocks lie in the flat vector."""
        return (slice(0, problem.size),) if self.together else problem.slices

    def blocks(self, problem: Problem, passed: ForwardPass, check: bool = True) -> list[Block]:
        """Return the blocks, as `metric_blocks`; none where G is the mass alone."""
        return [] if self.constant(problem) else metric_blocks(problem, passed, joint=self.together, check=check)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("layerwise", together=False, pulls_back=True),
        Kind("joint", together=True, pulls_back=True),
        Kind("euclidean", together=False, pulls_back=False),
    )
}
METRICS = tuple(KINDS)


def kind_of(metric: str) -> Kind:
    """Return the kind of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if not is_name(metric, KINDS):
        raise unknown_name("metric", metric, METRICS)
    return KINDS[metric]
