import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.regulation import RegulationEnv
from envs.vector import VectorRegulationEnv
from mpc import simulate
from mpc.catalogue import double_integrator
from mpc.configs import Lqr
from mpc.problem import stage_cost

NAME = "centralpath/DoubleIntegrator-v0"


def make(num_envs=3, **arguments):
    return gymnasium.make_vec(NAME, num_envs=num_envs, vectorization_mode="vector_entry_point", **arguments)


def assert_same(a, b):
    """Equal to the bit and in kind, through nested dictionaries and arrays of objects."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    elif a.dtype == object:
        for one, other in zip(a, b, strict=True):
            assert (one is None and other is None) or np.array_equal(one, other)
    else:
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("system", ["DoubleIntegrator", "Triangular", "CartPole"])
def test_it_is_gymnasiums_own_vector_of_single_environments_to_the_bit(system, mode):
    name = f"centralpath/{system}-v0"
    n = gymnasium.make(name).observation_space.shape[0]
    arguments = {"num_envs": 3, "steps": 5, "disturbance": [0.1] * n}
    ours = gymnasium.make_vec(name, vectorization_mode="vector_entry_point", autoreset_mode=mode, **arguments)
    theirs = gymnasium.make_vec(
        name, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **arguments
    )
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for a, b in zip(ours.reset(seed=8), theirs.reset(seed=8), strict=True):
        assert_same(a, b)
    rng, ended = np.random.default_rng(0), np.zeros(2, dtype=int)
    for t in range(17):
        actions = rng.normal(size=ours.action_space.shape)
        actions[0] *= 1e7 if t in (1, 10) else 1  # environment 0 diverges, out of step with the others
        answer = ours.step(actions)
        for a, b in zip(answer, theirs.step(actions), strict=True):
            assert_same(a, b)
        ended += [answer[2].sum(), answer[3].sum()]
    assert ended.min() > 1


def test_make_vec_gives_the_native_environment_with_its_metadata_and_spaces():
    env = make(4, N=12)
    assert isinstance(env, VectorRegulationEnv)
    assert env.problem.N == 12
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert make(autoreset_mode="SameStep").metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.observation_space == batch_space(env.single_observation_space, 4)
    x, infos = env.reset(seed=0)
    assert x.shape == (4, 2)
    assert x in env.observation_space
    assert infos["_state_violation"].tolist() == [True] * 4
    x, rewards, terminations, truncations, infos = env.step(env.action_space.sample())
    assert x in env.observation_space
    assert (rewards.shape, rewards.dtype) == ((4,), np.float64)
    assert terminations.dtype == truncations.dtype == bool
    assert infos["input_violation"].shape == (4,)


def test_an_episode_equals_simulate_to_the_bit():
    env = make(5, steps=9, disturbance=[0.02, 0.02])
    problem, expert = env.problem, Lqr().build(env.problem)
    x, _ = env.reset(seed=3)
    states, inputs, w, rewards = [x], [], [], []
    for _ in range(9):
        u = expert(x).u
        x, reward, _, truncations, infos = env.step(u)
        states.append(x), inputs.append(u), w.append(infos["disturbance"]), rewards.append(reward)
    rollouts = simulate(problem, expert, states[0], 9, disturbance=np.stack(w, axis=1))
    assert truncations.all()
    assert np.array_equal(rollouts.x, np.stack(states, axis=1))
    assert np.array_equal(rollouts.u, np.stack(inputs, axis=1))
    assert np.array_equal(-stage_cost(problem, rollouts.x[:, 1:], rollouts.u), np.stack(rewards, axis=1))


def test_what_is_returned_is_not_overwritten_later():
    env = make(2)
    x, _ = env.reset(seed=0)
    kept = x.copy()
    following, *_ = env.step(np.ones((2, 1)))
    x += 100
    assert np.array_equal(env.step(np.zeros((2, 1)))[0], env.problem.system.step(following, np.zeros((2, 1))))
    assert not np.array_equal(kept, following)


def test_next_step_ignores_the_action_of_an_ended_episode_and_same_step_keeps_its_end():
    env = make(2, steps=2)
    env.reset(seed=0, options={"x0": [[1, 0], [2, 0]]})
    env.step(np.zeros((2, 1)))
    assert env.step(np.zeros((2, 1)))[3].all()
    x, rewards, _, truncations, _ = env.step(np.full((2, 1), np.nan))
    assert rewards.tolist() == [0, 0]
    assert not truncations.any()
    assert not np.isin(x, [1.0, 2.0]).any()
    env = make(2, steps=1, autoreset_mode="SameStep")
    env.reset(seed=0, options={"x0": [[1, 1], [2, 0]]})
    x, rewards, _, truncations, infos = env.step(np.zeros((2, 1)))
    assert truncations.all()
    assert np.stack(infos["final_obs"]).tolist() == [[2, 1], [2, 0]]
    assert rewards.tolist() == [-5, -4]
    assert not np.isin(x, [1.0, 2.0]).any()


def test_disabled_autoreset_waits_for_a_masked_reset():
    env = make(3, steps=4, autoreset_mode="Disabled")
    env.reset(options={"x0": np.ones((3, 2))})
    u = np.zeros((3, 1))
    u[1] = 1e5
    assert env.step(u)[2].tolist() == [False, True, False]
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros((3, 1)))
    mask = np.array([False, True, False])
    x, infos = env.reset(options={"reset_mask": mask, "x0": np.full((3, 2), 1.5)})
    assert x.tolist() == [[2, 1], [1.5, 1.5], [2, 1]]
    assert infos["_state_violation"].tolist() == mask.tolist()
    assert [env.step(np.zeros((3, 1)))[3].tolist() for _ in range(3)][-1] == [True, False, True]


def test_states_without_a_plan_are_refused_row_by_row_unless_they_are_meant():
    env = make(3, autoreset_mode="Disabled")
    x0 = np.array([[1.0, 0], [0, 1], [9, 9]])
    with pytest.raises(ValueError, match=r"options\['x0'\] = \[9\. 9\.\] \(row 2\) is infeasible: no plan"):
        env.reset(options={"x0": x0})
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((3, 1)))
    assert env.reset(options={"x0": x0, "allow_infeasible": True})[0].tolist() == x0.tolist()
    first = np.array([True, True, False])  # the row without a plan is not asked for
    env.reset(options={"x0": x0, "reset_mask": first})
    with pytest.raises(ValueError, match=r"\(row 2\) is infeasible"):
        env.reset(options={"x0": x0, "reset_mask": ~first})


def test_seeds_may_be_given_one_by_one_and_decide_the_rows():
    env = make(3)
    a, _ = env.reset(seed=[5, 6, 7])
    b, _ = env.reset(seed=5)
    c, _ = env.reset(seed=6)
    single, _ = RegulationEnv(double_integrator()).reset(seed=6)
    assert np.array_equal(a, b)
    assert np.array_equal(a[1:], c[:2])
    assert np.array_equal(a[1], single)
    assert not np.isclose(a, c).any()
    assert not np.isclose(env.reset()[0], c).any()


def test_wrong_use_is_explained():
    with pytest.raises(ValueError, match="num_envs must be a whole number of at least 1, got 0"):
        VectorRegulationEnv(double_integrator(), num_envs=0)
    env = make(2)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"one seed for each of 2 environments, got 3"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match=r"options\['x0'\] must have shape \(2, 2\), got \(2,\)"):
        env.reset(options={"x0": [0, 0]})
    with pytest.raises(ValueError, match=r"options\['reset_mask'\] must hold 2 booleans"):
        env.reset(options={"reset_mask": [False, False]})
    with pytest.raises(ValueError, match=r"reset takes x0, allow_infeasible, reset_mask"):
        env.reset(options={"mask": [True, False]})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 1\), .*, got \(1, 1\)"):
        env.step(np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"actions must be finite, got \[inf\]"):
        env.step(np.array([[0], [np.inf]]))
