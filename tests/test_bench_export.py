"""``centralpath export``: files that compile, arrays that say the same, and nothing half-written."""

import json
import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from mpc import ControlProblem, OnlineExpert, catalogue
from mpc.condense import condense
from mpc.initial import test_states as initial_states
from mpc.qp import QP, Solution


@pytest.mark.parametrize("kind", ["explicit", "barrier"])
def test_a_controller_is_written_compiled_and_tests_itself(kind, tmp_path, capsys):
    out = tmp_path / "controller"
    assert main(["export", kind, "--out", str(out), "--name", "wing", "--states", "30"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["wing.c", "wing.h", "wing_test.c"]
    told = capsys.readouterr().out
    command = told.split("self-test: ")[1].replace("\n", "")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is installed")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wing: 30 of 30 states as expected" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["controller"]


def test_a_policy_is_written_as_c_and_as_onnx(tmp_path, capsys):
    data, checkpoint = tmp_path / "demos", tmp_path / "policy.pt"
    assert main(["generate", "--out", str(data), "--episodes", "3", "--steps", "5"]) == 0
    train = [
        "train",
        str(data),
        "--out",
        str(checkpoint),
        "learner:behaviour-cloning",
        "--learner.steps",
        "5",
    ]
    assert main([*train, "learner.policy:mlp", "--learner.policy.width", "8"]) == 0
    assert main(["export", "policy", "--policy", str(checkpoint), "--out", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c" / "mpc_test.c").exists()
    if find_spec("onnx"):
        assert main(["export", "onnx", "--policy", str(checkpoint), "--out", str(tmp_path / "o")]) == 0
        assert (tmp_path / "o" / "mpc.onnx").stat().st_size > 500
    capsys.readouterr()
    assert main(["export", "onnx", "--out", str(tmp_path / "none")]) == 2
    assert "onnx needs --policy FILE" in capsys.readouterr().err


def test_the_arrays_are_the_problem_and_the_record_makes_it_again(tmp_path):
    out = tmp_path / "qp"
    assert main(["export", "mpqp", "--out", str(out), "--system", "cart_pole:N=6", "--name", "cart"]) == 0
    problem, arrays = catalogue.cart_pole(N=6), np.load(out / "cart.npz")
    form = condense(problem)
    for name in ("H", "F", "Y", "G", "w", "E"):
        np.testing.assert_array_equal(arrays[name], getattr(form, name))
    again = ControlProblem.from_record(json.loads((out / "cart.json").read_text()))
    x = np.array([[0.5, -0.2, 0.05, 0.1]])
    np.testing.assert_array_equal(OnlineExpert(again)(x).u, OnlineExpert(problem)(x).u)
    plan = OnlineExpert(problem).plan(x)
    qp = QP(arrays["H"], arrays["F"].T @ x[0], arrays["G"], arrays["w"] + arrays["E"] @ x[0])
    residuals = Solution(plan.u[0].ravel(), plan.multipliers[0]).residuals(qp, relative=True)
    assert residuals.within(1e-9)


def test_a_set_for_qpbenchmark_holds_the_problems_of_the_initial_states(tmp_path):
    out = tmp_path / "set"
    command = ["export", "qpbenchmark", "--out", str(out), "--system", "cart_pole:N=4", "--name", "cart_set"]
    assert main([*command, "--states", "5"]) == 0
    table = pd.read_parquet(out / "cart_set.parquet")
    assert list(table.columns) == ["P", "q", "G", "h", "A", "b", "lb", "ub", "name"]
    problem = catalogue.cart_pole(N=4)
    x = initial_states(problem, problem.name, 5)
    u = OnlineExpert(problem).plan(x).u
    for (_, row), plan in zip(table.iterrows(), u, strict=True):
        size = row["q"].size
        qp = QP(row["P"].reshape(size, size), row["q"], row["G"].reshape(-1, size), row["h"])
        solution = solve_qp(qp)
        np.testing.assert_allclose(solution, plan.ravel(), atol=1e-5)
    script = (out / "cart_set.py").read_text()
    assert "class CartSet(qpbenchmark.ParquetTestSet):" in script
    if find_spec("qpbenchmark"):
        from qpbenchmark.benchmark import load_test_set

        problems = list(load_test_set(str(out / "cart_set.py")))
        assert [problem.name for problem in problems] == table["name"].tolist()
        np.testing.assert_array_equal(problems[2].G.ravel(), table["G"][2])


def solve_qp(qp):
    """By CLARABEL through cvxpy."""
    import cvxpy

    z = cvxpy.Variable(len(qp.q))
    cost = cvxpy.quad_form(z, cvxpy.psd_wrap(qp.P)) / 2 + qp.q @ z
    cvxpy.Problem(cvxpy.Minimize(cost), [qp.G @ z <= qp.h]).solve(solver=cvxpy.CLARABEL)
    return z.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explicit", "--name", "3d"], "error: name must be a C identifier"),
        (["explicit", "--states", "0"], "error: states, of the self-test, must be at least 1"),
        (["explicit", "--max-regions", "4"], "error: 'double_integrator' has more regions"),
        (["barrier", "--eta", "0"], "error: eta must be"),
        (["mpqp", "--system", "nowhere"], "error: "),
    ],
)
def test_wrong_input_writes_nothing(arguments, message, tmp_path, capsys):
    assert main(["export", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_refused(tmp_path, capsys):
    assert main(["export", "mpqp", "--out", str(tmp_path)]) == 2
    assert "exists; name a new folder" in capsys.readouterr().err
