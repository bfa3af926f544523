"""``centralpath speed populations``: its contestants do what they say, the table, a peer that is missing."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.cli import main
from bench.speed import populations
from bench.speed.populations import HEADS, NETWORKS, Row, Settings, cells, measure, product_steps, run

SMALL = Settings(batches=(4,), threads=(1,), rounds=1, turn=1e-3)


@pytest.fixture(autouse=True)
def _threads(one_torch_thread):
    """The script sets the number of torch's threads; it is put back."""


def test_a_row_has_all_its_numbers(monkeypatch):
    monkeypatch.setattr(populations, "POPULATIONS", (1, 3))
    monkeypatch.setattr(populations, "_STEPS", 2)
    name, network = next(iter(NETWORKS.items()))
    rows = measure(name, network, 4, 1, SMALL)
    assert [row.members for row in rows] == [1, 3]
    for row in rows:
        assert len(cells(row)) == len(HEADS)
        assert min(row.ours, row.plain, row.products) > 0
        assert row.policies == pytest.approx(1e6 / row.ours / 2000)


def test_the_products_are_those_of_forward_and_backward(monkeypatch):
    shapes = []
    monkeypatch.setattr(populations, "_STEPS", 1)
    monkeypatch.setattr(torch, "bmm", lambda a, b: shapes.append((*a.shape, b.shape[2])))
    product_steps(NETWORKS["2 hidden of 64, tanh"], 5, 7)()
    flops = sum(2 * np.prod(shape) for shape in shapes)
    forward = 2 * 7 * 5 * (2 * 64 + 64 * 64 + 64)
    assert flops == 3 * forward - 2 * 7 * 5 * 2 * 64  # states need no gradient


def test_an_interpreter_without_the_package_is_refused():
    settings = Settings(batches=(), peer=Path(sys.executable))
    assert list(run(settings, print)) == []
    with pytest.raises(ValueError, match="cannot run the cloning of the package imitation: ModuleNotFound"):
        populations._of_package(Path(sys.executable), 4)


def test_the_command_prints_and_writes_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(populations, "QUICK", SMALL)
    monkeypatch.setattr(populations, "POPULATIONS", (1, 2))
    assert main(["speed", "populations", "--quick", "--out", str(tmp_path)]) == 0
    assert "policies / s" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "populations.csv")
    assert set(table["members"]) == {1, 2}
    assert "plain / ours" in (tmp_path / "populations.md").read_text()
    assert Row("a", 1, 1, 1, 500.0, 1.0, 1.0).policies == 1.0
