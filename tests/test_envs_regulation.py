import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import envs
from envs.registration import OWN_PROBLEM, environment_id, register_all
from envs.regulation import RegulationEnv
from mpc import ControlProblem, LinearSystem, Polytope, simulate
from mpc.catalogue import SYSTEMS, double_integrator
from mpc.configs import Lqr, Online
from mpc.initial import draw_initial_states
from mpc.problem import stage_cost

SOME = ["double_integrator", "triangular", "cart_pole", "quadrotor", "random_system"]


def constrained_problem(**changes) -> ControlProblem:
    """Three states, an asymmetric polytope of states, and constraints of every kind."""
    arguments = {
        "system": LinearSystem([[1, 0.1, 0], [0, 1, 0.1], [0, 0, 0.9]], [[0], [0], [1]], dt=0.1),
        "X": Polytope(np.vstack([np.eye(3), -np.ones((1, 3)), -np.eye(3)]), [2, 2, 2, 3, 1, 1, 1]),
        "U": Polytope.box([-1], [2]),
        "Xf": Polytope.box([-0.5] * 3, [0.5] * 3),
        "XU": Polytope([[1.0, 0, 0, 1]], [1.5]),
        "W": Polytope.box([-0.01] * 3, [0.02] * 3),
        "initial": Polytope.box([-0.2] * 3, [0.2] * 3),
        "name": "constrained",
    }
    return ControlProblem(**{**arguments, **changes})


def roll(env, controller, **reset):
    """One episode: states, inputs, rewards, infos of the steps, and the last two flags."""
    x, _ = env.reset(**reset)
    states, inputs, rewards, infos = [x], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        u = controller(x[None]).u[0]
        x, reward, terminated, truncated, info = env.step(u)
        states.append(x)
        inputs.append(u)
        rewards.append(reward)
        infos.append(info)
    return np.array(states), np.array(inputs), np.array(rewards), infos, (terminated, truncated)


def complaints_of_gymnasium(function, *, render: bool) -> list[str]:
    """What ``check_env`` warns of, but its advice to scale actions and its dislike of unbounded inputs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gymnasium.make(environment_id(function.__name__)).unwrapped
        check_env(env, skip_render_check=not render)
    expected = ["recommend using a symmetric and normalized space"]
    if not np.isfinite(env.problem.U.bounds).all():
        expected += ["infinity. This is probably too"]
    return [str(w.message) for w in caught if not any(text in str(w.message) for text in expected)]


@pytest.mark.parametrize("function", SYSTEMS[:9], ids=lambda f: f.__name__)
def test_a_system_passes_the_check_of_gymnasium(function):
    assert complaints_of_gymnasium(function, render=function.__name__ == "double_integrator") == []


@pytest.mark.full
@pytest.mark.parametrize("function", SYSTEMS, ids=lambda f: f.__name__)
def test_every_system_passes_the_check_of_gymnasium_with_its_images(function):
    assert complaints_of_gymnasium(function, render=True) == []


def test_ids_are_camel_case_of_the_names_and_distinct():
    ids = [environment_id(function.__name__) for function in SYSTEMS]
    assert ids[0] == "centralpath/DoubleIntegrator-v0"
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(gymnasium.registry)


def test_registering_again_changes_nothing_and_warns_of_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()
    assert gymnasium.registry == before
    assert envs.DISTRIBUTION == "centralpath"


def test_gymnasium_finds_the_id_when_it_is_told_the_module():
    program = (
        "import gymnasium as g; print(g.make('envs:centralpath/DoubleIntegrator-v0').unwrapped.problem.name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "double_integrator\n"


def test_importing_envs_brings_neither_torch_nor_matplotlib_nor_numba():
    program = "import sys, envs; print({'torch', 'matplotlib', 'numba', 'minari'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_arguments_reach_the_catalogue():
    env = gymnasium.make("centralpath/Triangular-v0", d=5, N=7, steps=3).unwrapped
    assert (env.problem.n, env.problem.N, env.setting.steps) == (5, 7, 3)
    assert gymnasium.make(OWN_PROBLEM, problem="triangular:d=5").unwrapped.problem.n == 5
    with pytest.raises(ValueError, match="system 'triangular' has no argument 'depth'"):
        gymnasium.make("centralpath/Triangular-v0", depth=5)


@pytest.mark.parametrize("disturbed", [False, True])
@pytest.mark.parametrize("system", SOME)
def test_rollouts_equal_simulate_to_the_bit(system, disturbed):
    n = gymnasium.make(environment_id(system)).unwrapped.problem.n
    env = gymnasium.make(environment_id(system), steps=12, disturbance=[0.01] * n if disturbed else None)
    problem = env.unwrapped.problem
    expert = Lqr().build(problem)
    x, u, rewards, infos, flags = roll(env, expert, seed=4)
    w = np.array([info["disturbance"] for info in infos])[None] if disturbed else None
    rollouts = simulate(problem, expert, x[:1], steps=12, disturbance=w)
    assert np.array_equal(rollouts.x[0], x)
    assert np.array_equal(rollouts.u[0], u)
    assert np.array_equal(-stage_cost(problem, rollouts.x[0, 1:], rollouts.u[0]), rewards)
    assert flags == (False, True)
    if disturbed:
        assert 0.005 < np.abs(w).max() <= 0.01


def test_exact_mpc_drives_the_double_integrator_home_without_violation():
    env = gymnasium.make("centralpath/DoubleIntegrator-v0", steps=40)
    x, _, rewards, infos, _ = roll(env, Online().build(env.unwrapped.problem), seed=0)
    assert np.abs(x[-1]).max() < 1e-3
    assert max(info["state_violation"] for info in infos) < 1e-8
    assert max(info["input_violation"] for info in infos) < 1e-8
    assert rewards.sum() < 0


def test_truncation_is_the_step_count_and_termination_is_divergence():
    env = RegulationEnv(double_integrator(), steps=3)
    env.reset(options={"x0": [1, 0]})
    assert [env.step(np.zeros(1))[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset(options={"x0": [1, 0]})
    assert env.step(np.array([1e4]))[2:4] == (True, False)
    env = RegulationEnv(double_integrator(), steps=1)
    env.reset(options={"x0": [1, 0]})
    assert env.step(np.array([1e4]))[2:4] == (True, True)


def test_fifty_steps_are_the_default_and_an_ended_episode_needs_a_reset():
    env = RegulationEnv(double_integrator())
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros(1))
    env.reset(options={"x0": [0, 0]})
    assert [env.step(np.zeros(1))[3] for _ in range(50)] == [False] * 49 + [True]
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(np.zeros(1))


def test_inputs_are_applied_as_given_and_violations_have_their_size():
    env = RegulationEnv(constrained_problem())
    _, info = env.reset(options={"x0": [3.0, 0, 0], "allow_infeasible": True})
    assert info == {
        "state_violation": 1.0,
        "input_violation": 0.0,
        "mixed_violation": 0.0,
        "terminal_violation": 2.5,
    }
    x, reward, _, _, info = env.step(np.array([5.0]))
    assert x.tolist() == [3.0, 0.0, 5.0]
    assert reward == -(9.0 + 25.0 + 25.0)
    assert info == {
        "state_violation": 3.0,
        "input_violation": 3.0,
        "mixed_violation": 6.5,
        "terminal_violation": 4.5,
    }


def test_the_seed_decides_the_episode_disturbances_included():
    env = RegulationEnv(constrained_problem(), steps=4, disturbance="uniform")
    zero = Lqr().build(env.problem)
    first, again, other = (roll(env, zero, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.isclose(first[0], other[0]).any()
    following = roll(env, zero)[0]
    assert not np.isclose(other[0], following[0]).any()


def test_initial_states_are_the_first_draw_of_the_seeds_generator():
    env = gymnasium.make("centralpath/DoubleIntegrator-v0")
    x, _ = env.reset(seed=11)
    expected = draw_initial_states(env.unwrapped.problem, [np.random.Generator(np.random.PCG64(11))])
    assert np.array_equal(x, expected[0])


def test_disturbances_follow_the_set_they_are_given():
    problem = constrained_problem()
    for law, low, high in (("uniform", -0.01, 0.02), ([0.3, 0.3, 0.3], -0.3, 0.3), (problem.Xf, -0.5, 0.5)):
        env = RegulationEnv(problem, steps=200, disturbance=law)
        _, info = env.reset(seed=0, options={"x0": [0, 0, 0]})
        assert info["disturbance"].tolist() == [0, 0, 0]
        w = np.array([env.step(np.zeros(1))[4]["disturbance"] for _ in range(200)])
        assert low <= w.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < w.max() <= high


def test_the_observation_space_holds_whatever_an_action_of_the_action_space_leads_to():
    env = RegulationEnv(double_integrator(), disturbance=[0.5, 0.5])
    limit = env.problem.divergence_limit
    x, _ = env.reset(options={"x0": [limit, limit], "allow_infeasible": True})
    assert x in env.observation_space
    x, _, terminated, *_ = env.step(env.action_space.high)
    assert terminated
    assert x in env.observation_space


def test_a_problem_of_ones_own_may_be_given_as_its_record():
    problem = constrained_problem()
    env = gymnasium.make(OWN_PROBLEM, problem=problem.record(), steps=5)
    assert env.unwrapped.problem.key == problem.key
    assert env.spec.to_json()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"problem": "double_integratr"},
            "unknown system 'double_integratr'; did you mean double_integrator",
        ),
        ({"problem": 3}, "problem must be a ControlProblem, its record\\(\\) or a catalogue name, got int"),
        ({"N": 4}, r"arguments \['N'\] are for catalogue systems; .* problem.with_\(N=20\)"),
        ({"steps": 0}, "steps, the length of an episode, must be a whole number >= 1, got 0"),
        (
            {"disturbance": "uniform"},
            "needs a problem with a disturbance set, but 'double_integrator' has W=None",
        ),
        ({"disturbance": "gaussian"}, "disturbance must be None, 'uniform' .* got 'gaussian'"),
        ({"disturbance": [0.1]}, r"disturbance must have shape \(2\), got \(1,\)"),
        ({"disturbance": [0.1, -0.1]}, "disturbance, the half-widths of a box, must not be negative"),
        ({"disturbance": Polytope([[1.0, 0]], [1])}, "the disturbance set must be bounded"),
        ({"disturbance": Polytope.box([-1], [1])}, r"W must be a polytope in R\^2"),
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array', got 'human'"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        RegulationEnv(**{"problem": double_integrator(), **arguments})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": [0, 0]}, r"options \['x'\] are unknown; reset takes x0, allow_infeasible"),
        ({"x0": [0, 0, 0]}, r"options\['x0'\] must have shape \(1, 2\), got \(1, 3\)"),
        ({"x0": [0, np.nan]}, r"options\['x0'\] must be finite, got nan"),
        (
            {"x0": [0, 2000]},
            r"options\['x0'\] must stay within the divergence limit \|x_i\| <= 1000, got 2000",
        ),
        (
            {"x0": [0, 2000], "allow_infeasible": True},
            r"options\['x0'\] must stay within the divergence limit",
        ),
        (
            {"x0": [9, 9]},
            r"options\['x0'\] = \[9\. 9\.\] \(row 0\) is infeasible: no plan satisfies .* start inside .*"
            r"'allow_infeasible': True",
        ),
        ({"allow_infeasible": True}, r"options\['allow_infeasible'\] is about options\['x0'\]"),
    ],
)
def test_wrong_options_of_a_reset_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        RegulationEnv(double_integrator()).reset(options=options)


def test_a_refused_x0_changes_nothing_and_a_state_without_a_plan_may_be_asked_for():
    env = RegulationEnv(double_integrator())
    env.reset(seed=3, options={"x0": [1, 0]})
    with pytest.raises(ValueError, match="is infeasible"):
        env.reset(seed=4, options={"x0": [9, 9]})
    assert env.step(np.zeros(1))[0].tolist() == [1, 0]
    after, _ = env.reset()
    env.reset(seed=3, options={"x0": [1, 0]})
    assert np.array_equal(env.reset()[0], after)
    x, info = env.reset(options={"x0": [9, 9], "allow_infeasible": True})
    assert x.tolist() == [9, 9]
    assert info["state_violation"] == 0  # inside X, and yet nothing stops it from leaving


def test_wrong_actions_are_explained_and_change_nothing():
    env = RegulationEnv(double_integrator())
    env.reset(options={"x0": [1, 0]})
    with pytest.raises(ValueError, match=r"actions must have shape \(1, 1\), .*, got \(1, 2\)"):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match=r"actions must be finite, got \[nan\]; check the status"):
        env.step(np.array([np.nan]))
    assert env.step(np.zeros(1))[0].tolist() == [1, 0]
