"""Real experiments, small ones: what a chunk returns, and that it is the same whoever runs it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.conditions import Conditions
from bench.experiment import Experiment, divide
from bench.measure import Reference, with_unit_bounds
from bench.report import write_report
from bench.run import run
from bench.store import COLUMNS, TIMINGS, read_arrays, read_table
from bench.sweep import sweep
from imitation.demonstrate import demonstrate
from imitation.learners.configs import BehaviourCloning, Cmile, Dagger, Forward
from imitation.policies.configs import Mlp
from imitation.task import Pupil, Task
from mpc import catalogue
from mpc.catalogue import SystemSpec
from mpc.configs import Lqr, Online
from mpc.metrics import suboptimality
from mpc.polytope import Polytope
from mpc.problem import ControlProblem

LEARNER = BehaviourCloning(policy=Mlp(width=16, depth=3), steps=30, batch=32)
BASE = Experiment(
    "demo",
    SystemSpec("double_integrator"),
    Online(),
    LEARNER,
    demonstrations=4,
    steps=8,
    test_episodes=10,
)


def population(**changes):
    base = replace(BASE, **changes)
    return [replace(base, rep=rep, demonstrations=n) for rep in range(2) for n in (2, 4)]


@pytest.fixture(scope="module")
def outcomes():
    (chunk,) = divide(population())
    return run(chunk)


def test_rows_hold_every_column_and_sound_numbers(outcomes):
    table = pd.DataFrame(outcomes.rows)
    assert set(COLUMNS) - set(table.columns) == {"checksum"}
    assert table["demonstrations"].tolist() == [2, 4, 2, 4]
    assert table["expert_queries"].tolist() == [16, 32, 16, 32]
    assert table["cost_ratio_mean"].tolist() == table["own_cost_ratio_mean"].tolist()
    assert (table["expert_cost_ratio_mean"] == 1).all()
    assert (table["imitation_error_q90"] >= table["imitation_error_median"]).all()
    assert (table["imitation_error_median"] > 0).all()
    assert table["success_rate"].between(0, 1).all()
    assert (table["jacobian_max"] > 0).all()
    assert json.loads(table["versions"][0])["numpy"] == np.__version__


def test_arrays_hold_what_the_report_draws(outcomes):
    key = outcomes.rows[0]["key"]
    shapes = {name.removeprefix(f"{key}/"): a.shape for name, a in outcomes.arrays.items() if key in name}
    assert shapes["error_over_time"] == (10, 9)
    assert shapes["trajectories"] == shapes["expert_trajectories"] == (8, 9, 2)
    assert shapes["inputs"] == (8, 8, 1)
    assert shapes["landscape.axes"] == (2, 61)
    assert shapes["landscape.learned"] == outcomes.arrays["landscape/online"].shape == (61, 61, 1)
    assert any(name.startswith("params.") for name in shapes)
    assert shapes["history.steps"] == shapes["history.loss"] == shapes["history.validation"] == (20,)
    assert shapes["history.cost"] == (20, 10)
    worst = outcomes.arrays[f"{key}/error_over_time"].max(axis=1).mean()
    assert outcomes.rows[0]["imitation_error_mean"] == pytest.approx(worst)


def test_the_cost_along_training_ends_at_the_cost_of_the_row(outcomes):
    for row in outcomes.rows:
        cost, exact = (outcomes.arrays[f"{row['key']}/{name}"] for name in ("history.cost", "exact_cost"))
        assert suboptimality(cost[-1], exact).ratio_of_means == row["cost_ratio_mean"]
        assert len({J.mean() for J in cost}) == len(cost)


def test_the_landscape_is_the_expert(outcomes):
    axes = outcomes.arrays[f"{outcomes.rows[0]['key']}/landscape.axes"]
    control = Online().build(BASE.problem())(np.array([[axes[0][33], axes[1][28]]]))
    assert outcomes.arrays["landscape/online"][33, 28, 0] == pytest.approx(control.u[0, 0], abs=1e-6)


def test_the_problem_and_the_experiments_can_be_read_from_the_metadata(outcomes):
    problem = ControlProblem.from_record(json.loads(outcomes.metadata["problem"]))
    assert problem.key == BASE.problem().key
    records = json.loads(outcomes.metadata["experiment"])
    assert records[outcomes.rows[1]["key"]]["demonstrations"] == 4


def test_another_repetition_has_other_numbers(outcomes):
    losses = [row["loss_train"] for row in outcomes.rows]
    assert len(set(losses)) == 4


def test_larger_sets_of_demonstrations_continue_smaller_ones():
    problem, expert = BASE.problem(), Online().build(BASE.problem())
    task = Task(problem, expert, "double_integrator", 8)
    four, two = task.demonstrations([Pupil(1, 4), Pupil(1, 2)])
    whole = demonstrate(problem, expert, "double_integrator", 1, 4, 8)
    assert np.array_equal(four.rollouts.x, whole.rollouts.x)
    assert np.array_equal(two.rollouts.x, whole.rollouts.x[:2])
    assert (four.queries, two.queries) == (whole.queries, 16)


def test_the_exact_expert_succeeds_and_violations_are_shares():
    problem = BASE.problem()
    reference = Reference.of(problem, Online().build(problem), "double_integrator", 10, 20)
    assert np.array_equal(reference.exact.x, reference.cloned.x)
    scaled = with_unit_bounds(problem.with_(U=Polytope.box([-4.0], [2.0])))
    assert scaled.U.violation(np.array([[3.0], [-5.0]])).tolist() == [0.5, 0.25]


def test_conditions_are_those_of_the_loops():
    problem, name = catalogue.triangular(3), "triangular:d=3"
    expert = Online().build(problem)
    nominal = Reference.of(problem, expert, name, 6, 10)
    rough = Reference.of(problem, expert, name, 6, 10, Conditions(disturbance=0.01))
    assert nominal.w is None
    low, high = problem.initial_set.bounds
    assert np.abs(rough.w).max() <= 0.005 * (high - low).max() <= 1.02 * np.abs(rough.w).max()
    step = problem.system.step(rough.cloned.x[:, :-1], rough.cloned.u) + rough.w
    np.testing.assert_allclose(rough.cloned.x[:, 1:], step, atol=1e-12)
    np.testing.assert_array_equal(rough.w[:4], Conditions(0.01).disturbances(problem, name, 4, 10))
    off = Reference.of(problem, expert, name, 6, 10, Conditions(mismatch=0.03))
    share = off.problem.system.A[problem.system.A != 0] / problem.system.A[problem.system.A != 0]
    assert set(np.round(share, 12)) == {0.97, 1.03}
    step = off.problem.system.step(off.cloned.x[:, :-1], off.cloned.u)
    np.testing.assert_allclose(off.cloned.x[:, 1:], step, atol=1e-12)
    assert (off.exact_cost != nominal.exact_cost).all()
    wide = Reference.of(problem, expert, name, 6, 10, Conditions(feasible=True))
    assert np.abs(wide.x0).max() <= 100
    assert not problem.initial.contains(wide.x0).any()
    assert expert(wide.x0).usable.all()
    everywhere = catalogue.double_integrator()
    same = [Conditions(feasible=f).initial_states(everywhere, "double_integrator", 4) for f in (True, False)]
    np.testing.assert_array_equal(*same)
    with pytest.raises(ValueError, match="mismatch must be a number of at least 0, got -1"):
        Conditions(mismatch=-1)


def test_every_learner_is_swept_and_reported(tmp_path):
    learners = {Dagger(LEARNER, rounds=2): 1, Forward(LEARNER): 8, Cmile(LEARNER, rounds=2): 2}
    asked = [one for learner in learners for one in population(learner=learner)]
    assert sweep(asked, tmp_path / "store", 1).failed == 0, read_table(tmp_path / "store")["error"].tolist()
    whole = read_table(tmp_path / "store")
    assert np.isfinite(whole["imitation_error_mean"]).all()
    for learner, fits in learners.items():
        table = whole[whole["learner"].str.startswith(type(learner).__name__)]
        assert (table["expert_queries"] <= [16, 32, 16, 32]).all()  # a loop ends where no plan exists
        arrays, _ = read_arrays(tmp_path / "store", table["chunk"].iloc[0])
        names = [name for name in arrays if name.startswith(f"{table['key'].iloc[0]}/")]
        assert sum("params." in name and name.endswith("layers.0.weight") for name in names) == fits
        assert any(name.endswith("history.cost") for name in names) == (fits == 1)
    assert "<html" in write_report(tmp_path / "store", regions=False).read_text()


def test_the_table_does_not_depend_on_the_number_of_workers(tmp_path):
    asked = population() + population(expert=Lqr(), system=SystemSpec("pitfall_plant"))
    tables = []
    for workers in (1, 2):
        summary = sweep(asked, tmp_path / str(workers), workers)
        assert summary.failed == 0, read_table(tmp_path / str(workers))["error"].tolist()
        tables.append(read_table(tmp_path / str(workers)).drop(columns=list(TIMINGS)))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    one, two = (read_arrays(tmp_path / str(w), tables[0]["chunk"][0])[0] for w in (1, 2))
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
