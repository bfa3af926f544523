"""The small studies: cases with known answers, and each of them from end to end in miniature."""

import json
from importlib import import_module
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from bench.classroom import Classroom, pupils
from bench.cli import main
from bench.cloned import cloned_policies, whole_set
from bench.descent import descend
from bench.digits import digit_classifiers
from bench.figures.spec import Figure, Panel, Style
from bench.findings import Findings, median_line, verdict_line
from bench.statistics import claim_all
from bench.studies import (
    adam_as_online_learner,
    averages,
    belief_states,
    butterfly_effects,
    compounding_error,
    dominant_subspace,
    flat_minima,
    forward_training,
    learners,
    linear_transformers,
    rotations,
    threshold_neurons,
    unstable_convergence,
)
from imitation.optim import AdamW, Sgd
from imitation.policies.configs import Mlp
from mpc.configs import Barrier, Online
from mpc.controllers import Parallel

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = {
    adam_as_online_learner: adam_as_online_learner._Scale((64,), 40, 2),
    averages: averages._Scale(2, 20),
    belief_states: belief_states._Scale(2, 2, 2),
    butterfly_effects: butterfly_effects._Scale(2, 40, 4),
    compounding_error: compounding_error._Scale(2, 20, 4),
    dominant_subspace: dominant_subspace._Scale(1, 4, 4, True),
    flat_minima: flat_minima._Scale(4, 2, 2, 1),
    forward_training: forward_training._Scale(2, 4, 2, 4),
    learners: learners._Scale(2, 4, 2, (5, 20), 4),
    linear_transformers: linear_transformers._Scale(1, 4),
    rotations: rotations._Scale(2, 4, 8),
    threshold_neurons: threshold_neurons._Scale((0.5, 2.0), 20, 2),
    unstable_convergence: unstable_convergence._Scale(2, 4),
}


@pytest.mark.parametrize("module", TINY, ids=lambda module: module.__name__.split(".")[-1])
def test_a_study_runs_from_the_command_line(module, tmp_path, monkeypatch, capsys):
    """In miniature: too few repetitions for a verdict, so none may be given."""
    monkeypatch.setitem(module._SIZES, "quick", TINY[module])
    if module is linear_transformers:
        for name in ("_TESTED", "_MEASURED", "BATCH"):
            monkeypatch.setattr(module, name, 4)
        monkeypatch.setattr(module, "_NOISE", 60)
        monkeypatch.setattr(module, "_POINTS", 1)
    name = module.__name__.split(".")[-1]
    assert main(["study", name, "--size", "quick", "--out", str(tmp_path)]) == 0
    assert "Verdicts" in capsys.readouterr().out
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert {told["verdict"] for told in verdicts} == {"not decidable at this size"}
    assert len(pd.read_parquet(tmp_path / "table.parquet"))
    assert list(tmp_path.glob("*.png"))
    text = (tmp_path / "README.md").read_text()
    assert f"centralpath study {name} --size quick --seed 0" in text


def test_sweeps_and_small_studies_are_told_apart(capsys):
    assert main(["study", "barrier_vs_smoothing"]) == 2
    assert "is a sweep; run: centralpath sweep barrier_vs_smoothing" in capsys.readouterr().err
    assert main(["sweep", "rotations"]) == 2
    assert "has no sweep; run: centralpath study rotations" in capsys.readouterr().err
    assert main(["study", "nothing"]) == 2
    assert "unknown study 'nothing'; there are: adam_as_online_learner" in capsys.readouterr().err


def test_findings_are_written(tmp_path):
    claim = claim_all("more is more", {"a": np.arange(1.0, 10.0)})
    line = median_line([0, 1], [np.arange(9.0), np.ones(9)], Style("#000000"), "a line")
    assert (line.y[0], line.low[0], line.high[0]) == (4.0, 1.0, 7.0)
    figure = Figure("one", "a title", "a caption", (Panel("p", "x", "y", (line,)),))
    Findings("a setting", [{"a": 1.0, "b": "text"}], (claim,), (figure,)).write(tmp_path / "out", "a command")
    assert verdict_line(claim) == "- more is more: **holds**, 5 [2, 8], 9 repetitions."
    told = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert (told[0]["verdict"], told[0]["repetitions"], told[0]["low"]) == ("holds", 9, 2.0)
    assert "| 1 | text |" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "one.png").stat().st_size > 1000


def test_descend_trains_a_member_the_same_in_any_company():
    alone, together = (cloned_policies(reps, Mlp(width=4, depth=2), episodes=2) for reps in ([3], [1, 3]))
    paths = []
    for (cloning, params), reps in ((alone, [3]), (together, [1, 3])):
        objective = cloning.objective(whole_set(cloning))
        paths.append(descend(AdamW(lr=1e-2), params, lambda step, o=objective: o, 20, reps))
    for name, value in paths[0].items():
        torch.testing.assert_close(paths[1][name][1:], value, rtol=1e-9, atol=1e-11)


def test_digits_are_pixels_and_one_hot_labels():
    cloning, params = digit_classifiers([0, 1], Mlp(width=8, depth=2, normalise=False), count=50)
    assert cloning.table["x"].shape == (100, 64)
    assert (cloning.table["x"].min(), cloning.table["x"].max()) == (0, 1)
    assert torch.equal(cloning.table["u"].sum(dim=1), torch.ones(100, dtype=torch.float64))
    loss, _ = cloning.objective(whole_set(cloning)).loss_and_grad(params)
    assert (loss < 0.5).all()


def test_dynamic_regret_of_learners_that_one_can_work_out():
    """d_0 = 0, then minus the sign of the last slope: without noise wrong only where the sign flips."""
    signs = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    regret = adam_as_online_learner.dynamic_regret(
        adam_as_online_learner.ClippedAdam(lr=1.0, discount=0.0), signs, np.tile(signs[:, None], (1, 2))
    )
    np.testing.assert_allclose(regret, (1 + 0 + 0 + 2 + 0 + 0) / 6)
    _, g = adam_as_online_learner.losses(50, 4000, [0])
    assert abs(g[:50].mean() - 1) < 1.2
    assert abs(np.std(g) - 5**0.5) < 0.1


def test_the_edge_of_stability_of_threshold_neurons():
    assert threshold_neurons.edge(0.9) == 0.0
    b = threshold_neurons.edge(3.0)
    z = np.random.default_rng(0).normal(size=400_000)
    mean = np.maximum(z + b, 0).mean()
    lr = 3.0 * threshold_neurons.CRITICAL
    assert lr * (threshold_neurons.DIMENSION * mean) ** 2 / 4 == pytest.approx(1.0, abs=0.02)


def test_the_trace_along_a_diagonal_network_is_the_hessians():
    setting = flat_minima._diagonal_network([0])
    weights = torch.cat([setting.params["u"], setting.params["v"]], dim=1)

    def loss(w):
        u, v = w.split(10)
        batch = setting.objective.batch
        return batch.loss({"u": u[None], "v": v[None]})[0]

    H = torch.func.hessian(loss)(weights[0])
    torch.testing.assert_close(setting.trace(setting.params)[0], torch.trace(H))
    _, grads = setting.objective.loss_and_grad(setting.params)
    assert all(g.abs().max() < 1e-10 for g in grads.values())


def test_the_best_single_layer_is_a_step_of_preconditioned_descent():
    """The prediction x' A (1/n) sum y_i x_i over diagonal A: its loss by simulation, at the best A."""
    x, y = linear_transformers.sequences(200_000, [torch.Generator().manual_seed(0)], "spread")
    x, y, lam, n = x[0].double(), y[0].double(), linear_transformers.SPREAD.double(), linear_transformers.N
    mean = (x[:, :-1] * y[:, :-1, None]).mean(dim=1)
    best = n / ((n + 1) * lam + lam.sum())

    def loss(a):
        return float(((x[:, -1] * a * mean).sum(dim=1) - y[:, -1]).square().mean())

    assert loss(best) == pytest.approx(linear_transformers.best_single_layer(), rel=0.02)
    for factor in (0.8, 1.25):
        assert loss(best * factor) > loss(best)


def test_heavy_tailed_data_has_the_same_second_moment_and_heavier_tails():
    generators = [torch.Generator().manual_seed(k) for k in range(4)]
    normal, _ = linear_transformers.sequences(5000, generators)
    heavy, _ = linear_transformers.sequences(5000, generators, "heavy-tailed")
    assert float(heavy.square().mean()) == pytest.approx(1.0, rel=0.1)
    assert (heavy**4).mean() > 5 * (normal**4).mean()


STAR = belief_states.Star(2, 4)


def test_star_graphs_have_one_path_to_the_goal():
    tokens = STAR.draw(50, np.random.default_rng(0))
    assert tokens.shape == (50, STAR.tokens)
    for row in tokens:
        edges = {(a, b) for a, b in row[: STAR.prompt - 3].reshape(-1, 2)}
        centre, goal, sign = row[STAR.prompt - 3 : STAR.prompt]
        path = [centre, *row[STAR.prompt :]]
        assert sign == STAR.start + 1
        assert path[-1] == goal
        assert all(step in edges for step in pairwise(path))


def test_beliefs_look_one_way_each():
    """f_t does not change with the future, b_s not with the past; the empty suffix knows nothing."""
    params = belief_states.initial(STAR, [0, 1])
    tokens = torch.from_numpy(STAR.draw(3, np.random.default_rng(0))).expand(2, -1, -1)
    f, b = belief_states.beliefs(params, STAR, tokens)
    changed = tokens.clone()
    changed[:, :, STAR.prompt + 1] = (changed[:, :, STAR.prompt + 1] + 1) % STAR.nodes
    other_f, other_b = belief_states.beliefs(params, STAR, changed)
    assert torch.equal(f[:, :, :2], other_f[:, :, :2])
    assert not torch.allclose(f[:, :, 2:], other_f[:, :, 2:])
    assert torch.equal(b[:, :, 2:], other_b[:, :, 2:])
    assert not torch.allclose(b[:, :, :2], other_b[:, :, :2])
    torch.testing.assert_close(b[:, :, -1], b[:, :1, -1].expand_as(b[:, :, -1]))


def test_with_the_suffix_left_empty_it_is_ordinary_cloning():
    """Next-token losses are the forward head's cross-entropy on pairs whose suffix is empty."""
    params = belief_states.initial(STAR, [0])
    tokens = torch.from_numpy(STAR.draw(4, np.random.default_rng(1)))[None]
    f, b = belief_states.beliefs(params, STAR, tokens)
    said = belief_states.logits(params, f[:, :, :-1], b[:, :, -1:].expand_as(f[:, :, :-1]), "next")
    expected = torch.nn.functional.cross_entropy(
        said[0].flatten(0, 1), tokens[0, :, STAR.prompt :].flatten(), reduction="none"
    ).view(4, -1)
    found = belief_states.next_token_losses(params, STAR, tokens)
    torch.testing.assert_close(found[0, :, 0], expected.mean(dim=1))


def test_momentum_is_what_the_subspace_study_projects():
    parts = dominant_subspace._parts(Sgd(lr=0.1, momentum=0.9), 2, 3)
    assert set(parts) == {"all", "dominant", "bulk"}
    assert parts["dominant"].base == parts["all"]
    assert import_module("bench.studies.rotations")._scopes(8)["global"].block == 8


def test_what_is_worse_and_how_fast_it_grows():
    t = np.arange(31.0)
    slow, fast = 1e-4 * 1.1**t, 1e-4 * 1.3**t
    errors = np.array([[slow, fast], [fast, slow]])  # (plants, repetitions, T+1)
    np.testing.assert_array_equal(compounding_error._worse(errors), [fast, fast])
    np.testing.assert_allclose(np.exp(compounding_error._growth(errors[0])), [1.1, 1.3], rtol=1e-9)


def test_the_effect_of_a_choice_is_the_median_over_the_others():
    settings = forward_training._EVERY
    assert len(set(settings)) == 16
    logs = {(3, "cloning", s): np.array([2.0 * s.clip - 1.0 * s.l1, np.inf]) for s in settings}
    assert forward_training._effect(logs, 3, 1).tolist() == [-2, 0]  # clipping costs 2, l1 saves 1
    assert forward_training._effect(logs, 3, 2).tolist() == [1, 0]
    assert str(settings[0]) == "none"
    assert str(forward_training._NORMALISED) == "normalised states, loss l1"


def test_a_classroom_compares_on_shared_test_states():
    room = Classroom.of("double_integrator", Barrier(eta=0.1), 12, 5)
    expert = Parrot(room.task.problem, (room.task.expert, Online().build(room.task.problem)))
    loops = room.loops(expert)
    ratio = room.cost_ratio(loops)
    assert ratio[1] == 1
    assert ratio[0] == pytest.approx(1, abs=0.05)
    assert room.error_over_time(loops)[0].max() == 0
    assert room.j_traj(loops)[0] == 0
    assert room.j_traj(loops)[1] > 0
    assert room.action_error(expert)[0] == 0
    assert [pupil.rep for pupil in pupils(2, 3, 5)] == [2000, 2001, 2002]


class Parrot:
    """Controllers that are given."""

    def __init__(self, problem, controllers):
        self.problem, self.controllers, self.members = problem, controllers, len(controllers)

    def together(self, E):
        return Parallel(self.controllers, [E] * self.members)
