"""The states that cost exact MPC the most changes of the active set, kept as data, and bounds on them.

``python tests/test_mpc_exact_worst_states.py`` searches again and writes the file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward_problems import EXTRAS, awkward_problem
from generators import VARIANTS, crowded_states

from mpc.online import OnlineExpert
from mpc.problem import ControlProblem
from mpc.status import Status

ROUTES = {"auto": 10, "careful": 5}  # changes that are allowed for each input of the horizon
AWKWARD = {
    "mixed": awkward_problem(4, 2, 12, 1, ["mixed", "terminal"]),
    "repeated": awkward_problem(3, 2, 15, 2, ["repeated", "redundant"]),
    "thin": awkward_problem(4, 3, 10, 3, ["thin"]),
    "all": awkward_problem(5, 2, 10, 4, EXTRAS),
}
SHORT = [name for name, build in VARIANTS.items() if build().N < 50] + list(AWKWARD)
FILE = Path(__file__).parent / "data" / "exact_worst_states.json"


def problem_named(name: str) -> ControlProblem:
    return AWKWARD[name] if name in AWKWARD else VARIANTS[name]()


def worst_of(name: str, rays: int, keep: int) -> list[dict[str, Any]]:
    """The states of a system that need the most changes on each route, most first."""
    problem = problem_named(name)
    x = crowded_states(problem, rays)
    found = []
    for route in ROUTES:
        plan = OnlineExpert(problem, route=route).plan(x)
        assert set(plan.status.tolist()) <= {Status.optimal, Status.infeasible}
        for i in np.argsort(-plan.iterations, kind="stable")[:keep]:
            changes, status = int(plan.iterations[i]), int(plan.status[i])
            found.append(
                {"problem": name, "route": route, "x": x[i].tolist(), "status": status, "changes": changes}
            )
    return found


def search(rays: int = 200, keep: int = 4) -> None:
    """Write the worst states of the systems of short horizon and the awkward ones to the file, one a line."""
    found = [case for name in SHORT for case in worst_of(name, rays, keep)]
    FILE.write_text("[\n" + ",\n".join(json.dumps(case) for case in found) + "\n]\n")


CASES = json.loads(FILE.read_text()) if FILE.exists() else []


@pytest.mark.parametrize("name", SHORT)
def test_the_worst_states_are_settled_in_about_the_changes_they_took(name):
    """A fifth and two changes of grace a state, a twentieth on the whole: processors round differently."""
    problem = problem_named(name)
    for route, most in ROUTES.items():
        cases = [case for case in CASES if (case["problem"], case["route"]) == (name, route)]
        known = np.array([case["changes"] for case in cases])
        plan = OnlineExpert(problem, route=route).plan(np.array([case["x"] for case in cases]))
        assert plan.status.tolist() == [case["status"] for case in cases], route
        assert (plan.iterations <= 1.2 * known + 2).all(), (route, plan.iterations, known)
        assert plan.iterations.sum() <= 1.05 * known.sum() + 2
        assert (plan.iterations <= most * problem.N * problem.m + 20).all(), "faster than the problem grows"


if __name__ == "__main__":
    search()
