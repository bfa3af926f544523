"""Explicit MPC: the exact law with all of its regions found beforehand."""

from dataclasses import InitVar, dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.atlas import Atlas
from mpc.exact import ExactLaw, Plan
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.charting import regions_of
from mpc.kernels.exact import CHOICE
from mpc.location import chart
from mpc.merging import FirstMoves, first_moves
from mpc.partition import Partition, Progress, partition
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.slabs import active_sides
from mpc.status import Status


@dataclass(frozen=True, eq=False)
class ExplicitExpert:
    """Exact MPC as the piecewise-affine function that it is: ``u = K_r x + k_r`` in region r.

    The regions are listed when the expert is made. A label is looked up in them; a state that is not clearly
    inside one (next to a facet, outside ``within``, or without a plan) is left to the online solver, so every
    label has the bits that ``OnlineExpert`` gives it (Bemporad, Morari, Dua, Pistikopoulos, Automatica 38,
    2002; Tondel, Johansen, Bemporad, Automatica 39, 2003).

    Args:
        problem: the control problem.
        within: the bounded set of states to list regions for, by default all that have a plan.
        max_regions, max_seconds: when to give up; None for no limit of time.
        progress: called with the number of regions found and of active sets still to be looked at.

    Attributes:
        regions: the ``Partition``; ``regions[r]`` is a ``Region``.

    Raises:
        NoPartition: a ValueError, where a limit is hit or there are no regions to list; it names the remedy.
    """

    problem: ControlProblem
    within: Polytope | None = None
    max_regions: int = 50_000
    max_seconds: float | None = None
    progress: InitVar[Progress | None] = None
    regions: Partition = field(init=False, repr=False)
    law: ExactLaw = field(init=False, repr=False)

    def __post_init__(self, progress: Progress | None) -> None:
        found = partition(self.problem, self.within, self.max_regions, self.max_seconds, progress)
        object.__setattr__(self, "regions", found)
        law = ExactLaw(self.problem, found.ready, chart(found), CHOICE)
        object.__setattr__(self, "law", law)

    @cached_property
    def first_moves(self) -> FirstMoves:
        """The regions merged where the first move is the same."""
        return first_moves(self.regions, self.atlas)

    @cached_property
    def complexity(self) -> "Complexity":
        """What the law takes to store and to evaluate."""
        return Complexity.of(self)

    @property
    def atlas(self) -> Atlas:
        """The regions as the kernels take them: search tree, facets, pieces of the law."""
        return self.law.atlas

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        return blanked(self.law.solve(states).control, finite)

    def plan(self, x: ArrayLike) -> Plan:
        """Whole plans from the states ``x (B, n)``; ``plan(x).route`` tells which were looked up."""
        return self.law.plan(x)

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control]:
        """Closed loops in one call, see ``ExactLaw.roll_out``."""
        return self.law.roll_out(x0, steps, w)

    def find(self, x: ArrayLike) -> np.ndarray:
        """The region that each state of ``x (B, n)`` has its label from, ``(B,)``.

        -1 where there is none: no plan, outside ``within``, or on a border where the active set is not that
        of a region with an interior. Where several sets give the label, the region that the state lies in.
        """
        states, _ = state_rows(self.problem, x)
        found = np.empty(len(states), np.int64)
        regions_of(states, self.atlas.arrays, found)
        left = np.flatnonzero((found < 0) & self.regions.within.contains(states))
        answer = self.law.solve(states[left], whole=True)
        left, active = (each[answer.control.status == Status.optimal] for each in (left, answer.active))
        known = {side.tobytes(): r for r, side in enumerate(self.regions.sides)}
        found[left] = [known.get(side.tobytes(), -1) for side in active_sides(self.law.ready.slabs, active)]
        left = left[found[left] < 0]
        found[left] = self.regions.find(states[left])
        return found


@dataclass(frozen=True)
class Complexity:
    """What an explicit law takes.

    Args:
        regions: critical regions; merged: polytopes left of them where the first move is the same.
        laws: distinct first moves ``K x + k``.
        facets: half-spaces of all regions.
        depth: nodes on the longest way through the search tree.
        bytes: of everything that is kept to label a state.
        operations: multiplications and additions for the input of a state, at worst: nodes of the tree,
            facets of the regions in its leaf, one law (as exported; here a walk usually spares most of the
            leaf).
    """

    regions: int
    merged: int
    laws: int
    facets: int
    depth: int
    bytes: int
    operations: int

    @classmethod
    def of(cls, expert: ExplicitExpert) -> "Complexity":
        atlas, merged = expert.atlas, expert.first_moves
        n, m = expert.problem.n, expert.problem.m
        return cls(
            regions=len(atlas),
            merged=len(merged),
            laws=len(merged.K),
            facets=len(atlas.b),
            depth=atlas.depth,
            bytes=atlas.nbytes,
            operations=2 * n * atlas.longest + 2 * n * m,
        )
