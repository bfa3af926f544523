import json

import numpy as np
import pandas as pd
import pytest

from bench.store import COLUMNS, commit, existing_store, is_done, open_store, read_arrays, read_table

MANIFEST = {"study": "demo", "chunks": {"aa": ["k2"], "bb": ["k1"]}, "experiments": {"k1": {}, "k2": {}}}


def row(key, **changes):
    return {"key": key, "status": "ok", "error": "", "demonstrations": 5, "growth_rate": 0.25, **changes}


def test_a_committed_chunk_reads_back_and_is_done(tmp_path):
    store = open_store(tmp_path / "s", MANIFEST)
    assert not is_done(store, "aa")
    commit(store, "aa", [row("k2")], {"k2/x": np.arange(6.0).reshape(2, 3)}, {"problem/a": "{}"})
    assert is_done(store, "aa")
    arrays, metadata = read_arrays(store.path, "aa")
    assert arrays["k2/x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert metadata == {"problem/a": "{}"}


def test_the_table_has_the_order_of_the_experiments_and_every_column(tmp_path):
    store = open_store(tmp_path / "s", MANIFEST)
    commit(store, "aa", [row("k2")], {"k2/x": np.zeros(1)}, {})
    commit(store, "bb", [row("k1", status="failed", error="boom")], {}, {})
    table = read_table(store.path)
    assert table["key"].tolist() == ["k1", "k2"]
    assert list(table.columns) == list(COLUMNS)
    assert table["error"].tolist() == ["boom", ""]
    assert np.isnan(table["jacobian_max"]).all()
    assert table["demonstrations"].dtype == np.int64
    assert pd.read_parquet(store.rows("aa"))["growth_rate"].iloc[0] == 0.25


def test_an_empty_store_reads_as_an_empty_table(tmp_path):
    assert list(read_table(open_store(tmp_path / "s", MANIFEST).path).columns) == list(COLUMNS)


def test_a_failure_is_never_done_and_is_replaced(tmp_path):
    store = open_store(tmp_path / "s", MANIFEST)
    commit(store, "aa", [row("k2", status="failed")], {}, {})
    assert not is_done(store, "aa")
    commit(store, "aa", [row("k2")], {"k2/x": np.zeros(1)}, {})
    assert is_done(store, "aa")


def test_the_same_arrays_make_the_same_bytes(tmp_path):
    data = []
    for name in ("one", "two"):
        store = open_store(tmp_path / name, MANIFEST)
        commit(store, "aa", [row("k2")], {"b": np.ones(3), "a": np.eye(2)}, {"z": "1", "y": "2", "x": "3"})
        data.append(store.tensors("aa").read_bytes())
    assert data[0] == data[1]


def test_damaged_arrays_make_the_chunk_undone(tmp_path):
    store = open_store(tmp_path / "s", MANIFEST)
    commit(store, "aa", [row("k2")], {"k2/x": np.zeros(4)}, {})
    damaged = bytearray(store.tensors("aa").read_bytes())
    damaged[-1] ^= 1
    store.tensors("aa").write_bytes(damaged)
    assert not is_done(store, "aa")


def test_no_temporary_file_is_left(tmp_path):
    store = open_store(tmp_path / "s", MANIFEST)
    commit(store, "aa", [row("k2")], {"k2/x": np.zeros(4)}, {})
    assert sorted(p.name for p in store.path.iterdir()) == ["aa.parquet", "aa.safetensors", "sweep.json"]


def test_the_own_store_opens_again_and_anything_else_is_refused(tmp_path):
    open_store(tmp_path / "s", MANIFEST)
    open_store(tmp_path / "s", MANIFEST)
    other = {**MANIFEST, "chunks": {"cc": ["k3"]}}
    with pytest.raises(ValueError, match=r"holds a sweep over other experiments .*pass another directory"):
        open_store(tmp_path / "s", other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds something that is not a sweep"):
        open_store(tmp_path / "mine", MANIFEST)
    with pytest.raises(ValueError, match="is a file"):
        open_store(tmp_path / "mine" / "notes.txt", MANIFEST)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_a_path_without_a_store_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is not a sweep's store \(no sweep.json\)"):
        read_table(tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps({"schema": "other/9"}))
    with pytest.raises(ValueError, match="has schema 'other/9'"):
        existing_store(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match="not readable"):
        existing_store(tmp_path)


def test_arrays_of_a_chunk_that_did_not_run_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"chunk zz .* has no arrays"):
        read_arrays(open_store(tmp_path / "s", MANIFEST).path, "zz")
