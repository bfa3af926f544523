"""Regions by PPOPT (Kenefake, Pistikopoulos), in a process of its own that can be stopped.

``python -m bench.speed.parametric_peer SYSTEM ALGORITHM`` prints count and seconds as JSON last.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from mpc.arrays import Array
from mpc.catalogue import SystemSpec
from mpc.condense import condense, least_distance
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.walk import domain

ALGORITHMS = ("graph", "geometric", "combinatorial_graph")
"""The ones that do not try every set; which is the quickest depends on the problem."""


@dataclass(frozen=True)
class Listed:
    """How many regions were found, and the seconds that took; NaN where it was stopped."""

    algorithm: str
    regions: int
    seconds: float


def installed() -> bool:
    return find_spec("ppopt") is not None


def listed(problem: ControlProblem, within: Polytope, algorithm: str) -> Any:
    """PPOPT's solution of the condensed problem: ``min 1/2 U'HU + x'F U`` over ``G U <= w + E x``."""
    package: Any = import_module("ppopt.mpqp_program")
    solver: Any = import_module("ppopt.mp_solvers.solve_mpqp")
    form = condense(problem)

    def column(values: Array) -> Array:
        return np.array(values).reshape(-1, 1)

    zero = np.zeros((len(form.H), 1))
    program = package.MPQP_Program(
        form.G, column(form.w), zero, form.F.T.copy(), form.H, np.array(within.G), column(within.h), form.E
    )
    return solver.solve_mpqp(program, getattr(solver.mpqp_algorithm, algorithm))


def timed(text: str, algorithm: str, most: float) -> Listed:
    """The regions of a system in text, stopped after ``most`` seconds beyond its start-up."""
    command = [sys.executable, "-m", "bench.speed.parametric_peer", text, algorithm]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=most + 30)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return Listed(algorithm, 0, float("nan"))
    return Listed(algorithm, **json.loads(done.stdout.splitlines()[-1]))


def main(text: str, algorithm: str) -> None:
    small = SystemSpec.parse("double_integrator:N=1").build()
    listed(small, domain(small, least_distance(small)), algorithm)  # it compiles at first use
    problem = SystemSpec.parse(text).build()
    within, start = domain(problem, least_distance(problem)), time.perf_counter()
    solution = listed(problem, within, algorithm)
    seconds = time.perf_counter() - start
    print(json.dumps({"regions": len(solution.critical_regions), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
