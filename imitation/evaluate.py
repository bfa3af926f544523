"""Closed loops of trained policies: the member axis folded into the episodes of ``mpc.simulate``."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from imitation.trained import Trained, act
from mpc.arrays import Array
from mpc.closed_loop import simulate
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


def policy_controller(policy: Trained | nn.Module) -> Callable[[Array], Array]:
    """A callable ``x (E', n) -> u (E', m)`` for ``mpc.simulate``.

    A module takes all rows (E' = E, switched to ``eval()``); a ``Trained`` of K members takes E' = K E
    rows, member by member, each member's E rows as one batch of that fixed size.
    """
    if isinstance(policy, nn.Module):
        module = policy.eval()
        return lambda x: act(module, x)

    def control(x: Array) -> Array:
        if len(x) % policy.members:
            raise ValueError(f"x must have K E rows, K = {policy.members} members, got {len(x)} rows")
        return fold(policy.act(x.reshape(policy.members, -1, policy.n)))

    return control


def evaluate(
    problem: ControlProblem,
    trained: Trained,
    x0: ArrayLike,
    steps: int,
    disturbance: ArrayLike | None = None,
) -> Rollouts:
    """Roll out every member from the same initial states and disturbances, paired.

    Args:
        x0: ``(E, n)``, shared by the K members.
        disturbance: ``(E, steps, n)``, shared likewise, or None.

    Returns:
        Rollouts of ``K E`` episodes: member k from x0[e] is episode ``k E + e`` (see ``unfold``).

    Raises:
        ValueError: if sizes disagree.
    """
    if (trained.n, trained.m) != (problem.n, problem.m):
        raise ValueError(
            f"the policies map {trained.n} states to {trained.m} inputs, the problem has {problem.n} and "
            f"{problem.m}; evaluate them on a problem of their own sizes"
        )
    w = None if disturbance is None else _repeated(disturbance, trained.members)
    return simulate(problem, policy_controller(trained), _repeated(x0, trained.members), steps, disturbance=w)


def _repeated(array: ArrayLike, members: int) -> Array:
    """The rows of ``array (E, ...)`` once for each member: ``(K E, ...)``."""
    array = np.asarray(array)
    return fold(np.broadcast_to(array, (members, *array.shape)))
