"""The benchmark of solvers: its truths, its peers' labels, its clock and its table. Nothing here is timed."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from generators import asymmetric, dense_barrier

from bench.cli import main
from bench.speed import solvers
from bench.speed.barrier_peers import BARRIER
from bench.speed.cases import GROWING, NAMED, boundary_states, case_of, closed_loop_states
from bench.speed.exact_peers import EXACT
from bench.speed.forms import dense_form, sparse_form
from bench.speed.peers import Peer, Task, one_by_one
from bench.speed.rows import TARGET, Accuracy, Row
from bench.speed.solvers import Settings, measure
from bench.speed.table import HEADS, cells, frame, markdown, rich_table
from bench.speed.timing import Contestant, Times, affordable, in_turn, threads
from bench.speed.truth import barrier_truth, exact_truth
from mpc import OnlineExpert, Status, catalogue
from mpc.kernels.threads import thread_count

TINY = Settings(("a",), states=2, steps=3, rounds=1, budget=0.0, least=0.0)
PARTS = [
    *(pytest.param(peer, Task("exact"), id=f"{peer.name}") for peer in EXACT),
    *(pytest.param(peer, Task("loop", warm=True), id=f"{peer.name}, warm") for peer in EXACT if peer.warm),
    *(pytest.param(peer, Task("barrier", eta=0.1), id=f"{peer.name}, barrier") for peer in BARRIER),
]


@pytest.fixture(scope="module")
def lopsided():
    """A problem with mixed and terminal rows and no symmetry, and states near its boundary."""
    problem = asymmetric(4)
    return problem, boundary_states(problem, 5, "lopsided")


@pytest.mark.parametrize(("peer", "task"), PARTS)
def test_every_peer_reaches_the_target(peer, task, lopsided):
    if peer.missing:
        pytest.skip(f"{' and '.join(peer.missing)} not installed")
    problem, x = lopsided
    truth = barrier_truth(problem, x, task.eta)[0] if task.eta else exact_truth(problem, x)
    errors = [
        Accuracy.of(peer.build(problem, tolerance, task)(x), truth).largest for tolerance in peer.ladder[::-1]
    ]
    assert min(errors) <= TARGET


def test_truths_agree_with_methods_that_share_nothing_with_them(lopsided):
    problem, x = lopsided
    np.testing.assert_allclose(exact_truth(problem, x), OnlineExpert(problem)(x).u, atol=1e-12)
    u, dudx = barrier_truth(problem, x, 0.1)
    step = 1e-5
    for i, state in enumerate(x[:2]):
        np.testing.assert_allclose(u[i], dense_barrier(problem, state, 0.1)[0][: problem.m], atol=1e-9)
        for axis, e in enumerate(step * np.eye(problem.n)):
            ahead, behind = (barrier_truth(problem, (state + s * e)[None], 0.1)[0][0] for s in (1, -1))
            np.testing.assert_allclose(dudx[i, :, axis], (ahead - behind) / (2 * step), atol=1e-6)


def test_a_state_without_a_plan_has_no_truth():
    problem = catalogue.double_integrator()
    x = np.array([[30.0, 0.0], [1.0, 0.0]])
    assert np.isnan(exact_truth(problem, x)).tolist() == [[True], [False]]
    assert np.isnan(barrier_truth(problem, x, 0.1)[0]).tolist() == [[True], [False]]


def test_both_forms_have_the_same_optimum_value_and_merge_opposite_rows():
    problem = catalogue.cart_pole(N=6)
    x = np.array([0.3, -0.2, 0.05, 0.1])
    dense, sparse = dense_form(problem), sparse_form(problem)
    assert dense.equalities == 0
    assert sparse.equalities == 6 * 4
    assert np.isfinite(dense.low).all()
    assert np.isfinite(dense.high).all()
    assert len(dense.low) == 2 * 6  # position and angle at six stages, both sides in one row
    assert np.isfinite(sparse.upper).sum() == 6 * (2 + 1)  # the same as bounds, and the inputs'
    u = np.linspace(-1, 1, 6)
    states = [x]
    for value in u:
        states.append(problem.system.step(states[-1], np.array([value])))
    z = np.concatenate([np.append(value, state) for value, state in zip(u, states[1:], strict=True)])
    np.testing.assert_allclose(sparse.C[:24] @ z, sparse.S[:24] @ x, atol=1e-12)
    values = [0.5 * v @ form.P @ v + x @ form.F @ v for form, v in ((dense, u), (sparse, z))]
    at_rest = [0.5 * v @ sparse.P @ v for v in [_free(problem, x)]]
    assert values[0] == pytest.approx(values[1] - at_rest[0], rel=1e-9)


def _free(problem, x):
    """The sparse form's z without input."""
    z = []
    for _ in range(problem.N):
        x = problem.system.step(x, np.zeros(problem.m))
        z.append(np.append(np.zeros(problem.m), x))
    return np.concatenate(z)


def test_states_crowd_the_boundary_and_are_nested():
    problem = catalogue.double_integrator(Qf="dare")
    x = boundary_states(problem, 400, "a")
    np.testing.assert_allclose(boundary_states(problem, 50, "a"), x[:50], rtol=1e-12)
    expert = OnlineExpert(problem)
    assert (expert(x).status == Status.optimal).all()
    beyond = (expert(1.25 * x).status == Status.infeasible).mean()
    assert beyond == pytest.approx(1 - (0.8 / 0.98) ** 2, abs=0.1)  # P(0.98 sqrt(U) > 1 / 1.25)
    loops = closed_loop_states(problem, x[:20], 4)
    np.testing.assert_array_equal(loops[:, 0], x[:20])
    assert loops.shape == (20, 4, 2)


@pytest.mark.parametrize("text", [*NAMED, *GROWING])
def test_every_problem_of_the_default_run_exists(text):
    case = case_of(text)
    assert case.problem.N >= 10
    assert " " not in text


def test_missing_and_broken_peers_are_rows(monkeypatch):
    def broken(problem, tolerance, task):
        raise RuntimeError("no such luck")

    def never(problem, tolerance, task):
        return one_by_one(lambda x: np.nan, problem.m)

    peers = (
        Peer("gone", "no_such_package", (None,), broken),
        Peer("broken", "numpy", (None,), broken),
        Peer("never", "numpy", (1e-3, 1e-6), never),
    )
    monkeypatch.setattr(solvers, "EXACT", peers)
    monkeypatch.setattr(solvers, "BARRIER", ())
    rows = [row for row in measure("a", TINY) if row.task == "exact"]
    ours, two, never_row, gone, broken_row = rows
    assert (ours.solver, ours.threads, ours.wall_ratio) == ("centralpath", 1, 1.0)
    assert two.threads == 2
    assert gone.note == "not installed: pip install no_such_package"
    assert broken_row.note == "failed: RuntimeError: no such luck"
    assert np.isnan(broken_row.wall_us)
    assert (never_row.line, never_row.failed, never_row.note) == ("best", 2, "misses 1e-06")
    assert ours.error_max <= 1e-8


def test_accuracy_counts_missing_labels_and_leaves_out_what_has_no_truth():
    truth = np.array([[0.0, 0.0], [1.0, 1.0], [np.nan, np.nan]])
    good = Accuracy.of(np.array([[0.0, 1e-9], [1.0, 1.0], [5.0, 5.0]]), truth)
    assert (good.states, good.failed, good.reached) == (2, 0, True)
    assert good.largest == pytest.approx(1e-9)
    bad = Accuracy.of(np.array([[0.0, np.nan], [1.0, 1.0], [5.0, 5.0]]), truth)
    assert (bad.states, bad.failed, bad.reached, bad.q99) == (2, 1, False, np.inf)
    with pytest.raises(ValueError, match="no state has an audited truth"):
        Accuracy.of(truth[2:], truth[2:])


def test_contestants_run_in_turn_on_their_threads():
    log = []
    contestants = [
        Contestant(lambda name=name: log.append((name, thread_count())), 10, threads)
        for name, threads in (("A", 1), ("B", 2))
    ]
    before = thread_count()
    times = in_turn(contestants, rounds=3, least=0.0)
    assert log == [("A", 1), ("B", 2)] * 4  # one of them to warm up
    assert thread_count() == before
    assert [t.wall.shape for t in times] == [(3,), (3,)]


def test_ratios_are_medians_of_the_rounds_ratios():
    ours = Times(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]))
    other = Times(np.array([2.0, 8.0, 9.0]), np.array([5.0, 7.0, 6.0]))
    assert other.ratios(ours) == (3.0, 6.0)
    assert other.microseconds() == (8e6, 6e6)


def test_slow_peers_get_fewer_states():
    assert affordable(lambda count: None, 500, budget=1.0) == 500
    assert affordable(lambda count: sum(range(100_000)), 500, budget=0.0) == 10
    assert affordable(lambda count: None, 3, budget=1.0) == 3


def test_threads_are_put_back(monkeypatch):
    monkeypatch.delenv("CENTRALPATH_THREADS", raising=False)
    default = thread_count()
    with threads(7):
        assert thread_count() == 7
    assert thread_count() == default


def test_the_command_writes_one_table_in_three_files(tmp_path, capsys):
    out = tmp_path / "speed"
    options = ["--states", "2", "--rounds", "1", "--budget", "0.001", "--out", str(out)]
    assert main(["speed", "solvers", "--problems", "a", "--peers", "osqp sparse", "numpy", *options]) == 0
    shown = capsys.readouterr().out
    assert "osqp sparse" in shown
    assert "centralpath" in shown
    table = pd.read_parquet(out / "solvers.parquet")
    assert list(table) == [field.name for field in fields(Row)]
    assert list(pd.read_csv(out / "solvers.csv")) == list(table)
    assert set(table["task"]) == {"exact", "exact, closed loop", "barrier 0.01", "barrier 1"}
    assert set(table["solver"]) == {"centralpath", "osqp sparse", "numpy newton"}
    matched = table[table["line"].isin(["", "matched"])]
    assert (matched["error_q99"] <= TARGET).all()
    assert (table["wall_us"] > 0).all()
    assert (table.query("solver == 'centralpath' and task == 'barrier 1'")["error_jacobian"] <= 1e-8).all()
    text = (out / "solvers.md").read_text()
    assert "`centralpath speed solvers --problems a --peers osqp sparse numpy --states 2" in text
    assert "| osqp sparse |" in text
    assert text.count("\n| a |") == len(table)


def test_a_table_can_be_shown_whatever_is_missing_in_it():
    row = Row("a", 2, 1, 10, "exact", "gone", "", "", "not installed: pip install gone")
    assert len(cells(row)) == len(HEADS) == len(rich_table([row]).columns)
    assert "| gone | - |" in markdown([row], "centralpath speed solvers")
    assert len(frame([row])) == 1
