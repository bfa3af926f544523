"""Initial states: uniform on the part of the problem's initial set from which a plan exists."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.online import OnlineExpert
from mpc.problem import ControlProblem
from mpc.sampling import UniformSampler
from mpc.seeds import integer_seed, seed_for


def episode_seed(system: str, rep: int, episode: int) -> int:
    """The integer that an episode's generator is made from: ``PCG64(seed)`` draws its initial state.

    It is also what ``reset(seed=...)`` of a Gymnasium environment makes its generator from.
    """
    return integer_seed("x0", system, rep, episode)


def episode_generators(system: str, rep: int, first: int, count: int) -> list[np.random.Generator]:
    """One generator for each of the episodes ``first .. first + count - 1`` of a repetition."""
    return [
        np.random.Generator(np.random.PCG64(episode_seed(system, rep, episode)))
        for episode in range(first, first + count)
    ]


def draw_initial_states(
    problem: ControlProblem, generators: Sequence[np.random.Generator], attempts: int = 10_000
) -> Array:
    """Initial states ``x0 (E, n)``, one from each generator.

    A generator draws candidates uniformly from ``problem.initial_set`` until one has a plan (exact
    MPC finds it usable). The candidates of an episode come only from its own generator, in a fixed
    order, so that its initial state depends on neither the batch nor its place in it.

    Args:
        attempts: candidates an episode may draw.

    Raises:
        ValueError: if the initial set is unbounded, or if an episode finds no feasible state.
    """
    # The first episode goes alone, so that a set without plans costs `attempts` solves, not E times that.
    first = _draw(problem, generators[:1], attempts)
    return np.concatenate([first, _draw(problem, generators[1:], attempts)])


def test_states(problem: ControlProblem, system: str, count: int) -> Array:
    """The test states ``(count, n)`` of a system: the same for all that is compared, and nested in count."""
    seeds = seed_for("test-x0", system).spawn(count)
    return draw_initial_states(problem, [np.random.Generator(np.random.PCG64(seed)) for seed in seeds])


def plan_status(problem: ControlProblem, x0: ArrayLike) -> np.ndarray:
    """What exact MPC says of the states ``x0 (E, n)``, int8 ``(E,)`` of ``Status``: above 0 a plan exists."""
    return _expert(problem)(x0).status


def _draw(problem: ControlProblem, generators: Sequence[np.random.Generator], attempts: int) -> Array:
    """Rounds in which every episode that still waits draws one candidate; one expert call a round."""
    sampler, expert = _sampler(problem), _expert(problem)
    x0 = np.empty((len(generators), problem.n))
    waiting = np.arange(len(generators))
    current = None
    for _ in range(attempts):
        if not waiting.size:
            break
        current = sampler.draw([generators[i] for i in waiting.tolist()], current)
        usable = expert(current).status > 0
        x0[waiting[usable]] = current[usable]
        waiting, current = waiting[~usable], current[~usable]
    if waiting.size:
        raise ValueError(
            f"none of {attempts} states drawn from the initial set has a plan within the constraints; "
            f"set a smaller one around the origin, as in problem.with_(initial=Polytope.box(low, high)), "
            f"or relax X, U or Xf"
        )
    return x0


# Both are made once for a problem: environments draw one state at a time.


@lru_cache(maxsize=8)
def _sampler(problem: ControlProblem) -> UniformSampler:
    sampler = UniformSampler(problem.initial_set, "the set of initial states (problem.initial, or X)")
    sampler.bounds  # noqa: B018  an unbounded set is refused before the expert is built
    return sampler


@lru_cache(maxsize=8)
def _expert(problem: ControlProblem) -> OnlineExpert:
    return OnlineExpert(problem)
