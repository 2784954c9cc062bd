"""The search for the path of least action: many guesses, few survivors, one mesh after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from actionopt.paths.attractor import Limit, follow
from actionopt.paths.escape import escape
from actionopt.paths.geometric import action_density
from actionopt.paths.guesses import Guess, grid_ways, instanton, line, one_turn_more, strings
from actionopt.paths.pins import cheaper
from actionopt.paths.refine import begin, refine, settle, start
from actionopt.paths.release import released
from actionopt.paths.resolved import Resolved
from actionopt.paths.second_variation import lowest
from actionopt.paths.system import System

# how far above the least action candidates are kept, and how many, from one mesh to the next
KEPT = ((1.5, 5), (1.2, 4), (1.02, 3), (1.002, 2))
SAME = 0.03  # distance of two paths, relative to their length, below which they are one
UNDERCUT = 1e-4  # how far below the least converged action, relative to it, a path must lie that does not converge
TWINS = 1e-6  # difference of action, relative, of two paths that a symmetry takes into each other
HOPELESS = 4.0  # times the least action so far, above which a guess is not tried
TURNS = 6  # turns of a cycle that are tried
PAYS = 1e-7  # fall of the action, relative to it, for which another turn is kept
CYCLE_ELEMENTS = 50  # elements for the first solutions of paths that go round


@dataclass(eq=False)
class Candidate:
    """A path that was found, on its finest mesh so far."""

    name: str
    found: Resolved
    history: list[float] = field(default_factory=list)
    turned: float = 0.0

    @property
    def action(self) -> float:
        """Its action."""
        return self.found.action

    @property
    def cost(self) -> float:
        """What candidates are compared by: their action, or that of the curve, which no kink in an element lowers."""
        return max(self.action, self.found.path.curve_action)

    @property
    def change(self) -> float:
        """How far its action moved with the last doubling of the elements, at least an eighth of that before."""
        if len(self.history) < 2:
            return np.inf
        steps = np.abs(np.diff(self.history))
        return float(max(steps[-1], steps[-2] / 8.0 if len(steps) > 1 else 0.0))


@dataclass(frozen=True)
class Ends:
    """Where a search starts and ends, and what the flow does from there."""

    start: np.ndarray
    end: np.ndarray
    limit: Limit

    @property
    def base(self) -> np.ndarray:
        """Where the paths leave: the start, or the attractor that the flow takes it to."""
        return self.start if self.limit.at_once else self.limit.approach[-1]


def make_ends(system: System, first: np.ndarray, last: np.ndarray) -> Ends:
    """Follow the flow from the start."""
    reach = float(np.linalg.norm(last - first))
    return Ends(first, last, follow(system, first, reach) if system.size > 1 else Limit("critical point", first[None]))


def search(
    system: System,
    ends: Ends,
    curves: Sequence[Guess] | None,
    elements: Sequence[int],
    starts: int,
    tol: float,
    seed: int,
    leave: bool = True,
) -> list[Candidate]:
    """Return the candidates, least action first; those that fell out on a coarse mesh come last, as they were there.

    `curves` replace the guesses of `all_guesses`; unless `leave`, a path that is a saddle of the action is kept.
    """
    coarse = elements[0] if ends.limit.orbit is None else max(elements[0], min(CYCLE_ELEMENTS, elements[-1]))
    guesses = curves if curves is not None else all_guesses(system, ends, starts, seed)
    begun: list[Candidate] = []
    for guess in sorted(guesses, key=lambda guess: _cost(system, guess)):
        least = min((c.cost for c in begun if c.found.converged), default=np.inf)
        found = begin(system, guess.curve, coarse) if _cost(system, guess) <= HOPELESS * least else None
        if found is not None and np.isfinite(found.action):
            begun.append(Candidate(guess.name, found))
    alive, dropped = _survivors(_distinct(begun), *KEPT[0], settled=False)
    for candidate in alive:
        candidate.found = settle(system, candidate.found, coarse)
    alive, dropped = _next(alive, dropped, KEPT[1])
    if leave:
        for candidate in alive:
            _leave_saddles(system, candidate, coarse)
    alive, dropped = _next(alive, dropped, KEPT[1])
    for level, count in enumerate(elements):
        for candidate in alive:
            if level > 0 or count != coarse:
                candidate.found = refine(system, candidate.found, count, tol)
            candidate.history.append(candidate.action)
            if level == 0:
                _let_go(system, candidate, elements[:1], tol)
        alive, dropped = _next(alive, dropped, KEPT[min(level + 1, len(KEPT) - 1)])
    if alive:
        _let_go(system, alive[0], elements, tol)
    if ends.limit.orbit is not None and ends.limit.at_once:
        alive = [_turned(system, ends, candidate, elements, tol) for candidate in alive]
        alive, dropped = _next(alive, dropped, KEPT[-1])
    return alive + sorted(dropped, key=lambda candidate: candidate.cost)


def _cost(system: System, guess: Guess) -> float:
    """Action of a guess as it is; infinite where drift or noise are not sound on it."""
    middle, steps = 0.5 * (guess.curve[1:] + guess.curve[:-1]), np.diff(guess.curve, axis=0)
    cost = float(action_density(system, middle, steps).sum())
    return cost if np.isfinite(cost) else np.inf


def _next(
    alive: list[Candidate], dropped: list[Candidate], keep: tuple[float, int]
) -> tuple[list[Candidate], list[Candidate]]:
    alive, out = _survivors(_distinct(alive), *keep)
    single = [c for i, c in enumerate(alive) if not any(_twins(c, other) for other in alive[:i])]
    return single, dropped + out + [c for c in alive if c not in single]


def _twins(a: Candidate, b: Candidate) -> bool:
    """Whether two paths are images of each other, as their equal action and length tell: one of them is enough."""
    equal = abs(a.action - b.action) <= TWINS * max(abs(a.action), 1e-3 * a.found.path.gross)
    return equal and abs(a.found.path.length - b.found.path.length) <= TWINS**0.5 * a.found.path.length


def all_guesses(system: System, ends: Ends, starts: int, seed: int) -> list[Guess]:
    """List the guesses for a system; where the start is no attractor, also those through where the flow takes it."""
    first, last = ends.start, ends.end
    guesses = [line(first, last)]
    if system.size == 1:
        return guesses
    base = ends.base
    through: list[Guess] = [] if ends.limit.at_once else [line(base, last)]
    known = [first[None], last[None], ends.limit.approach]
    if ends.limit.orbit is not None:
        known.append(ends.limit.orbit)
    else:
        curve = instanton(system, base, last)
        if curve is not None:
            through.append(curve)
            known.append(curve.curve)
    if system.size == 2:
        through += grid_ways(system, base, last[None], np.concatenate(known))[0]
    elif starts > 0:
        through += strings(system, base, last, starts, seed)
    if not ends.limit.at_once and system.size == 2:
        guesses += grid_ways(system, first, last[None], np.concatenate(known))[0]
    elif not ends.limit.at_once and starts > 0:
        guesses += strings(system, first, last, starts, seed)
    if ends.limit.at_once:
        return guesses + through
    if len(ends.limit.approach) < 2:
        return guesses
    approach = ends.limit.approach
    return guesses + [Guess(f"{g.name} from the attractor", np.concatenate([approach, g.curve[1:]])) for g in through]


def _leave_saddles(system: System, candidate: Candidate, count: int) -> None:
    if system.size > 1:
        candidate.found = escape(system, candidate.found, count)


def _let_go(system: System, candidate: Candidate, elements: Sequence[int], tol: float) -> None:
    """Release critical points that a path is held on and need not cross; then its history begins anew."""
    lower = released(system, candidate.found, elements[0])
    if lower is None:
        return
    history = []
    for count in elements:
        lower = refine(system, lower, count, tol)
        history.append(lower.action)
    if lower.converged and cheaper(lower.path, candidate.found.path):
        candidate.found, candidate.history = lower, history
        candidate.name = f"{candidate.name.partition(',')[0]}, let go"


def _turned(system: System, ends: Ends, candidate: Candidate, elements: Sequence[int], tol: float) -> Candidate:
    """Go round a cycle once more as long as the action falls by more than the meshes explain."""
    for turn in range(1, TURNS + 1):
        more = start(system, one_turn_more(ends.limit, candidate.found.path.points), elements[-1])
        if more is None:
            break
        again = Candidate(f"{candidate.name.partition(',')[0]}, {turn} more turn{'s' * (turn > 1)}", more)
        for count in elements[-2:]:
            again.found = refine(system, again.found, count, tol)
            again.history.append(again.action)
        gain = candidate.action - again.action
        if gain <= max(PAYS * abs(candidate.action), 2.0 * (candidate.change + again.change)):
            candidate.turned = max(0.0, gain)
            break
        candidate = again
    return candidate


def _survivors(
    candidates: list[Candidate], factor: float, most: int, settled: bool = True
) -> tuple[list[Candidate], list[Candidate]]:
    """Split candidates into those kept and those dropped, each least action first.

    Once they are settled, one that does not converge is kept only where it undercuts those that do.
    """
    candidates = sorted(candidates, key=lambda candidate: candidate.cost)
    if not candidates:
        return [], []
    sound = [c for c in candidates if c.found.converged] if settled else []
    if sound:
        ceiling = sound[0].cost - UNDERCUT * max(abs(sound[0].cost), 1e-3 * sound[0].found.path.gross)
        worth = [c for c in candidates if c.found.converged or c.cost < ceiling]
    else:
        worth = candidates
    least = worth[0].cost
    limit = least + (factor - 1.0) * max(abs(least), 1e-6 * worth[0].found.path.gross)
    alive = [candidate for candidate in worth[:most] if candidate.cost <= limit]
    kept = {id(candidate) for candidate in alive}
    return alive, [candidate for candidate in candidates if id(candidate) not in kept]


def _add(candidates: list[Candidate], new: Candidate) -> None:
    """Add a candidate that is none of those there; of two that are the same path the lower stays."""
    for index, old in enumerate(candidates):
        if same(old.found, new.found):
            better = new.found.converged and not old.found.converged
            if better or (
                new.action < old.action - 1e-3 * abs(old.action) and new.found.converged == old.found.converged
            ):
                candidates[index] = new
            return
    candidates.append(new)


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    out: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.cost):
        _add(out, candidate)
    return out


def same(a: Resolved, b: Resolved) -> bool:
    """Whether two paths are one: nowhere farther apart than a small part of their length."""
    limit = SAME * max(a.path.length, b.path.length)
    p, q = a.path.points[::2], b.path.points[::2]
    between = np.linalg.norm(p[:, None] - q[None], axis=-1)
    spacing = max(a.path.lengths.max(), b.path.lengths.max()) * 0.5
    near = max(float(between.min(axis=0).max()), float(between.min(axis=1).max())) <= limit + spacing
    return near and abs(a.path.length - b.path.length) <= 5 * limit


def index_of(candidate: Candidate) -> float:
    """Return the lowest eigenvalue of the second variation of a candidate, its critical points held."""
    return lowest(candidate.found.path, candidate.found.stationary.planes)[0]
