import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from matplotlib.colors import to_rgb

from envs import render
from envs.regulation import RegulationEnv
from envs.vector import VectorRegulationEnv
from mpc import ControlProblem, LinearSystem, Polytope
from mpc.catalogue import chain_of_masses, double_integrator


def share(image: np.ndarray, colour: str) -> float:
    """Share of the pixels that have the colour."""
    return float((image == np.round(np.array(to_rgb(colour)) * 255)).all(axis=2).mean())


def episode(env, x0, actions):
    env.reset(options={"x0": x0, "allow_infeasible": True})
    for action in actions:
        env.step(np.full(env.problem.m, action))
    return env.render()


def test_the_phase_plane_shows_the_set_and_the_current_state():
    env = RegulationEnv(double_integrator(), render_mode="rgb_array", steps=10)
    image = episode(env, [4.0, 0.0], [-1.0, 0.5])
    assert (image.dtype, image.shape) == (np.uint8, (520, 960, 3))
    assert share(image, render._ALLOWED) > 0.2
    assert share(image, render._NOW) > 0.0001
    assert share(image, render._OUTSIDE) == 0


def test_what_is_outside_the_bounds_is_red():
    env = RegulationEnv(double_integrator(), render_mode="rgb_array", steps=10)
    assert share(episode(env, [4.0, 0.0], [-8.0, 0.5]), render._OUTSIDE) > 0
    assert share(episode(env, [14.0, 0.0], [0.0]), render._OUTSIDE) > 0


def test_images_of_an_episode_have_one_size_and_change_with_it():
    env = RegulationEnv(chain_of_masses(), render_mode="rgb_array", steps=10)
    first = episode(env, np.full(12, 0.1), [])
    later = episode(env, np.full(12, 0.1), [0.3, -0.3, 0.7])
    assert first.shape == later.shape == (800, 1040, 3)
    assert not np.array_equal(first, later)
    assert np.array_equal(later, env.render())


@pytest.mark.parametrize(
    ("X", "x0"),
    [
        (None, [1.0, 2.0]),
        (Polytope.box([-1, -np.inf], [1, np.inf]), [90.0, 1e-9]),
        (Polytope([[1.0, 1], [-1, 0.5], [0, -1]], [3, 2, 1]), [0.0, 0.0]),
    ],
    ids=["no set", "strip", "triangle"],
)
def test_any_set_of_states_is_drawn(X, x0):
    problem = ControlProblem(system=LinearSystem(np.eye(2), np.eye(2)), X=X)
    image = episode(RegulationEnv(problem, render_mode="rgb_array", steps=2), x0, [1e-3])
    assert share(image, "white") < 0.96
    assert (share(image, render._ALLOWED) > 0) == (X is not None)


def test_each_environment_of_a_vector_has_the_image_it_has_alone():
    x0 = np.array([[1.0, 0.0], [-2.0, 1.0]])
    vector = VectorRegulationEnv(double_integrator(), num_envs=2, steps=5, render_mode="rgb_array")
    vector.reset(options={"x0": x0})
    vector.step(np.full((2, 1), 0.25))
    alone = RegulationEnv(double_integrator(), steps=5, render_mode="rgb_array")
    images = vector.render()
    assert len(images) == 2
    for image, start in zip(images, x0, strict=True):
        assert np.array_equal(image, episode(alone, start, [0.25]))


def test_nothing_is_drawn_without_a_mode_or_before_a_reset():
    env = RegulationEnv(double_integrator())
    env.reset(options={"x0": [0, 0]})
    assert env.render() is None
    with pytest.raises(ResetNeeded, match="call reset"):
        RegulationEnv(double_integrator(), render_mode="rgb_array").render()


def test_gymnasium_collects_images():
    env = gymnasium.make("centralpath/DoubleIntegrator-v0", render_mode="rgb_array_list")
    env.reset(options={"x0": [1, 0]})
    env.step(np.zeros(1))
    assert [image.shape for image in env.render()] == [(520, 960, 3)] * 2


def test_drawing_needs_no_display_and_leaves_pyplot_alone():
    program = (
        "import sys, gymnasium, envs\n"
        "env = gymnasium.make('centralpath/DoubleIntegrator-v0', render_mode='rgb_array')\n"
        "env.reset(options={'x0': [1, 0]}); env.render()\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
