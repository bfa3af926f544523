"""Exported C: compiled without a warning, its self-test, and its inputs beside those of Python."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from generators import asymmetric, feasible_states

from mpc import catalogue
from mpc.barrier import BarrierExpert
from mpc.condense import least_distance
from mpc.explicit import ExplicitExpert
from mpc.export_c import explicit_law
from mpc.export_c_barrier import barrier_solver
from mpc.status import Status

CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler (cc, gcc or clang) is installed")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-O2"]
PROBLEMS = {
    "double_integrator": catalogue.double_integrator(),
    "cart_pole": catalogue.cart_pole(N=3),
    "asymmetric": asymmetric(N=3),
}


def written(texts, folder):
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def run(*command, cwd):
    words = [str(part) for part in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_law_in_c_is_the_law(name, tmp_path):
    expert = ExplicitExpert(PROBLEMS[name])
    problem, regions = expert.problem, expert.regions
    folder = written(explicit_law(expert, name, states=300), tmp_path)
    built = run(CC, *STRICT, f"{name}.c", f"{name}_test.c", "-lm", "-o", "check", cwd=folder)
    assert built.returncode == 0, built.stderr
    checked = run(folder / "check", cwd=folder)
    assert checked.returncode == 0
    assert f"{name}: 300 of 300 states as expected, largest error " in checked.stdout

    run(CC, *STRICT, "-shared", "-fPIC", f"{name}.c", "-o", "law.so", cwd=folder)
    control = getattr(ctypes.CDLL(str(folder / "law.so")), f"{name}_control")
    rng = np.random.default_rng(1)
    low, high = regions.within.bounds
    r = rng.integers(len(regions), size=1500)
    facet = regions.first[r] + rng.integers(1000, size=len(r)) % np.diff(regions.first)[r]
    scaled = regions.A[facet] * regions.reach  # states on facets: no hole may open there
    room = regions.b[facet] - np.sum(regions.A[facet] * regions.centre[r], axis=1)
    at_facets = regions.centre[r] + room[:, None] * scaled * regions.reach
    x = np.vstack([at_facets, rng.uniform(low, high, (1000, problem.n)), [[np.nan] * problem.n]])
    label, (inner, outer) = expert(x), (expert(part * x).status for part in (1 - 1e-6, 1 + 1e-6))
    steepest = (np.abs(expert.first_moves.K) @ regions.reach).max()
    u = np.zeros(problem.m)
    for i in range(len(x)):
        given = x[i].copy()
        status = control(given.ctypes.data_as(ctypes.c_void_p), u.ctypes.data_as(ctypes.c_void_p))
        if inner[i] == outer[i] == Status.optimal:
            assert status == Status.optimal, (i, x[i])
        elif inner[i] == outer[i]:
            assert status == Status.infeasible, (i, x[i])
        if status == label.status[i] == Status.optimal:
            np.testing.assert_allclose(u, label.u[i], atol=1e-7 * (steepest + 1.0))


@needs_compiler
@pytest.mark.parametrize("eta", [1.0, 1e-3])
@pytest.mark.parametrize("name", ["double_integrator", "asymmetric", "cart_pole_20", "quadrotor"])
def test_the_barrier_in_c_is_the_barrier(name, eta, tmp_path):
    problem = {**PROBLEMS, "cart_pole_20": catalogue.cart_pole(N=20), "quadrotor": catalogue.quadrotor()}[
        name
    ]
    expert = BarrierExpert(problem, eta)
    folder = written(barrier_solver(expert, name, states=50), tmp_path)
    built = run(CC, *STRICT, f"{name}.c", f"{name}_test.c", "-lm", "-o", "check", cwd=folder)
    assert built.returncode == 0, built.stderr
    checked = run(folder / "check", cwd=folder)
    assert checked.returncode == 0, checked.stdout
    assert f"{name}: 50 of 50 states as expected, largest error " in checked.stdout

    run(CC, *STRICT, "-shared", "-fPIC", f"{name}.c", "-lm", "-o", "law.so", cwd=folder)
    control = getattr(ctypes.CDLL(str(folder / "law.so")), f"{name}_control")
    rows, plan = least_distance(problem).M.shape
    memory = np.zeros(2 * plan + plan * plan + 4 * rows)
    x = feasible_states(problem, 60, "c")
    x = np.vstack(
        [x[expert(1.0001 * x).status == Status.optimal], 1e3 * x[:3], np.full((1, problem.n), np.inf)]
    )
    label, u = expert(x), np.zeros(problem.m)
    for i in range(len(x)):
        given = x[i].copy()
        status = control(*(a.ctypes.data_as(ctypes.c_void_p) for a in (memory, given, u)), None)
        if label.status[i] == Status.optimal:
            assert status == Status.optimal, x[i]
            np.testing.assert_allclose(u, label.u[i], atol=1e-7 * np.nanmax(np.abs(label.u)))
        elif label.status[i] == Status.invalid_input:
            assert status == Status.invalid_input
        else:
            assert status in (Status.iteration_limit, Status.numerical_error)


@needs_compiler
def test_it_needs_nothing_from_the_system(tmp_path):
    expert = ExplicitExpert(PROBLEMS["double_integrator"])
    folder = written(explicit_law(expert, "law", states=20), tmp_path)
    assert run(CC, *STRICT, "-c", "law.c", "-o", "law.o", cwd=folder).returncode == 0
    wanted = run("nm", "-u", "law.o", cwd=folder)
    if wanted.returncode == 0:
        assert wanted.stdout.split() in ([], ["U", "_GLOBAL_OFFSET_TABLE_"])


@needs_compiler
def test_the_self_test_notices_a_wrong_law(tmp_path):
    expert = ExplicitExpert(PROBLEMS["double_integrator"])
    texts = explicit_law(expert, "law", states=100)
    assert "u[i] = shift" in texts["law.c"]
    texts["law.c"] = texts["law.c"].replace("u[i] = shift", "u[i] = 1e-3 + shift")
    folder = written(texts, tmp_path)
    assert run(CC, *STRICT, "law.c", "law_test.c", "-lm", "-o", "check", cwd=folder).returncode == 0
    checked = run(folder / "check", cwd=folder)
    assert checked.returncode == 1
    assert "largest error 1.0e-03" in checked.stdout


@pytest.mark.parametrize("name", ["", "Law", "3d", "a-b", "double", "law; rm"])
def test_names_that_are_no_identifiers_are_refused(name):
    with pytest.raises(ValueError, match="name must be a C identifier in lower case"):
        explicit_law(ExplicitExpert(catalogue.double_integrator(N=1)), name)


def test_the_same_text_again():
    problem = catalogue.double_integrator(N=3)
    assert explicit_law(ExplicitExpert(problem)) == explicit_law(ExplicitExpert(problem))
    with pytest.raises(ValueError, match="states, of the self-test, must be at least 1"):
        explicit_law(ExplicitExpert(problem), states=0)
