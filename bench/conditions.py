"""What closed loops are tested under: the plant as thought, with disturbances, or another plant."""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.initial import test_states
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.sampling import draw_disturbance
from mpc.seeds import seed_for
from mpc.system import LinearSystem


@dataclass(frozen=True)
class Conditions:
    """Shared by everything that is compared on a system.

    Args:
        disturbance: half-widths of uniform, independent disturbances of the state, in parts of those of the
            box around the initial set; 0 for none.
        feasible: begin in states drawn from all of X that have a plan, not from the law of initial states
            that demonstrations begin in (the same where the problem states no law).
        mismatch: each entry of A and B is off by this part of it, up or down; 0 for the plant that the
            expert was built for.
    """

    disturbance: float = 0.0
    mismatch: float = 0.0
    feasible: bool = False

    def __post_init__(self) -> None:
        for name in ("disturbance", "mismatch"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {value}")

    def initial_states(self, problem: ControlProblem, system: str, episodes: int) -> Array:
        """Where the test loops begin ``(episodes, n)``."""
        if self.feasible and problem.initial is not None:
            if not np.isfinite(problem.X.bounds).all():
                raise ValueError(
                    "feasible (--feasible) draws test states from X, which is not bounded here; test from "
                    "the problem's own initial states, or bound X"
                )
            return test_states(problem.with_(initial=None), f"{system} feasible", episodes)
        return test_states(problem, system, episodes)

    def plant(self, problem: ControlProblem, system: str) -> ControlProblem:
        """The problem with the plant that the loops run on; signs are drawn from ``('mismatch', system)``."""
        if not self.mismatch:
            return problem
        rng = np.random.default_rng(seed_for("mismatch", system))
        A, B = (_off(matrix, self.mismatch, rng) for matrix in (problem.system.A, problem.system.B))
        return problem.with_(system=LinearSystem(A, B, problem.system.dt))

    def disturbances(self, problem: ControlProblem, system: str, episodes: int, steps: int) -> Array | None:
        """``w (episodes, steps, n)``, each test episode's own, from ``('test-disturbance', system)``."""
        if not self.disturbance:
            return None
        low, high = problem.initial_set.bounds
        half = self.disturbance * (high - low) / 2
        seeds = seed_for("test-disturbance", system).spawn(episodes)
        generators = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        return draw_disturbance(problem.with_(W=Polytope.box(-half, half)), generators, steps)


NOMINAL = Conditions()


def _off(matrix: Array, share: float, rng: np.random.Generator) -> Array:
    """Entries times ``1 + share`` or ``1 - share``."""
    return matrix * (1 + share * rng.choice([-1.0, 1.0], matrix.shape))
