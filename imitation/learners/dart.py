"""DART: demonstrations with noise of the learner's own errors (Laskey et al. 2017, arXiv 1703.09327)."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from imitation.learned import Account, Learned
from imitation.learners.configs import Dart
from imitation.learners.rounds import part_of, round_sizes
from imitation.samples import split
from imitation.task import Pupil, Task
from imitation.train import Member, Observer, Progress, train
from imitation.trained import act
from mpc.arrays import Array
from mpc.controllers import Noisy
from mpc.rollouts import Rollouts


def dart(
    config: Dart,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """Rounds: the expert acts with noise N(0, S_r), its labels are clean; a policy of all episodes so far.

    ``S_0 = 0``. S is the second moment of the learner's error over the episodes held out (over all, where
    none are), scaled to the trace ``alpha / T`` where the config has an alpha, and down where a deviation
    exceeds ``most`` half-widths of U. The last policy is deployed.
    """
    plans = [round_sizes(pupil, config.rounds) for pupil in pupils]
    noises = [np.zeros((task.problem.m, task.problem.m)) for _ in pupils]
    parts: list[list[Rollouts]] = [[] for _ in pupils]
    accounts, tried = [Account() for _ in pupils], [0] * len(pupils)
    sets: list[Rollouts] = []
    trained = None
    for r in range(config.rounds):
        for k, (pupil, plan) in enumerate(zip(pupils, plans, strict=True)):

            def law(episodes: np.ndarray, rep: int = pupil.rep, S: Array = noises[k]) -> Noisy:
                return Noisy(task.expert, normal_noise(task, rep, episodes, S))

            found = task.demonstrate(pupil.rep, plan[r], tried[k], law)
            parts[k].append(found.rollouts)
            accounts[k] += Account.of_demonstrations(found)
            tried[k] += found.attempts
        sets = [Rollouts.concatenate(mine) for mine in parts]
        members = [Member(data, pupil.rep) for data, pupil in zip(sets, pupils, strict=True)]
        seen = observe if r == config.rounds - 1 else None
        told = part_of(progress, r, config.rounds)
        trained = train(task.problem, config.base, members, told, seen, expert=task.expert)
        noises = [
            error_moment(config, task, policy, data)
            for policy, data in zip(trained.policies, sets, strict=True)
        ]
    assert trained is not None
    return Learned.policies(trained, accounts, sets)


def error_moment(config: Dart, task: Task, policy: nn.Module, rollouts: Rollouts) -> Array:
    """``mean (pi - pi*)(pi - pi*)'`` of a policy over what was held out ``(m, m)``, scaled as asked."""
    shape = config.base.policy
    training, held = split(rollouts, config.base.validation, shape.history, shape.chunk)
    data = held if len(held) else training
    error = (act(policy, data.x) - data.u)[:, : task.problem.m]
    S = error.T @ error / len(error)
    if config.alpha is not None and np.trace(S):
        S = config.alpha / (task.steps * np.trace(S)) * S
    low, high = task.problem.U.bounds
    widest = float((np.sqrt(np.diag(S)) / ((high - low) / 2)).max())
    return S if widest <= config.most else (config.most / widest) ** 2 * S


def normal_noise(task: Task, rep: int, episodes: np.ndarray, S: Array) -> Array:
    """Normal with covariance S, independent in time: ``(E, T, m)``."""
    values, vectors = np.linalg.eigh(S)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    shape = (task.steps, task.problem.m)
    drawn = [generator.standard_normal(shape) for generator in task.generators("noise", rep, episodes)]
    return np.stack(drawn) @ root.T
