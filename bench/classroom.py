"""Where learners are compared: one expert, test states shared by all, and what closed loops cost there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imitation.evaluate import Population, along, evaluate, unfold
from imitation.task import Pupil, Task
from mpc import metrics
from mpc.arrays import Array
from mpc.catalogue import SystemSpec
from mpc.closed_loop import simulate
from mpc.configs import ExpertConfig, Online
from mpc.initial import test_states
from mpc.rollouts import Rollouts


@dataclass(frozen=True, eq=False)
class Classroom:
    """A task, and loops of exact MPC and of the expert from its test states."""

    task: Task
    exact: Rollouts
    cloned: Rollouts

    @classmethod
    def of(cls, system: str, expert: ExpertConfig, steps: int, tests: int) -> "Classroom":
        """On the system of that spec, in episodes of ``steps`` steps, from ``tests`` test states."""
        spec = SystemSpec.parse(system)
        problem = spec.build()
        task = Task(problem, expert.build(problem), str(spec), steps)
        x0 = test_states(problem, task.system, tests)
        return cls(
            task, *(simulate(problem, law, x0, steps) for law in (Online().build(problem), task.expert))
        )

    def loops(self, learned: Population) -> tuple[Rollouts, ...]:
        """The closed loops of each member from the test states."""
        together = evaluate(self.task.problem, learned, self.exact.x[:, 0], self.exact.steps)
        return unfold(together, learned.members)

    def cost_ratio(self, loops: Sequence[Rollouts]) -> Array:
        """mean J / mean J* of each member's loops ``(K,)``; inf where one diverged."""
        best = metrics.episode_cost(self.task.problem, self.exact)
        costs = [metrics.episode_cost(self.task.problem, own) for own in loops]
        return np.array([metrics.suboptimality(cost, best).ratio_of_means for cost in costs])

    def error_over_time(self, loops: Sequence[Rollouts]) -> Array:
        """Median over test states of ``||x*_t - x_t||`` for each member ``(K, T+1)``, x* the expert's."""
        return np.stack([np.median(metrics.error_over_time(own, self.cloned), axis=0) for own in loops])

    def j_traj(self, loops: Sequence[Rollouts]) -> Array:
        """Mean over test states of ``sum_t min{1, ||x_t - x*_t||^2 + ||u_t - u*_t||^2}``: ``(K,)``."""
        return np.array([metrics.j_traj(own, self.cloned).mean() for own in loops])

    def action_error(self, learned: Population) -> Array:
        """Mean of ``||u - u*||^2`` at the expert's own states, for each member ``(K,)``."""
        errors = metrics.action_error(along(learned, self.cloned.x[:, :-1]), self.cloned.u)
        return np.square(errors).mean(axis=(1, 2))


def pupils(seed: int, repetitions: int, demonstrations: int) -> list[Pupil]:
    """One for each repetition ``1000 seed, 1000 seed + 1, ...``."""
    return [Pupil(1000 * seed + rep, demonstrations) for rep in range(repetitions)]
