import json
from dataclasses import replace

import numpy as np
import pytest

from mpc.configs import Barrier, Linear, Online
from mpc.dataset import Plan, open_dataset, write_dataset
from mpc.demonstrations import Demonstrations, collect, total
from mpc.expert import Control
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts
from mpc.system import LinearSystem

T = 3
PROBLEM = ControlProblem(
    system=LinearSystem([[1, 0.1], [0, 1]], [[0], [0.1]], dt=0.1),
    X=Polytope([[1.0, 0.0], [-1.0, 1 / 3]], [1.0, 2.0]),
    U=Polytope.box([-1], [1]),
    name="own",
)
PLAN = Plan(PROBLEM, "own.json", Barrier(eta=0.3), rep=1, episodes=10, steps=T, shard_size=4)


def episode(i):
    """Arbitrary arrays that are a function of the episode's index, odd bits of NaN included."""
    rng = np.random.default_rng(i)
    labels = Control(
        u=rng.normal(size=(1, T, 1)),
        status=np.full((1, T), 2, np.int8),
        dudx=rng.normal(size=(1, T, 1, 2)),
        gradient=np.full((1, T, 2), np.uint64(0x7FF80000DEADBEEF).view(np.float64)),
    )
    x, w = rng.normal(size=(1, T + 1, 2)), rng.normal(size=(1, T, 2))
    return Rollouts(x, labels.u, np.full(1, T), w, labels)


def make_block(first, count, kept=lambda i: i % 3 != 1):
    indices = np.arange(first, first + count)
    good = np.array([kept(i) for i in indices])
    return Demonstrations(
        rollouts=Rollouts.concatenate([episode(i) for i in indices])[good],
        episodes=indices[good],
        seeds=indices[good] + 1000,
        discarded=indices[~good],
        discarded_seeds=indices[~good] + 1000,
        queries=count * T,
        statuses={"optimal": T * int(good.sum()), "infeasible": T * int((~good).sum())},
    )


KEPT = [i for i in range(15) if i % 3 != 1]


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data", PLAN, make_block)


def equal(a, b):
    assert a.arrays().keys() == b.arrays().keys()
    for name, value in a.arrays().items():
        other = b.arrays()[name]
        assert (value.dtype, value.shape) == (other.dtype, other.shape), name
        assert value.tobytes() == other.tobytes(), name


def test_rollouts_come_back_bit_for_bit(dataset):
    expected = Rollouts.concatenate([episode(i) for i in KEPT])
    equal(dataset.rollouts(), expected)
    for first in (1, 3, 4, 10):
        equal(dataset.rollouts(first), expected[:first])
    columns = dataset.arrays(names=("episode", "seed"))
    assert columns["episode"].tolist() == KEPT
    assert columns["seed"].tolist() == [i + 1000 for i in KEPT]
    assert columns["seed"].dtype == np.int64


def test_the_manifest_says_what_it_is(dataset, tmp_path):
    again = open_dataset(str(tmp_path / "data"))
    assert again.problem.key == PROBLEM.key
    assert again.expert == Barrier(eta=0.3)
    assert (again.system, again.rep, again.episodes, again.steps) == ("own.json", 1, 10, T)
    manifest = again.manifest
    assert manifest["schema"] == 1
    assert manifest["discarded"] == [{"episode": i, "seed": i + 1000} for i in (1, 4, 7, 10, 13)]
    assert manifest["queries"] == 15 * T
    assert manifest["statuses"] == {"optimal": 10 * T, "infeasible": 5 * T}
    assert set(manifest["versions"]) == {"python", "numpy", "numba", "scipy", "safetensors", "centralpath"}
    assert [shard["attempts"] for shard in manifest["shards"]] == [4, 4, 4, 3]
    assert [shard["episodes"] for shard in manifest["shards"]] == [3, 2, 3, 2]
    names = {file.name for file in (tmp_path / "data").iterdir()}
    assert names == {"manifest.json"} | {f"shard-0000{i}.safetensors" for i in range(4)}
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_only_the_shards_that_are_needed_are_read(dataset, tmp_path):
    last = tmp_path / "data" / "shard-00003.safetensors"
    last.write_bytes(b"\xff" * last.stat().st_size)
    assert dataset.rollouts(8).episodes == 8
    with pytest.raises(ValueError, match=r"shard-00003.safetensors is not a readable shard"):
        dataset.rollouts()


def test_asking_for_what_is_not_there_is_an_error(dataset):
    with pytest.raises(ValueError, match=r"first must be from 1 to 10, .* got 11"):
        dataset.rollouts(11)
    with pytest.raises(ValueError, match=r"holds no array 'label.value'; it holds"):
        dataset.arrays(names=("label.value",))


def test_verify_finds_one_changed_bit(dataset, tmp_path):
    dataset.verify()
    shard = tmp_path / "data" / "shard-00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=r"shard-00001.safetensors is corrupt: its sha256"):
        open_dataset(tmp_path / "data").verify()


def test_an_existing_path_is_refused_before_any_work(dataset, tmp_path):
    def work(first, count):
        raise AssertionError("no block may be made")

    with pytest.raises(ValueError, match="data exists; choose another, or remove it first"):
        write_dataset(tmp_path / "data", PLAN, work)


@pytest.mark.parametrize("stop_at", [0, 1, 3])
def test_an_interrupted_run_resumes_from_its_shards(tmp_path, stop_at):
    asked = []

    def failing(first, count):
        asked.append(first)
        if first >= 4 * stop_at:
            raise KeyboardInterrupt
        return make_block(first, count)

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "b", PLAN, failing)
    partial = tmp_path / "b.partial"
    assert partial.exists() == (stop_at > 0)
    if stop_at:
        with pytest.raises(ValueError, match="was interrupted: run the same command again"):
            open_dataset(tmp_path / "b")
        (partial / "shard-00009.safetensors.77.tmp").write_bytes(b"half a shard")

    def resumed(first, count):
        assert first >= 4 * stop_at
        return make_block(first, count)

    write_dataset(tmp_path / "b", PLAN, resumed)
    write_dataset(tmp_path / "a", PLAN, make_block)
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == sorted(file.name for file in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_a_partial_directory_of_another_plan_is_refused(tmp_path):
    def failing(first, count):
        if first >= 4:
            raise RuntimeError("power cut")
        return make_block(first, count)

    with pytest.raises(RuntimeError, match="power cut"):
        write_dataset(tmp_path / "data", PLAN, failing)
    other = replace(PLAN, expert=Barrier(eta=0.2), rep=0)
    with pytest.raises(ValueError, match=r"another plan \(different: expert, rep\); .* remove the directory"):
        write_dataset(tmp_path / "data", other, make_block)
    assert len(list((tmp_path / "data.partial").glob("shard-*"))) == 1


def test_a_directory_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "data.partial").mkdir()
    with pytest.raises(ValueError, match="is in the way and holds no plan"):
        write_dataset(tmp_path / "data", PLAN, make_block)


def test_a_range_without_a_kept_episode_makes_an_empty_shard(tmp_path):
    def late(first, count):
        return make_block(first, count, kept=lambda i: not 4 <= i < 8)

    dataset = write_dataset(tmp_path / "data", PLAN, late)
    assert [shard["episodes"] for shard in dataset.manifest["shards"]] == [4, 0, 4, 2]
    equal(dataset.rollouts(), Rollouts.concatenate([episode(i) for i in (0, 1, 2, 3, *range(8, 14))]))


def test_small_shards_do_not_hide_that_nothing_succeeds(tmp_path):
    def hopeless(first, count):
        return make_block(first, count, kept=lambda i: i == 0)

    with pytest.raises(ValueError, match=r"only 1 of 200 attempted .* \(problem.initial\)"):
        write_dataset(tmp_path / "data", PLAN, hopeless)


def altered(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.update(changes)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_foreign_newer_and_broken_datasets_are_refused(dataset, tmp_path):
    path = tmp_path / "data"
    with pytest.raises(ValueError, match=r"there is no dataset at .*; make one with `centralpath generate`"):
        open_dataset(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"not a centralpath dataset: it holds no readable manifest.json"):
        open_dataset(tmp_path / "empty")
    with pytest.raises(ValueError, match="not a centralpath dataset"):
        open_dataset(path / "shard-00000.safetensors")
    original = (path / "manifest.json").read_text()
    cases = [
        ({"schema": 2}, "has schema 2, this version reads 1; upgrade centralpath"),
        ({"format": "minari"}, "is of another format"),
        ({"problem_key": "0" * 64}, "was altered"),
        ({"problem": {"N": 3}}, "is corrupt: its problem cannot be read"),
        ({"shards": [{"file": "../secret", "bytes": 1}]}, "../secret is missing"),
    ]
    for changes, message in cases:
        altered(path, **changes)
        with pytest.raises(ValueError, match=message):
            open_dataset(path)
        (path / "manifest.json").write_text(original)
    (path / "manifest.json").write_text(original[:-30])
    with pytest.raises(ValueError, match="is corrupt: it is not JSON"):
        open_dataset(path)


def test_a_missing_or_truncated_shard_is_found_on_opening(dataset, tmp_path):
    shard = tmp_path / "data" / "shard-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"shard-00002.safetensors is corrupt: it has \d+ bytes"):
        open_dataset(tmp_path / "data")
    shard.unlink()
    with pytest.raises(ValueError, match=r"incomplete: shard-00002.safetensors is missing"):
        open_dataset(tmp_path / "data")


@pytest.mark.parametrize("config", [Online(soft=2.0), Linear(K=((-1.0, 0.25),))])
def test_every_config_reads_back(tmp_path, config):
    dataset = write_dataset(tmp_path / "data", replace(PLAN, expert=config), make_block)
    assert dataset.expert == config


def test_collect_attempts_no_more_than_it_needs():
    asked = []

    def counting(first, count):
        asked.append((first, count))
        return make_block(first, count)

    found = collect(counting, wanted=10, first=2)
    assert asked == [(2, 10), (12, 3), (15, 1)]
    assert found.episodes.tolist() == [i for i in range(2, 30) if i % 3 != 1][:10]
    assert found.episodes[-1] == 2 + found.attempts - 1
    assert collect(make_block, wanted=10, stop=5).episodes.tolist() == [0, 2, 3]


def test_status_counts_add_up_from_best_to_worst():
    summed = total([{"infeasible": 2}, {"optimal": 1, "infeasible": 3}, {}])
    assert list(summed.items()) == [("optimal", 1), ("infeasible", 5)]
