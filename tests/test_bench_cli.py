import json
import re
import subprocess
import sys

import pytest

from bench.cli import main
from bench.studies.barrier_vs_smoothing import experiments

COMMANDS = ["systems", "generate", "train", "evaluate", "sweep", "report", "speed", "quickstart"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_documents_every_option(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage: centralpath" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom bench.cli import main\n"
        "for command in sys.argv[1:]:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'scipy', 'pandas', 'pyarrow', 'plotly', 'gymnasium', 'cvxpy'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert all(f"centralpath {command}" in done.stdout for command in COMMANDS)


def test_mistyped_options_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--out", str(tmp_path / "d"), "--episode", "3"])
    assert stopped.value.code == 2
    assert "Unrecognized options: --episode" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sweep", "nope"],
            "error: unknown study 'nope'; there are: adam_as_online_learner, averages, barr",
        ),
        (
            ["speed", "solvers", "--peers", "hpipm"],
            "error: unknown peer 'hpipm'; there are: casadi (ipopt), ",
        ),
        (
            ["speed", "solvers", "--problems", "z"],
            "error: a problem is one of a, b, e, d, c10, c30 or a system",
        ),
        (["speed", "solvers", "--states", "0"], "error: states must be at least 1, got 0"),
        (["systems", "--system", "doubble"], "error: unknown system 'doubble'"),
        (["report", "nowhere"], "error: 'nowhere' is not a sweep's store"),
        (["train", "nowhere"], "error: there is no dataset at nowhere"),
        (["evaluate", "p.pt", "--system", "d", "--steps", "0"], "error: --steps must be at least 1, got 0"),
        (["evaluate", "p.pt", "--system", "d", "--json", "x/y"], "error: --json x/y lies in a folder that"),
        (["evaluate", "p.pt"], "error: pass one of --dataset DIR and --system NAME"),
        (
            ["generate", "--out", "d", "--to", "minari"],
            "error: --to minari and --minari-id ID belong together",
        ),
        (
            ["generate", "--out", "d", "--to", "minari", "--minari-id", "mine/demos"],
            "error: the Minari dataset id 'mine/demos' has no version",
        ),
        (["generate", "--out", "d", "expert:barrier", "--expert.eta", "-1"], "error: eta must be"),
        *(
            ([*command, "--seed", "-1"], "error: seed must be a whole number of at least 0, got -1")
            for command in (["generate", "--out", "d"], ["train", "d"], ["quickstart"], ["sweep", "x"])
        ),
        (["explicit", "--axes", "0", "2"], "error: axes must be two different coordinates from 0 to 1"),
        (["explicit", "--at", "1"], "error: at must have 2 numbers, one a state, got 1"),
        (["explicit", "--max-regions", "3"], "error: 'double_integrator' has more regions than the limits"),
        (["generate", "--out", "d", "--episodes", "0"], "error: episodes must be a whole number"),
        (["generate", "--out", "d", "--system", "my.json"], "error: cannot read the problem's record"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert lines[0].startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_systems_lists_and_describes(capsys):
    assert main(["systems"]) == 0
    assert "double_integrator" in capsys.readouterr().out
    assert main(["systems", "--system", "triangular:d=3"]) == 0
    assert "arXiv 2210.09206" in capsys.readouterr().out


def test_generate_train_evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "--out", "data", "--episodes", "12", "--steps", "6", "expert:lqr"]) == 0
    assert (
        "12 episodes of 6 steps in data (0 attempts discarded, 72 expert queries)" in capsys.readouterr().out
    )
    quick = ["learner:behaviour-cloning", "--learner.steps", "20", "--learner.batch", "16"]
    quick += ["learner.policy:mlp", "--learner.policy.width", "8"]
    assert main(["train", "data", "--out", "p.pt", *quick]) == 0
    assert "after 20 steps on 12 episodes" in capsys.readouterr().out
    assert main(["train", "data", "--out", "p.pt", *quick]) == 2
    assert "p.pt exists" in capsys.readouterr().err
    tests = ["--episodes", "5", "--steps", "6"]
    assert main(["evaluate", "p.pt", "--dataset", "data", "--json", "m.json", *tests]) == 0
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["imitation_error_mean"] > 0
    assert main(["evaluate", "p.pt", "--system", "triangular:d=3", *tests]) == 2
    assert "error: the policy maps 2 states to 1 inputs" in capsys.readouterr().err
    dagger = ["learner:dagger", "--learner.rounds", "2", "--learner.base.steps", "20"]
    gated = ["learner.base.policy:gated-mlp", "--learner.base.policy.chunk", "2"]
    assert main(["train", "data", "--out", "d.pt", *dagger, *gated]) == 0
    assert "after 20 steps on 12 episodes, 72 labels" in capsys.readouterr().out
    for name in ("project", "plan"):
        filtered = ["--filter", name, "--json", f"{name}.json"]
        assert main(["evaluate", "d.pt", "--dataset", "data", *tests, *filtered]) == 0
        metrics = json.loads((tmp_path / f"{name}.json").read_text())
        assert 0 <= metrics["intervention_rate"] <= 1
    conditions = ["--disturbance", "0.01", "--mismatch", "0.02", "--json", "c.json"]
    assert main(["evaluate", "d.pt", "--dataset", "data", *tests, *conditions]) == 0
    metrics = json.loads((tmp_path / "c.json").read_text())
    errors = [
        column["imitation_error_mean"]
        for column in (metrics, metrics["disturbance 0.01"], metrics["mismatch 0.02"])
    ]
    assert len(set(errors)) == 3
    forward = ["learner:forward", "--learner.base.steps", "5"]
    assert main(["train", "data", "--out", "f.pt", *forward]) == 0
    assert main(["evaluate", "f.pt", "--dataset", "data", *tests]) == 0
    capsys.readouterr()
    assert main(["export", "policy", "--policy", "f.pt", "--out", "c"]) == 2
    assert "f.pt holds 6 policies that make one controller" in capsys.readouterr().err


def test_the_study_is_the_same_for_everyone_and_shifts_with_the_seed():
    asked = experiments("quick")
    assert len({experiment.key() for experiment in asked}) == len(asked) == 72
    reps = {experiment.rep for experiment in experiments("quick", seed=2)}
    assert reps == {2000, 2001, 2002, 2003}
    with pytest.raises(ValueError, match="size must be one of quick, default, full, got 'huge'"):
        experiments("huge")  # type: ignore[arg-type]


def test_explicit_counts_the_regions_and_draws_them(tmp_path, capsys):
    out = tmp_path / "pictures"
    assert main(["explicit", "--system", "double_integrator:N=3", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"regions +19\n", told)
    assert re.search(r"distinct first moves +7\n", told)
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html", "regions-barrier.png", "regions-value.png", "regions.png",
    ]  # fmt: skip
    assert "The value function of exact MPC" in (out / "index.html").read_text()
