"""The sweep itself, with stand-ins for the work: workers import them by name."""

import json
import os
import signal

import numpy as np
import pandas as pd
import pytest

from bench.experiment import Chunk, Experiment, divide
from bench.outcome import Outcomes, identity
from bench.store import read_arrays, read_table
from bench.sweep import ONE_THREAD, sweep
from imitation.learners.configs import BehaviourCloning
from mpc.catalogue import SystemSpec
from mpc.configs import Barrier


def experiments(etas=(1.0, 2.0, 3.0), reps=2):
    system = SystemSpec("double_integrator")
    return [
        Experiment("demo", system, Barrier(eta), BehaviourCloning(), demonstrations=5, steps=4, rep=rep)
        for eta in etas
        for rep in range(reps)
    ]


def eta_of(chunk: Chunk) -> float:
    expert = chunk.members[0].expert
    assert isinstance(expert, Barrier)
    return expert.eta


def good_run(chunk: Chunk) -> Outcomes:
    rows = [{**identity(m, chunk.name), "loss_train": m.rep + eta_of(chunk)} for m in chunk.members]
    return Outcomes(rows, {f"{m.key()}/x": np.full(3, m.rep) for m in chunk.members}, {"problem": "{}"})


def threads_run(chunk: Chunk) -> Outcomes:
    found = {name: os.environ[name] for name in ONE_THREAD}
    return Outcomes(
        [{**identity(m, chunk.name), "error": json.dumps(found)} for m in chunk.members],
        {"a": np.ones(1)},
        {},
    )


def run_that_fails_at_two(chunk: Chunk) -> Outcomes:
    if eta_of(chunk) == 2.0:
        raise RuntimeError("two is\ntoo much")
    return good_run(chunk)


def run_that_dies_at_two(chunk: Chunk) -> Outcomes:
    if eta_of(chunk) == 2.0:
        os.kill(os.getpid(), signal.SIGKILL)
    return good_run(chunk)


def test_all_is_run_once_and_then_nothing(tmp_path):
    seen = []
    summary = sweep(experiments(), tmp_path / "s", 2, lambda *state: seen.append(state), run=good_run)
    assert (summary.total, summary.stored_before, summary.run, summary.failed) == (6, 0, 6, 0)
    assert seen == [(0, 6, 0), (2, 6, 0), (4, 6, 0), (6, 6, 0)]
    table = read_table(tmp_path / "s")
    assert table["loss_train"].tolist() == [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]
    assert table["expert"].unique().tolist() == ["barrier eta=1", "barrier eta=2", "barrier eta=3"]
    assert pd.read_parquet(tmp_path / "s" / "results.parquet").equals(table)
    arrays, _ = read_arrays(tmp_path / "s", table["chunk"][1])
    assert arrays[f"{table['key'][1]}/x"].tolist() == [1, 1, 1]
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    again = sweep(experiments(), tmp_path / "s", 2, run=run_that_dies_at_two)
    assert (again.stored_before, again.run, again.failed) == (6, 0, 0)
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}


def test_only_what_is_missing_is_run(tmp_path):
    sweep(experiments(), tmp_path / "s", 1, run=good_run)
    chunk = divide(experiments())[1].name
    (tmp_path / "s" / f"{chunk}.parquet").unlink()
    summary = sweep(experiments(), tmp_path / "s", 1, run=good_run)
    assert (summary.stored_before, summary.run) == (4, 2)


def test_a_failure_is_a_row_and_is_tried_again(tmp_path):
    summary = sweep(experiments(), tmp_path / "s", 2, run=run_that_fails_at_two)
    assert (summary.run, summary.failed) == (6, 2)
    table = read_table(tmp_path / "s")
    assert table["status"].tolist() == ["ok", "ok", "failed", "failed", "ok", "ok"]
    assert table["error"][2].startswith("RuntimeError: two is too much (test_bench_sweep.py:")
    mended = sweep(experiments(), tmp_path / "s", 2, run=good_run)
    assert (mended.stored_before, mended.run, mended.failed) == (4, 2, 0)
    assert (read_table(tmp_path / "s")["status"] == "ok").all()


def test_a_worker_that_dies_costs_its_own_chunk_only(tmp_path):
    summary = sweep(experiments(), tmp_path / "s", 2, run=run_that_dies_at_two)
    assert (summary.run, summary.failed) == (6, 2)
    table = read_table(tmp_path / "s")
    assert table["status"].tolist() == ["ok", "ok", "failed", "failed", "ok", "ok"]
    assert "its worker process died" in table["error"][3]


def test_workers_have_one_thread_and_the_driver_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CENTRALPATH_THREADS", raising=False)
    sweep(experiments(etas=(1.0,)), tmp_path / "s", 1, run=threads_run)
    assert json.loads(read_table(tmp_path / "s")["error"][0]) == ONE_THREAD
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "CENTRALPATH_THREADS" not in os.environ


def test_an_interrupt_leaves_a_store_that_resumes(tmp_path):
    def stop(done, total, failed):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(experiments(), tmp_path / "s", 1, stop, run=good_run)
    assert len(read_table(tmp_path / "s")) == 2
    summary = sweep(experiments(), tmp_path / "s", 1, run=good_run)
    assert (summary.stored_before, summary.run) == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], "s", 1), "experiments is empty"),
        ((experiments(), "s", 0), "workers must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(tmp_path, arguments, message):
    asked, name, workers = arguments
    with pytest.raises(ValueError, match=message):
        sweep(asked, tmp_path / name, workers, run=good_run)
    assert not (tmp_path / name).exists()
