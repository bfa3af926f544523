"""Closed loops of trained populations, and checkpoints."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from generators import gain_loops

from imitation.checkpoint import load_policy, read_checkpoint, save_policy
from imitation.evaluate import along, evaluate, fold, unfold
from imitation.learners import BehaviourCloning
from imitation.optim import Foreign
from imitation.policies import Mlp
from imitation.train import Member, train
from imitation.trained import act, policy_controller
from mpc.catalogue import double_integrator
from mpc.closed_loop import simulate
from mpc.configs import Online
from mpc.controllers import replay
from mpc.problem import ControlProblem
from mpc.system import LinearSystem

pytestmark = pytest.mark.usefixtures("one_torch_thread")

LEARNER = BehaviourCloning(policy=Mlp(16, 3, clip=True), steps=100, batch=32)


def clones(problem, learner=LEARNER, count=3):
    rng = np.random.default_rng(0)
    sets = [gain_loops(problem, rng.uniform(-3, 3, (5, 2)), 20) for _ in range(count)]
    return train(problem, learner, [Member(rollouts, k) for k, rollouts in enumerate(sets)])


@pytest.fixture(scope="module")
def trained(problem):
    return clones(problem)


X0 = np.random.default_rng(7).uniform(-2, 2, (6, 2))
W = np.random.default_rng(8).uniform(-0.1, 0.1, (6, 9, 2))


def test_each_member_is_rolled_out_from_the_same_states_and_disturbances(problem, trained):
    loops = unfold(evaluate(problem, trained, X0, 9, W), 3)
    for k, loop in enumerate(loops):
        np.testing.assert_array_equal(loop.x[:, 0], X0)
        np.testing.assert_array_equal(loop.w, W)
        alone = simulate(problem, policy_controller(trained.policy(k)), X0, 9, W)
        np.testing.assert_allclose(loop.x, alone.x, atol=1e-5)  # float32, and one batched program
        np.testing.assert_allclose(loop.u, alone.u, atol=1e-5)
    assert np.abs(loops[0].u - loops[1].u).max() > 1e-3


def test_the_first_input_is_the_policys_action(problem, trained):
    rollouts = evaluate(problem, trained, X0, 1)
    np.testing.assert_array_equal(rollouts.u[:, 0], fold(trained.act(X0)))
    assert np.abs(rollouts.u).max() <= 1
    assert rollouts.labels is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loops_in_company_are_those_of_each_policy_alone(problem, dtype):
    trained = clones(problem, replace(LEARNER, dtype=dtype, policy=Mlp(16, 3, history=2, chunk=3)), 5)
    together = unfold(evaluate(problem, trained, X0, 9, W), 5)
    alone = [simulate(problem, law, X0, 9, W) for law in trained.controllers]
    for one, two in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.x, two.x, atol=1e-4 if dtype == "float32" else 1e-11)
    states = together[0].x[:, :-1]
    known = np.stack([replay(law, states) for law in trained.controllers])
    np.testing.assert_allclose(along(trained, states), known, atol=1e-4 if dtype == "float32" else 1e-11)


def test_act_takes_one_batch_for_all_or_one_each(trained):
    each = np.stack([X0, X0 + 1, X0 - 1])
    together = trained.act(each)
    assert together.shape == (3, 6, 1)
    assert together.dtype == np.float64
    for k in range(3):
        np.testing.assert_allclose(together[k], act(trained.policy(k), each[k]), atol=1e-6)
    np.testing.assert_array_equal(trained.act(X0)[0], together[0])
    with pytest.raises(ValueError, match=r"x must have shape \(3, B, 2\)"):
        trained.act(np.zeros((2, 5, 2)))
    with pytest.raises(ValueError, match="one of 3 members, 0 to 2, got 3"):
        trained.policy(3)


def test_unfold_inverts_the_fold(problem, trained):
    rollouts = evaluate(problem, trained, X0, 4)
    np.testing.assert_array_equal(fold(np.stack([one.u for one in unfold(rollouts, 3)])), rollouts.u)
    with pytest.raises(ValueError, match="18 episodes cannot belong to 4 members"):
        unfold(rollouts, 4)


def test_a_policy_that_diverged_ends_its_own_loops_only(problem, trained):
    params = {name: value.clone() for name, value in trained.params.items()}
    params["body.layers.0.weight"][1] = torch.nan
    loops = unfold(evaluate(problem, replace(trained, params=params), X0, 4), 3)
    assert loops[1].length.tolist() == [0] * 6
    assert loops[0].complete.all()
    assert loops[2].complete.all()


def test_a_problem_of_other_sizes_is_refused(trained):
    other = ControlProblem(LinearSystem(0.5 * np.eye(3), np.eye(3)))
    with pytest.raises(ValueError, match="map 2 states to 1 inputs, the problem has 3 and 3"):
        evaluate(other, trained, np.zeros((1, 3)), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_is_the_policy_it_was_made_from(problem, tmp_path, dtype):
    trained = clones(problem, replace(LEARNER, dtype=dtype))
    save_policy(tmp_path / "policy.pt", trained, 1)
    module, config = load_policy(tmp_path / "policy.pt")
    assert config == LEARNER.policy
    assert not module.training
    x = np.random.default_rng(0).uniform(-9, 9, (40, 2))
    np.testing.assert_array_equal(act(module, x), act(trained.policy(1), x))
    np.testing.assert_allclose(act(module, x), trained.act(x)[1], atol=1e-5 if dtype == "float32" else 1e-13)
    assert np.abs(act(module, x)).max() == 1.0
    raw = torch.load(tmp_path / "policy.pt", weights_only=True)
    assert raw["problem_key"] == problem.key
    assert raw["learner"]["steps"] == 100
    assert os.listdir(tmp_path) == ["policy.pt"]


def test_a_checkpoint_of_a_foreign_optimizer_records_it(problem, tmp_path):
    learner = replace(LEARNER, optimizer=Foreign(torch.optim.SGD, (("lr", 0.1),)), steps=3)
    save_policy(tmp_path / "policy.pt", clones(problem, learner, 1), 0)
    assert read_checkpoint(tmp_path / "policy.pt")["learner"]["optimizer"]["name"] == "SGD"


def test_an_existing_path_is_kept_unless_asked(trained, tmp_path):
    path = tmp_path / "policy.pt"
    path.write_text("precious")
    with pytest.raises(ValueError, match="exists; pass another one or overwrite=True"):
        save_policy(path, trained, 0)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["policy.pt"]
    save_policy(path, trained, 0, overwrite=True)
    assert load_policy(path)[1] == LEARNER.policy
    with pytest.raises(ValueError, match="must lie in a folder that exists"):
        save_policy(tmp_path / "absent" / "policy.pt", trained, 0)


def test_foreign_and_damaged_files_are_refused(trained, tmp_path):
    path = tmp_path / "policy.pt"
    with pytest.raises(ValueError, match="there is no policy checkpoint at"):
        load_policy(path)
    for content in (b"", b"hello", b"\x80\x02cos\nsystem\n."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a policy checkpoint"):
            load_policy(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="a torch file but not a policy checkpoint"):
        load_policy(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match="does not load with weights_only=True"):
        load_policy(path)
    save_policy(path, trained, 0, overwrite=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a policy checkpoint"):
        load_policy(path)


def test_a_checkpoint_of_another_version_is_refused(trained, tmp_path):
    path = tmp_path / "policy.pt"
    save_policy(path, trained, 0)
    content = read_checkpoint(path)
    torch.save(content | {"schema": 99}, path)
    with pytest.raises(ValueError, match="has schema 99, this version reads 2"):
        load_policy(path)
    torch.save(content | {"policy": content["policy"] | {"width": 17}}, path)
    with pytest.raises(ValueError, match="does not fit this version"):
        load_policy(path)


def test_a_write_that_fails_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    def broken(content, file):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_policy(tmp_path / "policy.pt", trained, 0)
    assert os.listdir(tmp_path) == []


def test_a_clone_of_exact_mpc_stays_near_it_in_closed_loop():
    problem = double_integrator()
    expert = Online().build(problem)
    x0 = np.random.default_rng(0).uniform(-2, 2, (25, 2))
    demonstrations = simulate(problem, expert, x0[:20], 20)
    learner = BehaviourCloning(batch=64, steps=600, schedule="cosine")
    trained = train(problem, learner, [Member(demonstrations, 0)])
    learned, exact = evaluate(problem, trained, x0[20:], 20), simulate(problem, expert, x0[20:], 20)
    error = np.abs(learned.x - exact.x).max(axis=(1, 2))
    assert learned.complete.all()
    assert np.median(error) < 0.15
