"""Forward training: a policy for each time, fitted where the ones before it lead (Ross, Bagnell 2010)."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from imitation.learned import Account, Learned
from imitation.learners.configs import Forward
from imitation.learners.rounds import part_of
from imitation.task import Pupil, Task
from imitation.train import Member, Observer, Progress, train
from imitation.trained import Deployment, History, Trained, act
from mpc.arrays import Array
from mpc.closed_loop import simulate
from mpc.controllers import Parallel, Staged
from mpc.lqr import LqrExpert
from mpc.problem import quadratic
from mpc.rollouts import Rollouts


def forward_training(
    config: Forward,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """For t = 0 .. T-1: fit pi_t to the expert's inputs at states that pi_0 .. pi_{t-1} reach.

    A pupil of n demonstrations asks for n labels at each time, from n fresh initial states: n T labels, as
    many as n episodes of the expert have. With ``switch`` LQR takes over, for good, at the first time t > 0
    at which all n states lie in the level set ``x'Px <= c`` in which it is admissible and invariant
    (Forward-Switch of Ahn et al., arXiv 2210.09206). Where no state of a time has a usable label the policy
    before stays in charge.

    ``observe`` is never asked: no policy is a controller by itself.
    """
    lqr = LqrExpert(task.problem) if config.switch else None
    ends = [task.steps] * len(pupils)
    fits: list[Trained] = []
    labelled: list[list[Rollouts]] = [[] for _ in pupils]
    for t in range(task.steps):
        going = [k for k, end in enumerate(ends) if t < end]
        asked: dict[int, Rollouts] = {}
        for k, x in zip(going, _reached(task, pupils, going, fits, t), strict=True):
            if lqr is not None and t and len(x) and (quadratic(x, lqr.P) <= lqr.level).all():
                ends[k] = t
            elif len(x):
                asked[k] = simulate(task.problem, task.expert, x, 1)
                labelled[k].append(asked[k])
        if all(end <= t for end in ends):
            break
        fits.append(_fit(config, task, pupils, asked, fits, part_of(progress, t, task.steps)))
    data = tuple(Rollouts.concatenate(parts) for parts in labelled)
    deployments = tuple(Deployment(fits=end, lqr=end < task.steps) for end in ends)
    return Learned(task.problem, tuple(fits), deployments, tuple(map(Account.of_rollouts, data)), data)


def _reached(
    task: Task, pupils: Sequence[Pupil], going: list[int], fits: list[Trained], t: int
) -> list[Array]:
    """The states at time t of each pupil's n fresh loops under its policies so far; those still running."""
    counts = [pupils[k].demonstrations for k in going]
    x0 = [
        task.initial_states(pupils[k].rep, t * count, count) for k, count in zip(going, counts, strict=True)
    ]
    if not t:
        return x0
    laws = [Staged([partial(act, fit.policies[k]) for fit in fits]) for k in going]
    loops = simulate(task.problem, Parallel(laws, counts), np.concatenate(x0), t)
    near = np.all(np.abs(loops.x[:, -1]) <= task.problem.divergence_limit, axis=1)  # NaN is not
    ends = np.cumsum(counts)
    return [
        loops.x[end - count : end, -1][near[end - count : end]]
        for end, count in zip(ends, counts, strict=True)
    ]


def _fit(
    config: Forward,
    task: Task,
    pupils: Sequence[Pupil],
    asked: dict[int, Rollouts],
    fits: list[Trained],
    progress: Progress,
) -> Trained:
    """Policies of one time for all pupils; that of the time before where nothing usable was asked."""
    usable = {k: one[_usable(one)] for k, one in asked.items() if _usable(one).any()}
    if not fits and len(usable) < len(pupils):
        missing = len(pupils) - len(usable)
        raise ValueError(
            f"the expert has no usable label in any initial state of {missing} of {len(pupils)} pupils; draw "
            f"them from a smaller set (problem.initial), or give each more demonstrations"
        )
    members = [Member(one, pupils[k].rep) for k, one in usable.items()]
    if not members:
        return fits[-1]
    new = train(task.problem, config.base, members, progress, expert=task.expert)
    if len(members) == len(pupils):
        return new
    return _in_place(new, list(usable), fits[-1])


def _usable(rollouts: Rollouts) -> np.ndarray:
    """Boolean (E,), of loops of one step."""
    assert rollouts.labels is not None
    return rollouts.labels.usable[:, 0]


def _in_place(new: Trained, places: list[int], before: Trained) -> Trained:
    """The policies of ``before`` with those at ``places`` replaced by the new ones."""

    def filled(old: Any, part: Any) -> Any:
        out = old.clone() if isinstance(old, Tensor) else old.copy()
        out[places] = part
        return out

    history = {
        field.name: filled(getattr(before.history, field.name), getattr(new.history, field.name))
        for field in fields(History)
        if getattr(new.history, field.name) is not None
    }
    params = {name: filled(value, new.params[name]) for name, value in before.params.items()}
    buffers = {name: filled(value, new.buffers[name]) for name, value in before.buffers.items()}
    return replace(before, params=params, buffers=buffers, history=History(**history))
