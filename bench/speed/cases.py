"""The problems that solvers are compared on, and the states they are asked for."""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.catalogue import SystemSpec
from mpc.closed_loop import simulate
from mpc.online import OnlineExpert
from mpc.problem import ControlProblem
from mpc.sampling import UniformSampler
from mpc.seeds import seed_for
from mpc.status import Status

NAMED = {
    "a": "double_integrator:N=10,Qf=dare",
    "b": "double_integrator:N=20,Qf=dare",
    "e": "cart_pole:N=30,Qf=dare",
    "d": "quadrotor:N=10,Qf=dare",
    "c10": "chain_of_masses:N=10,Qf=dare",
    "c30": "chain_of_masses:N=30,Qf=dare",
}
"""The plants, in order of the number of inputs of a plan, by a letter."""

_SIZES = ((4, 2, 10), (2, 2, 10), (8, 2, 10), (16, 2, 10), (4, 1, 10), (4, 4, 10), (4, 2, 20), (4, 2, 40))
GROWING = tuple(f"random_system:N={N},facets={2 * n},m={m},n={n}" for n, m, N in _SIZES)
"""Random systems that grow in n, m and N, one at a time, from (4, 2, 10)."""

_REACH, _HALVINGS, _SHARE = 3.0, 14, 0.98


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, and the name it has in the table."""

    name: str
    problem: ControlProblem


def case_of(text: str) -> Case:
    """The case of a letter of ``NAMED``, or of a system of the catalogue in text.

    Raises:
        ValueError: for text that is neither.
    """
    if text in NAMED:
        return Case(text, SystemSpec.parse(NAMED[text]).build())
    try:
        problem = SystemSpec.parse(text).build()
    except ValueError as error:
        raise ValueError(f"a problem is one of {', '.join(NAMED)} or a system; {error}") from error
    if text.startswith("random_system"):
        return Case(f"random {problem.n}.{problem.m}.{problem.N}", problem)
    return Case(text, problem)


def boundary_states(problem: ControlProblem, count: int, name: str) -> Array:
    """``count`` states ``(count, n)`` crowded near the boundary of the feasible set.

    Each lies on a ray from the origin in a random direction (Gaussian, scaled by the half-widths of the
    initial set), at ``0.98 sqrt(U)`` of the way, U uniform, to where the last plan exists; bisection finds
    it, within three times the initial set. The states of a smaller count are the first of a larger one.
    """
    low, high = UniformSampler(
        problem.initial_set, "the set of initial states (problem.initial, or X)"
    ).bounds
    rays_seed, shares_seed = seed_for("speed", name).spawn(2)
    rays = np.random.default_rng(rays_seed).normal(size=(count, problem.n)) * np.maximum(high, -low)
    rays *= _REACH / np.abs(rays / np.maximum(high, -low)).max(axis=1, keepdims=True)
    expert = OnlineExpert(problem)
    near, far = np.zeros(count), np.ones(count)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        good = expert(middle[:, None] * rays).status == Status.optimal
        near, far = np.where(good, middle, near), np.where(good, far, middle)
    shares = _SHARE * np.sqrt(np.random.default_rng(shares_seed).uniform(size=count))
    return (shares * near)[:, None] * rays


def closed_loop_states(problem: ControlProblem, x0: Array, steps: int) -> Array:
    """States ``(E, steps, n)`` that exact MPC meets from the ``x0`` whose loops stay feasible."""
    loops = simulate(problem, OnlineExpert(problem), x0, steps)
    return loops.x[loops.length == steps, :-1]
