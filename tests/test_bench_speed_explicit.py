"""The benchmark of explicit MPC: its rows, its table and its command. Nothing here is timed."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.speed.explicit import HEADS, Settings, cells, measure
from bench.speed.parametric_peer import installed, timed


def test_a_row_counts_what_the_law_takes():
    row = measure("double_integrator:N=2", Settings(states=30, rounds=1, budget=1.0))
    assert (row.regions, row.merged, row.laws) == (9, 7, 5)
    for name in ("listed", "built", "looked_up", "single", "naive"):
        assert 0 < getattr(row, name) < 1e6
    assert (row.ppopt == "not installed") == (not installed())
    assert row.ppopt_regions == (9 if installed() else 0)
    assert np.isnan(row.ppopt_seconds) == (not installed())
    assert len(cells(row)) == len(HEADS)


def test_the_command_prints_and_writes_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bench.speed.explicit.installed", lambda: False)
    command = ["speed", "explicit", "--problems", "double_integrator:N=2", "--states", "20", "--rounds", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert "double_integrator:N=2" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path / "explicit.parquet")
    assert table["regions"].tolist() == [9]
    text = (tmp_path / "explicit.md").read_text()
    assert "speed explicit --problems double_integrator:N=2 --states 20 --rounds 1" in text
    assert "| double_integrator:N=2 | 9 | 7 | 5 |" in text


def test_an_unknown_system_is_refused(capsys):
    assert main(["speed", "explicit", "--problems", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.skipif(not installed(), reason="ppopt is not installed: pip install ppopt")
def test_the_peer_runs_in_a_process_of_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.parametric_peer", "double_integrator:N=2", "graph"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["regions"] == 9
    assert np.isnan(timed("double_integrator:N=30", "graph", -29.9).seconds)
