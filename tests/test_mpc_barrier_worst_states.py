"""The states that cost barrier MPC the most Newton steps, kept as data, and a bound on the steps they take.

``python tests/test_mpc_barrier_worst_states.py`` searches again and writes the file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generators import VARIANTS, crowded_states

from mpc.barrier import BarrierExpert
from mpc.status import Status

ETAS = (1e-6, 1e-4, 1e-2, 1.0, 100.0)
SHORT = [name for name, build in VARIANTS.items() if build().N < 50]  # the search asks for much of the others
FILE = Path(__file__).parent / "data" / "barrier_worst_states.json"


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
