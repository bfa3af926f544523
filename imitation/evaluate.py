"""Closed loops of trained policies: the member axis folded into the episodes of ``mpc.simulate``."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.closed_loop import simulate
from mpc.controllers import Law, replay
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts


def fold(array: ArrayLike) -> Array:
    """``(K, E, ...)`` as ``(K E, ...)``, member by member."""
    array = np.asarray(array)
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


def unfold(rollouts: Rollouts, members: int) -> tuple[Rollouts, ...]:
    """The rollouts of each of ``members`` models, inverse of the folding in ``evaluate``.

    Raises:
        ValueError: if the episodes do not divide evenly.
    """
    if members < 1 or rollouts.episodes % members:
        raise ValueError(f"{rollouts.episodes} episodes cannot belong to {members} members evenly")
    E = rollouts.episodes // members
    return tuple(rollouts[k * E : (k + 1) * E] for k in range(members))


class Population(Protocol):
    """K controllers for one problem: ``Trained``, or what a learner has learned."""

    @property
    def problem(self) -> ControlProblem: ...

    @property
    def members(self) -> int:
        """K."""
        ...

    def together(self, E: int) -> Law:
        """One of all their loops, ``E`` each, member by member."""
        ...


def evaluate(
    problem: ControlProblem,
    population: Population,
    x0: ArrayLike,
    steps: int,
    disturbance: ArrayLike | None = None,
) -> Rollouts:
    """Roll out every member from the same initial states and disturbances, paired.

    Args:
        problem: the plant, that which the policies were trained for or another one of its sizes.
        x0: ``(E, n)``, shared by the K members.
        disturbance: ``(E, steps, n)``, shared likewise, or None.

    Returns:
        Rollouts of ``K E`` episodes: member k from x0[e] is episode ``k E + e`` (see ``unfold``).

    Raises:
        ValueError: if sizes disagree.
    """
    own, members = population.problem, population.members
    if (own.n, own.m) != (problem.n, problem.m):
        raise ValueError(
            f"the policies map {own.n} states to {own.m} inputs, the problem has {problem.n} and "
            f"{problem.m}; evaluate them on a problem of their own sizes"
        )
    x0 = np.asarray(x0)
    w = None if disturbance is None else _repeated(disturbance, members)
    return simulate(problem, population.together(len(x0)), _repeated(x0, members), steps, disturbance=w)


def along(population: Population, x: Array) -> Array:
    """Actions ``(K, E, T, m)`` of every member at states ``x (E, T, n)`` of loops that are not its own."""
    members, E = population.members, len(x)
    u = replay(population.together(E), _repeated(x, members))
    return u.reshape(members, E, *u.shape[1:])


def _repeated(array: ArrayLike, members: int) -> Array:
    """The rows of ``array (E, ...)`` once for each member: ``(K E, ...)``."""
    array = np.asarray(array)
    return fold(np.broadcast_to(array, (members, *array.shape)))
