"""Problems, polytopes and QPs: what they mean, what they refuse, and the audit of a QP's solution."""

import numpy as np
import pytest
from generators import answer_first_qp, as_control_problem, asymmetric
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import catalogue
from mpc.condense import condense, least_distance
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, riccati_solution, stage_cost, stage_rows
from mpc.qp import QP, Residuals, Solution
from mpc.reference import plan_cost
from mpc.status import Status
from mpc.system import LinearSystem

A, B = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]])
SYSTEM = LinearSystem(A, B)


def test_the_cost_is_not_halved_and_x0_is_not_charged():
    problem = catalogue.double_integrator(N=3, Qf=7 * np.eye(2))
    rng = np.random.default_rng(0)
    x0, u = rng.normal(size=2), rng.normal(size=(3, 1))
    x = [x0]
    for k in range(3):
        x.append(A @ x[k] + B @ u[k])
    V = sum(0.01 * u[k, 0] ** 2 for k in range(3)) + x[1] @ x[1] + x[2] @ x[2] + 7 * x[3] @ x[3]
    form = condense(problem)
    flat = u.ravel()
    assert 0.5 * flat @ form.H @ flat + x0 @ form.F @ flat + x0 @ form.Y @ x0 == pytest.approx(V, rel=1e-13)
    assert form.qp(x0).objective(flat) + x0 @ form.Y @ x0 == pytest.approx(V, rel=1e-13)
    assert plan_cost(problem, x0, u) == pytest.approx(V, rel=1e-13)


def test_condensed_residuals_are_the_slacks_of_every_stage_in_order():
    problem, rng = asymmetric(), np.random.default_rng(1)
    x0, u = rng.normal(size=2), rng.normal(size=(problem.N, 2))
    x, slacks = x0, []
    for k in range(problem.N + 1):
        C, D, d = stage_rows(problem, k)
        slacks.append(d - C @ x - (D @ u[k] if k < problem.N else 0))
        if k < problem.N:
            x = problem.system.step(x, u[k])
    form = condense(problem)
    np.testing.assert_allclose(form.w + form.E @ x0 - form.G @ u.ravel(), np.concatenate(slacks), atol=1e-12)
    assert [len(stage_rows(problem, k)[2]) for k in (0, 1, problem.N)] == [4, 7, 5]


def test_least_distance_form_is_the_same_problem():
    problem, rng = asymmetric(), np.random.default_rng(2)
    form, dense = least_distance(problem), condense(problem)
    x0, z = rng.normal(size=(1, 2)), rng.normal(size=(1, problem.N * problem.m))
    _, u = form.inputs(problem.system.A, problem.system.B, x0, z)
    U = u[0].ravel()
    V = 0.5 * U @ dense.H @ U + x0[0] @ dense.F @ U + x0[0] @ dense.Y @ x0[0]
    assert x0[0] @ form.P0 @ x0[0] + z[0] @ z[0] == pytest.approx(V, rel=1e-12)
    slack = (form.w + form.E @ x0[0] - form.M @ z[0]) * form.norms
    np.testing.assert_allclose(slack, dense.w + dense.E @ x0[0] - dense.G @ U, atol=1e-12)


def test_stage_cost_is_the_summand_of_J():
    problem = catalogue.double_integrator()
    cost = stage_cost(problem, [[1.0, 2.0], [0.0, 0.0]], [[3.0], [1.0]])
    np.testing.assert_allclose(cost, [5.09, 0.01], rtol=1e-14)


def test_default_terminal_weight_solves_the_riccati_equation():
    problem = ControlProblem(SYSTEM, R=2 * np.eye(1))
    P, R = problem.Qf, problem.R
    gain = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
    np.testing.assert_allclose(P, np.eye(2) + A.T @ P @ A - A.T @ P @ B @ gain, rtol=1e-10)
    np.testing.assert_array_equal(P, riccati_solution(SYSTEM, problem.Q, R))


def test_a_record_reads_back_to_the_same_bits():
    problem = asymmetric()
    again = ControlProblem.from_record(problem.record())
    assert again.key == problem.key
    assert again.with_(N=7).key != problem.key
    with pytest.raises(ValueError, match=r"missing \['N'\]"):
        ControlProblem.from_record({k: v for k, v in problem.record().items() if k != "N"})


BAD_PROBLEMS = {
    "A non-square": (lambda: LinearSystem(np.ones((2, 3)), B), r"A must be square.*\(2, 3\)"),
    "A text": (lambda: LinearSystem([["one"]], [[1.0]]), "A must be an array of real numbers"),
    "B rows": (lambda: LinearSystem(A, np.ones((3, 1))), r"B must have shape \(2, any\), got \(3, 1\)"),
    "B empty": (lambda: LinearSystem(A, np.ones((2, 0))), "B must have at least one column"),
    "dt": (
        lambda: LinearSystem(A, B, dt=0),
        "dt, the sampling time in seconds, must be a positive number, got 0",
    ),
    "Q shape": (lambda: ControlProblem(SYSTEM, Q=np.eye(3)), r"Q must have shape \(2, 2\), got \(3, 3\)"),
    "Q not PSD": (
        lambda: ControlProblem(SYSTEM, Q=np.diag([1.0, -1.0])),
        "Q must be positive semidefinite, its smallest eigenvalue is -1; a cost that falls",
    ),
    "Q asymmetric": (
        lambda: ControlProblem(SYSTEM, Q=np.array([[1.0, 0.5], [0.0, 1.0]])),
        r"Q must be symmetric; pass \(Q \+ Q.T\) / 2",
    ),
    "R not PD": (lambda: ControlProblem(SYSTEM, R=np.zeros((1, 1))), "R must be positive definite.*is 0"),
    "R NaN": (lambda: ControlProblem(SYSTEM, R=np.array([[np.nan]])), "R must be finite, got nan"),
    "Qf name": (lambda: ControlProblem(SYSTEM, Qf="P"), "Qf must be 'Q', 'dare' or an array, got 'P'"),  # type: ignore[arg-type]
    "Qf unstabilisable": (
        lambda: ControlProblem(LinearSystem([[2.0]], [[0.0]])),
        r"Qf='dare' needs \(A, B\) stabilisable",
    ),
    "N": (lambda: ControlProblem(SYSTEM, N=0), "N, the horizon, must be a whole number of at least 1, got 0"),
    "X dimension": (
        lambda: ControlProblem(SYSTEM, X=Polytope.box([-1], [1])),
        r"X must be a polytope in R\^2 .*got one in R\^1",
    ),
    "X no polytope": (
        lambda: ControlProblem(SYSTEM, X=[[1.0, 0.0]]),  # type: ignore[arg-type]
        r"X must be a Polytope\(G, h\), got list",
    ),
    "A ragged": (lambda: LinearSystem([[1.0, 2.0], [3.0]], B), "A must be an array of real numbers"),
    "XU dimension": (lambda: ControlProblem(SYSTEM, XU=Polytope.box([-1], [1])), r"XU .*R\^3"),
    "labels": (
        lambda: ControlProblem(SYSTEM, state_labels=("x",)),
        "state_labels must have 2 entries, got 1",
    ),
    "empty": (lambda: Polytope([[1.0], [-1.0]], [-1.0, -1.0]), "the polytope G z <= h is empty"),
    "zero row": (lambda: Polytope([[0.0]], [-1.0]), "the polytope G z <= h is empty"),
    "h length": (lambda: Polytope([[1.0]], [1.0, 2.0]), r"h must have shape \(1\), got \(2,\)"),
    "h infinite": (lambda: Polytope([[1.0]], [np.inf]), "h must be finite.*leave out rows"),
    "box crossed": (lambda: Polytope.box([1.0], [-1.0]), "low must not exceed high"),
    "P asymmetric": (lambda: QP([[1.0, 1], [0, 1]], [0.0, 0], [[1.0, 1]], [1.0]), "P must be symmetric"),
    "qp rows": (lambda: QP(np.eye(2), [0.0, 0], [[1.0]], [1.0]), r"G must have shape \(any, 2\)"),
}


BAD_RECORDS = {
    "no system": (
        {"system": None},
        r"system of a problem.s record must hold \['A', 'B', 'dt'\], got NoneType",
    ),
    "half a system": ({"system": {"A": [[1.0]]}}, r"system .* must hold \['A', 'B', 'dt'\], got \['A'\]"),
    "half a set": ({"U": {"G": [[1.0]]}}, r"U of a problem's record must hold \['G', 'h'\], got \['G'\]"),
    "empty set": ({"U": {"G": [[1.0], [-1.0]], "h": [-1, -1]}}, "U: the polytope G z <= h is empty"),
    "set of another space": ({"X": {"G": [[1.0, 0, 0]], "h": [1]}}, r"X must be a polytope in R\^2"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record_is_refused_by_the_name_of_its_part(case):
    changes, message = BAD_RECORDS[case]
    with pytest.raises(ValueError, match=message):
        ControlProblem.from_record(ControlProblem(SYSTEM, U=Polytope.box([-1], [1])).record() | changes)


@pytest.mark.parametrize("case", BAD_PROBLEMS)
def test_bad_input_is_refused_by_name(case):
    build, message = BAD_PROBLEMS[case]
    with pytest.raises(ValueError, match=message):
        build()


def test_numbers_are_copied_and_read_only():
    mine = A.copy()
    system = LinearSystem(mine, B)
    mine[0, 0] = 5.0
    assert system.A[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        system.A[0, 0] = 2.0


def test_a_set_of_one_point_is_not_empty_by_rounding():
    """Two rows meet in one number, which neither gives to the last bit."""
    G = np.array([[-2.158005380126208], [0.32802009]])
    for z in np.random.default_rng(0).uniform(0.01, 3, 500):
        point = Polytope(G, G[:, 0] * z)
        assert point.contains([z], 1e-12)
    with pytest.raises(ValueError, match="is empty"):
        Polytope([[-1.0], [1.0]], [-1.0, 1.0 - 1e-6])


def test_polytope_facts():
    triangle = Polytope([[1.0, 0], [0, 1.0], [-1, -1.0]], [1.0, 2.0, 0.0])
    assert triangle.support([1.0, 1.0]) == pytest.approx(3.0)
    np.testing.assert_allclose(triangle.vertices(), [[-2, 2], [1, -1], [1, 2]], atol=1e-9)
    assert triangle.contains([[0.5, 0.5], [2.0, 0.0], [np.nan, 0.0]]).tolist() == [True, False, False]
    assert np.isnan(triangle.violation([np.nan, 0.0]))
    doubled = Polytope(np.vstack([triangle.G, triangle.G]), np.concatenate([triangle.h, triangle.h + 1]))
    assert len(doubled.h) == 6  # kept as given
    assert len(doubled.reduced().h) == 3
    assert Polytope.box([-np.inf, 0], [1, np.inf]).G.tolist() == [[1, 0], [0, -1]]


# The audit.


def test_the_audit_separates_the_four_conditions():
    qp = QP(np.eye(2), [-2.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0])  # optimum (1, 0), y = (1, 0)
    good = Solution(np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    assert good.residuals(qp) == Residuals(0, 0, 0, 0)
    shifted = Solution(np.array([1.25, 0.0]), np.array([0.75, 0.0])).residuals(qp)
    assert shifted == Residuals(0, 0.25, 0, 0.1875)
    assert Solution(good.z, np.array([0.5, 0.0])).residuals(qp) == Residuals(0.5, 0, 0, 0)
    assert Solution(np.array([1.0, 0.5]), np.array([1.0, -0.5])).residuals(qp) == Residuals(0, 0, 0.5, 0.25)
    assert not shifted.within(0.1)


@pytest.mark.parametrize("relative", [False, True])
def test_the_audit_fails_on_nan(relative):
    qp, solution = answer_first_qp(np.random.default_rng(0), 3, 5, 2)
    assert solution.residuals(qp, relative=relative).within(1e-12)
    bad_z = Solution(np.array([np.nan, *solution.z[1:]]), solution.duals).residuals(qp, relative=relative)
    assert (bad_z.stationarity, bad_z.primal, bad_z.complementarity) == (np.inf, np.inf, np.inf)
    duals = np.array([*solution.duals[:-1], np.nan])
    bad_y = Solution(solution.z, duals).residuals(qp, relative=relative)
    assert (bad_y.stationarity, bad_y.dual_sign, bad_y.complementarity) == (np.inf, np.inf, np.inf)
    for bad in (bad_z, bad_y):
        assert bad.worst == np.inf
        assert not bad.within(1e300)


def test_the_audit_refuses_foreign_shapes():
    qp, solution = answer_first_qp(np.random.default_rng(0), 3, 5, 2)
    with pytest.raises(ValueError, match=r"must have shapes \(3,\) and \(5,\)"):
        Solution(solution.z[:2], solution.duals).residuals(qp)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), size=st.integers(1, 5), active=st.integers(0, 7), weak=st.integers(0, 2)
)
def test_generated_answers_pass_the_audit(seed, size, active, weak):
    qp, answer = answer_first_qp(
        np.random.default_rng(seed), size, active + weak + 3, active, weak=weak, repeated=2
    )
    assert answer.residuals(qp, relative=True).within(1e-13)


def test_a_problem_of_horizon_one_condenses_to_the_given_qp():
    qp, answer = answer_first_qp(np.random.default_rng(5), 3, 6, 2)
    problem, x0 = as_control_problem(qp)
    same = condense(problem).qp(x0)
    for name in "PqGh":
        np.testing.assert_allclose(getattr(same, name), getattr(qp, name), rtol=1e-11, atol=1e-11)
    plan = OnlineExpert(problem).plan(x0[None])
    assert plan.status[0] == Status.optimal
    np.testing.assert_allclose(plan.u[0, 0], answer.z, atol=1e-10)


def test_every_status_is_a_sentence_and_only_positive_ones_are_usable():
    assert {int(s): s.name for s in Status} == {
        2: "optimal", 1: "optimal_inaccurate", 0: "unset", -1: "infeasible", -2: "unbounded",
        -3: "iteration_limit", -4: "numerical_error", -5: "invalid_input",
    }  # fmt: skip
    for status in Status:
        assert len(status.sentence.split()) >= 6
        assert ("usable" in status.sentence or "optimal to" in status.sentence) == (int(status) > 0)
    remedies = {"infeasible": "soft", "iteration_limit": "max_iterations", "numerical_error": "scaling"}
    for name, remedy in remedies.items():
        assert remedy in Status[name].sentence
