"""Run one chunk: teach its population, test it, and gather rows and arrays.

What does not depend on the learner (test loops of the expert and of exact MPC, the expert's smoothness) is
done once for the chunk.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.experiment import Chunk, Experiment, expert_label
from bench.measure import Reference, measure
from bench.outcome import Outcomes, identity
from bench.smoothness import expert_smoothness
from imitation.evaluate import along, evaluate, unfold
from imitation.learned import Learned
from imitation.task import Pupil, Task
from imitation.trained import Trained
from mpc import metrics
from mpc.arrays import Array
from mpc.configs import Online
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts

KEPT_TRAJECTORIES = 8
"""Test loops stored in full: the first ones, the same for all experiments of a system."""
GRID = 61
"""Points on each axis of a stored control law, for systems of two states."""


def run(chunk: Chunk) -> Outcomes:
    """Rows and arrays of a chunk; a pure function of it but for the timings.

    Raises:
        ValueError: if the expert cannot demonstrate, or the options do not fit the system.
    """
    first = chunk.members[0]
    problem = first.problem()
    expert = first.expert.build(problem)
    reference = Reference.of(problem, expert, first.system_name, first.test_episodes, first.steps)
    observer = _CostObserver(reference)
    task = Task(problem, expert, first.system_name, first.steps)
    pupils = [Pupil(member.rep, member.demonstrations) for member in chunk.members]
    started = time.perf_counter()
    learned = first.learner.learn(task, pupils, observe=observer)
    finished = time.perf_counter()
    loops = unfold(evaluate(problem, learned, reference.x0, first.steps), len(chunk.members))
    actions = along(learned, reference.cloned.x[:, :-1])
    smoothness = expert_smoothness(problem, expert)
    history = learned.last.history
    rows = [
        {
            **identity(member, chunk.name),
            "expert_queries": learned.accounts[k].queries,
            "discarded": learned.accounts[k].discarded,
            **measure(reference, loops[k], actions[k]),
            "loss_train": float(history.loss[k, -1]),
            "loss_validation": float(history.validation[k, -1]),
            "jacobian_max": smoothness.jacobian,
            "hessian_max": smoothness.hessian,
        }
        for k, member in enumerate(chunk.members)
    ]
    seconds = {
        "seconds_learn": finished - started - observer.seconds,
        "seconds_evaluate": time.perf_counter() - finished + observer.seconds,
    }
    rows = [row | {name: value / len(rows) for name, value in seconds.items()} for row in rows]
    arrays = _arrays(chunk, reference, learned, loops) | _landscape(chunk, reference, learned)
    return Outcomes(rows, arrays, _metadata(chunk, problem))


@dataclass
class _CostObserver:
    """J of the policies' closed loops from each test state ``(K, E)``, and the seconds spent on it."""

    reference: Reference
    seconds: float = 0.0

    def __call__(self, trained: Trained) -> Array:
        started = time.perf_counter()
        problem, exact = self.reference.problem, self.reference.exact
        rollouts = evaluate(problem, trained, self.reference.x0, exact.steps)
        cost = metrics.episode_cost(problem, rollouts).reshape(trained.members, -1)
        self.seconds += time.perf_counter() - started
        return cost


def _arrays(
    chunk: Chunk, reference: Reference, learned: Learned, loops: tuple[Rollouts, ...]
) -> dict[str, np.ndarray]:
    """What the figures of a report need of each experiment, and its weights."""
    out: dict[str, np.ndarray] = {}
    history, tensors = learned.last.history, _tensors(learned)
    for k, member in enumerate(chunk.members):
        rollouts = loops[k]
        named = {
            "error_over_time": metrics.error_over_time(rollouts, reference.cloned),
            "trajectories": rollouts.x[:KEPT_TRAJECTORIES],
            "expert_trajectories": reference.cloned.x[:KEPT_TRAJECTORIES],
            "inputs": rollouts.u[:KEPT_TRAJECTORIES],
            "history.steps": history.steps[k],
            "history.loss": history.loss[k],
            "history.validation": history.validation[k],
            "exact_cost": reference.exact_cost,
            **{f"params.{name}": value[k] for name, value in tensors.items()},
        }
        if history.observed is not None:
            named["history.cost"] = history.observed[k]
        out |= {f"{member.key()}/{name}": value for name, value in named.items()}
    return out


def _tensors(learned: Learned) -> dict[str, np.ndarray]:
    """Weights and buffers ``(K, ...)``; of several fits each name begins with the fit's number."""
    several = len(learned.fits) > 1
    return {
        f"{i}.{name}" if several else name: value.numpy()
        for i, fit in enumerate(learned.fits)
        for name, value in {**fit.params, **fit.buffers}.items()
    }


def _landscape(chunk: Chunk, reference: Reference, learned: Learned) -> dict[str, np.ndarray]:
    """Control laws on a grid over the initial set, ``z[i, j, :] = u(axes[0][i], axes[1][j])``, at t = 0."""
    problem = reference.problem
    if problem.n != 2:
        return {}
    axes = np.stack([np.linspace(a, b, GRID) for a, b in zip(*problem.initial_set.bounds, strict=True)])
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    first = along(learned, x[:, None])
    laws = first.reshape(len(first), GRID, GRID, -1).astype(np.float32)
    out: dict[str, np.ndarray] = {}
    for k, member in enumerate(chunk.members):
        out |= {f"{member.key()}/landscape.axes": axes, f"{member.key()}/landscape.learned": laws[k]}
    experts: Mapping[str, Any] = {
        expert_label(Online()): Online().build(problem),
        expert_label(chunk.members[0].expert): reference.expert,
    }
    for label, law in experts.items():
        control = law(x)
        u = np.where(control.usable[:, None], control.u, np.nan)
        out[f"landscape/{label}"] = u.reshape(GRID, GRID, -1).astype(np.float32)
    return out


def _metadata(chunk: Chunk, problem: ControlProblem) -> dict[str, str]:
    """Records from which the report redraws everything without asking the catalogue."""
    records: dict[str, Any] = {member.key(): _readable(member) for member in chunk.members}
    return {
        "experiment": json.dumps(records, sort_keys=True),
        "problem": json.dumps(problem.record(), sort_keys=True),
    }


def _readable(member: Experiment) -> dict[str, Any]:
    return {**member.record(), "expert_label": expert_label(member.expert)}
