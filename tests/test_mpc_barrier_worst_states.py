"""The states that cost barrier MPC the most Newton steps, kept as data, and a bound on the steps they take.

``python tests/test_mpc_barrier_worst_states.py`` searches once more and writes ``data/worst_states.json``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generators import VARIANTS, extent

from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.online import feasible
from mpc.problem import ControlProblem
from mpc.seeds import seed_for
from mpc.status import Status

ETAS = (1e-6, 1e-4, 1e-2, 1.0, 100.0)
PARTS = (0.5, 0.9, 0.98, 0.999, 1 - 1e-6)
SHORT = [name for name, build in VARIANTS.items() if build().N < 50]  # the search asks for much of the others
FILE = Path(__file__).parent / "data" / "worst_states.json"


def crowded_states(problem: ControlProblem, rays: int, halvings: int = 40) -> Array:
    """On random rays from the origin, at ``PARTS`` of the way to the last plan: ``(5 rays, n)``."""
    rng = np.random.default_rng(seed_for("worst-states", problem.name))
    width = extent(problem)[1]
    rays_of = rng.normal(size=(rays, problem.n)) * width
    rays_of *= 3 / np.abs(rays_of / width).max(axis=1, keepdims=True)
    near, far = np.zeros(rays), np.ones(rays)
    for _ in range(halvings):
        middle = (near + far) / 2
        good = feasible(problem, middle[:, None] * rays_of)
        near, far = np.where(good, middle, near), np.where(good, far, middle)
    return np.vstack([(part * near)[:, None] * rays_of for part in PARTS])


def worst_of(name: str, rays: int, keep: int) -> list[dict[str, Any]]:
    """The states of a system that are solved with the most steps for each eta, most first."""
    problem = VARIANTS[name]()
    x = crowded_states(problem, rays)
    found = []
    for eta in ETAS:
        expert = BarrierExpert(problem, eta)
        steps = np.where(expert(x).status == Status.optimal, expert.iterations(x), 0)
        for i in np.argsort(-steps, kind="stable")[:keep]:
            found.append({"problem": name, "eta": eta, "x": x[i].tolist(), "steps": int(steps[i])})
    return found


def search(rays: int = 20, keep: int = 1) -> None:
    """Write the worst states of the systems of short horizon to the file, one a line."""
    found = [case for name in SHORT for case in worst_of(name, rays, keep)]
    FILE.write_text("[\n" + ",\n".join(json.dumps(case) for case in found) + "\n]\n")


CASES = json.loads(FILE.read_text()) if FILE.exists() else []


@pytest.mark.parametrize("name", SHORT)
def test_the_worst_states_are_solved_in_about_the_steps_they_took(name):
    """Two steps of grace a state, for processors round differently, and none on the whole."""
    cases = [case for case in CASES if case["problem"] == name]
    assert {case["eta"] for case in cases} == set(ETAS)
    x, eta = np.array([case["x"] for case in cases]), np.array([case["eta"] for case in cases])
    expert = BarrierExpert(VARIANTS[name](), 1.0)
    assert (expert.sweep(x, eta).status == Status.optimal).all()
    known = np.array([case["steps"] for case in cases])
    steps = np.concatenate([BarrierExpert(expert.problem, e).iterations(x[eta == e]) for e in ETAS])
    assert (steps <= known + 2).all(), (steps, known)
    assert steps.sum() <= 1.05 * known.sum()


if __name__ == "__main__":
    search()
