import subprocess
import sys

import numpy as np
import pytest

from imitation.demonstrate import demonstrate, generate
from mpc import catalogue
from mpc.configs import Barrier, Lqr, Online
from mpc.expert import Control
from mpc.initial import draw_initial_states, episode_generators, episode_seed
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.status import Status

PROBLEM = catalogue.double_integrator()


class Moody:
    """Exact MPC that spoils, with the given status, the labels of states whose first entry is positive."""

    def __init__(self, status, problem=PROBLEM, spoiled=lambda x: x[:, 0] > 0):
        self.problem, self.status, self.spoiled = problem, status, spoiled
        self.exact = OnlineExpert(problem)

    def __call__(self, x):
        control = self.exact(x)
        spoiled = self.spoiled(np.asarray(x)) & control.usable
        u = np.where(spoiled[:, None] & (self.status < 0), np.nan, control.u)
        return Control(u=u, status=np.where(spoiled, self.status, control.status).astype(np.int8))


def equal(a, b):
    assert a.arrays().keys() == b.arrays().keys()
    for name, value in a.arrays().items():
        assert value.tobytes() == b.arrays()[name].tobytes(), name


def test_demonstrations_are_complete_optimal_and_labelled():
    found = demonstrate(PROBLEM, OnlineExpert(PROBLEM), "di", 0, episodes=12, steps=7)
    rollouts, labels = found.rollouts, found.rollouts.labels
    assert rollouts.x.shape == (12, 8, 2)
    assert rollouts.complete.all()
    assert labels is not None
    assert (labels.status == Status.optimal).all()
    np.testing.assert_array_equal(labels.u, rollouts.u)
    following = PROBLEM.system.step(rollouts.x[:, :-1], rollouts.u)
    np.testing.assert_array_equal(following, rollouts.x[:, 1:])
    again = OnlineExpert(PROBLEM)(rollouts.x[3, 2:3])
    np.testing.assert_array_equal(again.u[0], labels.u[3, 2])
    assert found.queries == found.attempts * 7 == sum(found.statuses.values())


def test_episodes_start_where_their_seed_says_whoever_the_expert_is():
    exact = demonstrate(PROBLEM, OnlineExpert(PROBLEM), "di", 1, 6, 3)
    lqr = demonstrate(PROBLEM, Lqr().build(PROBLEM), "di", 1, 6, 3)
    x0 = draw_initial_states(PROBLEM, episode_generators("di", 1, 0, 6))
    np.testing.assert_array_equal(exact.rollouts.x[:, 0], x0[exact.episodes])
    np.testing.assert_array_equal(lqr.rollouts.x[:, 0], x0[lqr.episodes])
    assert exact.seeds.tolist() == [episode_seed("di", 1, int(i)) for i in exact.episodes]


@pytest.mark.parametrize("status", [Status.numerical_error, Status.optimal_inaccurate])
def test_bad_episodes_are_discarded_whole_and_counted(status):
    found = demonstrate(PROBLEM, Moody(status), "di", 0, episodes=10, steps=6)
    assert found.kept == 10
    assert len(found.discarded) > 0
    assert (found.rollouts.x[:, :6, 0] <= 0).all()
    indices = np.sort(np.append(found.episodes, found.discarded))
    np.testing.assert_array_equal(indices, np.arange(found.attempts))
    assert found.episodes[-1] == found.attempts - 1
    assert found.discarded_seeds.tolist() == [episode_seed("di", 0, int(i)) for i in found.discarded]
    assert found.statuses[status.name] >= len(found.discarded)
    assert found.queries == sum(found.statuses.values()) > 60


def test_inaccurate_labels_are_kept_when_asked():
    expert = Moody(Status.optimal_inaccurate)
    found = demonstrate(PROBLEM, expert, "di", 0, 10, 6, accept=Status.optimal_inaccurate)
    assert found.attempts == 10
    assert (found.rollouts.labels.status == Status.optimal_inaccurate).any()
    with pytest.raises(ValueError, match="accept must be"):
        demonstrate(PROBLEM, expert, "di", 0, 10, 6, accept=Status.unset)


def test_fewer_demonstrations_are_the_first_of_more():
    expert = Moody(Status.numerical_error)
    many = demonstrate(PROBLEM, expert, "di", 0, 300, 3)
    few = demonstrate(PROBLEM, expert, "di", 0, 17, 3)
    np.testing.assert_array_equal(few.episodes, many.episodes[:17])
    equal(few.rollouts, many.rollouts[:17])
    before = many.discarded[many.discarded < few.episodes[-1]]
    np.testing.assert_array_equal(few.discarded, before)
    later = demonstrate(PROBLEM, expert, "di", 0, 4, 3, first_episode=int(many.episodes[5]))
    equal(later.rollouts, many.rollouts[5:9])


def test_disturbances_are_recorded_and_belong_to_the_episode():
    problem = PROBLEM.with_(
        W=Polytope.box([-0.05, -0.05], [0.05, 0.05]), initial=Polytope.box([-2, -1], [2, 1])
    )
    expert = OnlineExpert(problem)
    found = demonstrate(problem, expert, "di", 0, 5, 6, disturbance=True)
    r = found.rollouts
    assert np.abs(r.w).max() > 0.03
    np.testing.assert_array_equal(problem.system.step(r.x[:, :-1], r.u) + r.w, r.x[:, 1:])
    part = demonstrate(problem, expert, "di", 0, 2, 6, disturbance=True, first_episode=int(found.episodes[2]))
    equal(part.rollouts, r[2:4])
    with pytest.raises(ValueError, match="has no disturbance set W"):
        demonstrate(PROBLEM, OnlineExpert(PROBLEM), "di", 0, 2, 6, disturbance=True)


def test_an_expert_that_hardly_ever_succeeds_is_refused():
    expert = Moody(Status.iteration_limit, spoiled=lambda x: np.ones(len(x), bool))
    with pytest.raises(ValueError, match=r"only 0 of \d+ attempted .*iteration_limit.* draw initial states"):
        demonstrate(PROBLEM, expert, "di", 0, 20, 3)


def test_a_policy_without_labels_and_bad_counts_are_refused():
    with pytest.raises(ValueError, match="expert must label states"):
        demonstrate(PROBLEM, lambda x: np.zeros((len(x), 1)), "di", 0, 2, 3)
    with pytest.raises(ValueError, match="episodes must be a whole number of at least 1, got 0"):
        demonstrate(PROBLEM, OnlineExpert(PROBLEM), "di", 0, 0, 3)
    with pytest.raises(ValueError, match=r"steps must be a whole number of at least 1, got 2\.5"):
        demonstrate(PROBLEM, OnlineExpert(PROBLEM), "di", 0, 2, 2.5)


@pytest.mark.parametrize("config", [Online(), Barrier(eta=0.3)])
def test_generate_writes_what_demonstrate_gives(tmp_path, config):
    calls = []
    dataset = generate(
        tmp_path / "data",
        PROBLEM,
        config,
        "di",
        2,
        episodes=30,
        steps=5,
        shard_size=8,
        progress=lambda done, total: calls.append((done, total)),
    )
    direct = demonstrate(PROBLEM, config.build(PROBLEM), "di", 2, 30, 5)
    equal(dataset.rollouts(), direct.rollouts)
    equal(dataset.rollouts(11), direct.rollouts[:11])
    columns = dataset.arrays(names=("episode", "seed"))
    np.testing.assert_array_equal(columns["episode"], direct.episodes)
    np.testing.assert_array_equal(columns["seed"], direct.seeds)
    assert dataset.expert == config
    assert dataset.manifest["queries"] == direct.queries
    assert [entry["episode"] for entry in dataset.manifest["discarded"]] == direct.discarded.tolist()
    assert calls[-1] == (30, 30)
    assert calls == sorted(calls)
    dataset.verify()


def test_an_interrupted_generation_goes_on_to_the_same_files(tmp_path):
    arguments = {"system": "di", "rep": 0, "episodes": 40, "steps": 4, "shard_size": 8}

    def interrupt(done, total):
        if done >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "b", PROBLEM, Online(), progress=interrupt, **arguments)
    assert not (tmp_path / "b").exists()
    assert len(list((tmp_path / "b.partial").glob("shard-*"))) >= 2
    first = []
    generate(tmp_path / "b", PROBLEM, Online(), progress=lambda done, total: first.append(done), **arguments)
    assert first[0] > 16
    generate(tmp_path / "a", PROBLEM, Online(), **arguments)
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == sorted(file.name for file in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_bad_input_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="shard_size must be a whole number"):
        generate(tmp_path / "data", PROBLEM, Online(), "di", 0, 3, 3, shard_size=0)
    nowhere = PROBLEM.with_(initial=Polytope.box([9.5, 9.5], [10, 10]))
    with pytest.raises(ValueError, match="has a plan within the constraints"):
        generate(tmp_path / "data", nowhere, Online(), "di", 0, 3, 3)
    with pytest.raises(ValueError, match=r"must be a config, such as .* got OnlineExpert"):
        generate(tmp_path / "data", PROBLEM, OnlineExpert(PROBLEM), "di", 0, 3, 3)
    with pytest.raises(ValueError, match=r"accept must be a mpc\.Status, .*got 'optimal'"):
        generate(tmp_path / "data", PROBLEM, Online(), "di", 0, 3, 3, accept="optimal")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine exists; choose another"):
        generate(tmp_path / "mine", PROBLEM, Online(), "di", 0, 3, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_demonstrations_need_no_torch():
    code = "import sys, imitation.demonstrate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
