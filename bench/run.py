"""Run one chunk: demonstrate, train the population, test it, and gather rows and arrays.

What does not depend on the learner (test loops of the expert and of exact MPC, demonstrations for the
largest number, the expert's smoothness) is done once for the chunk.
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
from imitation.demonstrate import demonstrate
from imitation.evaluate import evaluate, unfold
from imitation.train import Member, train
from imitation.trained import Trained
from mpc import metrics
from mpc.arrays import Array
from mpc.configs import Online
from mpc.demonstrations import Demonstrations
from mpc.expert import Expert
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
    started = time.perf_counter()
    demonstrations = demonstrations_of(chunk, problem, expert)
    demonstrated = time.perf_counter()
    reference = Reference.of(problem, expert, first.system_name, first.test_episodes, first.steps)
    observer = _CostObserver(reference)
    population = [Member(demonstrations[m.rep, m.demonstrations].rollouts, m.rep) for m in chunk.members]
    prepared = time.perf_counter()
    trained = train(problem, first.learner, population, observe=observer)
    training = time.perf_counter() - prepared - observer.seconds
    learned = unfold(evaluate(problem, trained, reference.x0, first.steps), len(chunk.members))
    actions = _on_expert_states(trained, reference.cloned)
    smoothness = expert_smoothness(problem, expert)
    rows = [
        {
            **identity(member, chunk.name),
            **_account(demonstrations[member.rep, member.demonstrations]),
            **measure(reference, learned[k], actions[k]),
            "loss_train": float(trained.history.loss[k, -1]),
            "loss_validation": float(trained.history.validation[k, -1]),
            "jacobian_max": smoothness.jacobian,
            "hessian_max": smoothness.hessian,
        }
        for k, member in enumerate(chunk.members)
    ]
    seconds = {
        "seconds_demonstrate": demonstrated - started,
        "seconds_train": training,
        "seconds_evaluate": time.perf_counter() - demonstrated - training,
    }
    rows = [row | {name: value / len(rows) for name, value in seconds.items()} for row in rows]
    arrays = _arrays(chunk, reference, trained, learned) | _landscape(chunk, reference, trained)
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


def demonstrations_of(
    chunk: Chunk, problem: ControlProblem, expert: Expert
) -> dict[tuple[int, int], Demonstrations]:
    """Demonstrations by (repetition, number): each larger set continues the smaller ones."""
    found: dict[tuple[int, int], Demonstrations] = {}
    first = chunk.members[0]
    for rep in sorted({member.rep for member in chunk.members}):
        parts: list[Demonstrations] = []
        for size in sorted({member.demonstrations for member in chunk.members if member.rep == rep}):
            have = sum(part.kept for part in parts)
            tried = sum(part.attempts for part in parts)
            more = demonstrate(
                problem, expert, first.system_name, rep, size - have, first.steps, first_episode=tried
            )
            parts.append(more)
            found[rep, size] = Demonstrations.concatenate(parts)
    return found


def _account(demonstrations: Demonstrations) -> dict[str, int]:
    return {"expert_queries": demonstrations.queries, "discarded": len(demonstrations.discarded)}


def _on_expert_states(trained: Trained, cloned: Rollouts) -> Array:
    """Actions ``(K, E, T, m)`` of every member at the states of the expert's test loops, NaN beyond them."""
    E, T = cloned.episodes, cloned.steps
    states = cloned.x[:, :-1].reshape(E * T, -1)
    return trained.act(states).reshape(trained.members, E, T, -1)


def _arrays(
    chunk: Chunk, reference: Reference, trained: Trained, learned: tuple[Rollouts, ...]
) -> dict[str, np.ndarray]:
    """What the figures of a report need of each experiment, and its weights."""
    out: dict[str, np.ndarray] = {}
    cost = np.asarray(trained.history.observed)
    tensors = {name: value.numpy() for name, value in {**trained.params, **trained.buffers}.items()}
    for k, member in enumerate(chunk.members):
        rollouts = learned[k]
        named = {
            "error_over_time": metrics.error_over_time(rollouts, reference.cloned),
            "trajectories": rollouts.x[:KEPT_TRAJECTORIES],
            "expert_trajectories": reference.cloned.x[:KEPT_TRAJECTORIES],
            "inputs": rollouts.u[:KEPT_TRAJECTORIES],
            "history.steps": trained.history.steps[k],
            "history.loss": trained.history.loss[k],
            "history.validation": trained.history.validation[k],
            "history.cost": cost[k],
            "exact_cost": reference.exact_cost,
            **{f"params.{name}": value[k] for name, value in tensors.items()},
        }
        out |= {f"{member.key()}/{name}": value for name, value in named.items()}
    return out


def _landscape(chunk: Chunk, reference: Reference, trained: Trained) -> dict[str, np.ndarray]:
    """Control laws on a grid over the initial set, ``z[i, j, :] = u(axes[0][i], axes[1][j])``."""
    problem = reference.problem
    if problem.n != 2:
        return {}
    axes = np.stack([np.linspace(a, b, GRID) for a, b in zip(*problem.initial_set.bounds, strict=True)])
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    learned = trained.act(x).reshape(trained.members, GRID, GRID, -1).astype(np.float32)
    out: dict[str, np.ndarray] = {}
    for k, member in enumerate(chunk.members):
        out |= {f"{member.key()}/landscape.axes": axes, f"{member.key()}/landscape.learned": learned[k]}
    laws: Mapping[str, Any] = {
        expert_label(Online()): Online().build(problem),
        expert_label(chunk.members[0].expert): reference.expert,
    }
    for label, law in laws.items():
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
