import json
import subprocess
import sys

import gymnasium
import minari
import numpy as np
import pytest
from minari.dataset._storages.hdf5_storage import HDF5Storage

from envs import datasets, staging
from envs.datasets import from_minari, to_minari
from mpc import Control, ControlProblem, LinearSystem, Polytope, Rollouts, Status, simulate
from mpc.catalogue import SystemSpec, double_integrator
from mpc.initial import draw_initial_states
from mpc.problem import stage_cost

NAME = "centralpath/double-integrator/test-v0"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Minari's folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def labelled(x):
    """A control with labels of every shape; no action beyond position 9."""
    E = len(x)
    u = np.where(np.abs(x[:, :1]) < 9, -0.2 * x[:, :1] - 0.6 * x[:, 1:], np.nan)
    status = np.where(np.isnan(u[:, 0]), Status.infeasible, Status.optimal).astype(np.int8)
    return Control(
        u=u, status=status, dudx=np.tile([[[-0.2, -0.6]]], (E, 1, 1)), value=x[:, 0] ** 2, gradient=2 * x
    )


def rollouts(E=6, T=8, disturbed=True) -> Rollouts:
    rng = np.random.default_rng(0)
    w = rng.uniform(-0.01, 0.01, (E, T, 2)) if disturbed else None
    return simulate(double_integrator(), labelled, rng.uniform(-3, 3, (E, 2)), T, disturbance=w)


def assert_equal(a: Rollouts, b: Rollouts):
    assert a.arrays().keys() == b.arrays().keys()
    for name, value in a.arrays().items():
        assert value.dtype == b.arrays()[name].dtype
        assert np.array_equal(value, b.arrays()[name], equal_nan=True), name


@pytest.mark.parametrize("disturbed", [False, True])
def test_what_goes_out_comes_back_to_the_bit(disturbed):
    original = rollouts(disturbed=disturbed)
    export = to_minari(original, double_integrator(), NAME)
    assert (export.episodes, export.steps, export.discarded) == (6, 48, 0)
    assert_equal(original, from_minari(minari.load_dataset(NAME)))


def test_an_episode_is_as_minari_means_it(store):
    original = rollouts()
    to_minari(
        original,
        SystemSpec("double_integrator"),
        NAME,
        seeds=range(40, 46),
        algorithm_name="mine",
        author="me",
    )
    dataset = minari.load_dataset(NAME)
    assert (dataset.total_episodes, dataset.total_steps) == (6, 48)
    assert dataset.storage.data_path == store / NAME / "data"
    assert list(minari.list_local_datasets()) == [NAME]
    episode = dataset[2]
    assert np.array_equal(episode.observations, original.x[2])
    assert np.array_equal(episode.actions, original.u[2])
    assert np.array_equal(episode.rewards, -stage_cost(double_integrator(), original.x[2, 1:], original.u[2]))
    assert episode.truncations.tolist() == [False] * 7 + [True]
    assert not episode.terminations.any()
    assert episode.infos["label"]["status"].tolist() == [2] * 8 + [0]
    assert episode.infos["disturbance"].shape == (9, 2)
    assert [m["seed"] for m in dataset.storage.get_episode_metadata(range(6))] == list(range(40, 46))
    metadata = dataset.storage.metadata
    assert (metadata["algorithm_name"], metadata["author"]) == ("mine", {"me"})


@pytest.mark.parametrize("own", [False, True])
def test_a_process_that_imports_only_minari_recovers_the_environment(own):
    spec = SystemSpec("double_integrator", (("N", 7),))
    problem = spec.build().with_(name="mine") if own else spec
    to_minari(rollouts(), problem, NAME, disturbance=Polytope.box([-0.01] * 2, [0.01] * 2))
    program = (
        "import json, minari\n"
        f"dataset = minari.load_dataset({NAME!r})\n"
        "env = dataset.recover_environment()\n"
        "x, info = env.reset(seed=3)\n"
        "problem = env.unwrapped.problem\n"
        "same = [env.observation_space == dataset.observation_space]\n"
        "same += [env.action_space == dataset.action_space]\n"
        "print(json.dumps([env.spec.id, problem.N, problem.key, same, x.tolist(), 'disturbance' in info]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    built = problem if own else spec.build()
    x0 = draw_initial_states(built, [np.random.Generator(np.random.PCG64(3))])[0].tolist()
    name = "centralpath/Regulation-v0" if own else "centralpath/DoubleIntegrator-v0"
    assert json.loads(done.stdout) == [name, 7, built.key, [True, True], x0, True]


def test_the_recovered_environment_replays_the_rewards_and_disturbances():
    original = rollouts()
    to_minari(original, SystemSpec("double_integrator"), NAME)
    dataset = minari.load_dataset(NAME)
    env = dataset.recover_environment()
    undisturbed = simulate(double_integrator(), labelled, original.x[:2, 0], 8)
    for row in range(2):
        env.reset(options={"x0": dataset[row].observations[0]})
        for t in range(8):
            x, reward, *_ = env.step(undisturbed.u[row, t])
            assert np.array_equal(x, undisturbed.x[row, t + 1])
            assert reward == -stage_cost(double_integrator(), x[None], undisturbed.u[row, t][None])[0]


def test_rollouts_cut_short_are_left_out_and_counted():
    x0 = np.array([[1.0, 0], [9.5, 0], [2.0, 0]])
    original = simulate(double_integrator(), labelled, x0, 5)
    export = to_minari(original, double_integrator(), NAME, seeds=[7, 8, 9])
    assert (export.episodes, export.discarded) == (2, 1)
    dataset = minari.load_dataset(NAME)
    assert_equal(original[[0, 2]], from_minari(dataset))
    assert [m["seed"] for m in dataset.storage.get_episode_metadata(range(2))] == [7, 9]
    with pytest.raises(ValueError, match=r"none of the 1 rollouts is complete \(5 steps\)"):
        to_minari(original[[1]], double_integrator(), "other-v0")


def test_an_episode_that_diverges_at_its_last_step_is_terminated_too():
    original = simulate(double_integrator(), lambda x: np.full((len(x), 1), 600.0), [[0.0, 0.0]], 2)
    assert original.complete.all()
    to_minari(original, double_integrator(), NAME)
    episode = minari.load_dataset(NAME)[0]
    assert episode.terminations.tolist() == episode.truncations.tolist() == [False, True]


def test_an_id_that_is_taken_or_malformed_is_refused_and_nothing_is_touched(store):
    to_minari(rollouts(), double_integrator(), NAME)
    before = (store / NAME / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(
        ValueError, match=f"a Minari dataset '{NAME}' exists at .*; choose another name or version"
    ):
        to_minari(rollouts(E=2), double_integrator(), NAME)
    assert (store / NAME / "data" / "main_data.hdf5").read_bytes() == before
    with pytest.raises(ValueError, match="has no version; write namespace/name-v0"):
        to_minari(rollouts(), double_integrator(), "nameless")
    with pytest.raises(ValueError, match="Malformed dataset ID"):
        to_minari(rollouts(), double_integrator(), "../escape-v0")


def test_a_failure_leaves_no_dataset_and_no_debris(store, monkeypatch):
    def half(self, episodes):
        write(self, episodes[:3])
        raise OSError("disk full")

    write = HDF5Storage.update_episodes
    monkeypatch.setattr(HDF5Storage, "update_episodes", half)
    with pytest.raises(OSError, match="disk full"):
        to_minari(rollouts(), double_integrator(), NAME)
    assert list(store.iterdir()) == []
    monkeypatch.setattr(HDF5Storage, "update_episodes", lambda self, episodes: write(self, episodes[:3]))
    with pytest.raises(RuntimeError, match=r"holds 3 episodes and 24 steps, .* instead of 6, 48 and 8"):
        to_minari(rollouts(), double_integrator(), NAME)
    assert list(store.iterdir()) == []


def test_of_two_writers_of_one_id_the_second_is_refused(store, monkeypatch):
    def race(data, episodes, steps):
        monkeypatch.setattr(staging, "_verify", lambda *_: None)
        to_minari(rollouts(E=2), double_integrator(), NAME)

    monkeypatch.setattr(staging, "_verify", race)
    with pytest.raises(ValueError, match=r"exists at"):
        to_minari(rollouts(), double_integrator(), NAME)
    assert minari.load_dataset(NAME).total_episodes == 2
    assert [p.name for p in store.iterdir()] == ["centralpath"]


def test_rollouts_of_another_problem_and_seeds_of_another_number_are_refused():
    three = ControlProblem(system=LinearSystem(np.eye(3), np.ones((3, 1))), X=Polytope.box([-1] * 3, [1] * 3))
    with pytest.raises(
        ValueError, match=r"the rollouts have n=2 states and m=1 inputs, the problem 'unnamed' has"
    ):
        to_minari(rollouts(), three, NAME)
    with pytest.raises(ValueError, match="seeds must hold one for each of 6 rollouts, got 2"):
        to_minari(rollouts(), double_integrator(), NAME, seeds=[1, 2])


def test_a_dataset_of_another_maker_is_read_too():
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.ones((T + 1, 2)),
            actions=np.zeros((T, 2)),
            rewards=np.zeros(T),
            terminations=np.zeros(T, bool),
            truncations=np.arange(T) == T - 1,
        )
        for T in (3, 5)
    ]
    path = staging.vacant_path("foreign-v0") / "data"
    path.mkdir(parents=True)
    storage = minari.dataset.minari_storage.MinariStorage.new(path, observation_space=box, action_space=box)
    storage.update_metadata({"dataset_id": "foreign-v0", "minari_version": minari.__version__})
    storage.update_episodes(buffers)
    read = from_minari(minari.load_dataset("foreign-v0"))
    assert read.length.tolist() == [3, 5]
    assert read.labels is None
    assert read.w is None
    assert np.isnan(read.x[0, 4:]).all()
    assert (read.x[1] == 1).all()


def test_datasets_without_plain_vectors_or_episodes_are_refused():
    image = gymnasium.spaces.Box(0, 1, (4, 4), np.float64)
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    for name, space in (("empty-v0", box), ("image-v0", image)):
        path = staging.vacant_path(name) / "data"
        path.mkdir(parents=True)
        storage = minari.dataset.minari_storage.MinariStorage.new(
            path, observation_space=space, action_space=box
        )
        storage.update_metadata({"dataset_id": name, "minari_version": minari.__version__})
    with pytest.raises(ValueError, match="'empty-v0' holds no episodes"):
        from_minari(minari.load_dataset("empty-v0"))
    storage.update_episodes(
        [
            minari.data_collector.EpisodeBuffer(
                observations=np.zeros((2, 4, 4)),
                actions=np.zeros((1, 2)),
                rewards=np.zeros(1),
                terminations=np.zeros(1, bool),
                truncations=np.ones(1, bool),
            )
        ]
    )
    with pytest.raises(
        ValueError, match="the observations of 'image-v0' must be vectors of real numbers, got Box"
    ):
        from_minari(minari.load_dataset("image-v0"))


def test_importing_the_module_does_not_import_minari():
    program = "import sys, envs.datasets; print('minari' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert datasets.Export.__dataclass_params__.frozen
