"""``centralpath speed optimizers``: the table, its files and its peers."""

import numpy as np
import pandas as pd
import pytest
import torch

from bench.cli import main
from bench.speed.optimizer_peers import PEERS
from bench.speed.optimizers import HEADS, RULES, Population, Row, Settings, cells, measure, stepper
from imitation.optim import SUITE

SMALL = {"batch": 8, "rounds": 1, "turn": 1e-3}


@pytest.fixture(autouse=True)
def _threads(one_torch_thread):
    """The script sets the number of torch's threads; it is put back."""


def test_every_rule_of_the_suite_is_in_the_table():
    assert {type(config) for config in RULES.values()} == set(SUITE)
    assert set(PEERS) <= set(RULES)
    with pytest.raises(ValueError, match="rules must name some of AdamW"):
        Settings(("Nothing",))


@pytest.mark.parametrize("name", RULES)
def test_a_row_has_all_its_numbers(name):
    row = measure(name, [Population.of(K, 8) for K in (1, 2, 3)], Settings(**SMALL))
    assert len(cells(row)) == len(HEADS)
    assert all(time > 0 for time in row.step)
    assert row.gradients == RULES[name].rule().gradients
    assert np.isnan(row.loop) == np.isnan(row.peer_step)
    assert np.isnan(row.peer_step) == (PEERS.get(name) is None or PEERS[name].step is None)


def test_ratios():
    row = Row("a", 1, 8.0, (60.0, 9.0, 3.0), (500.0, 90.0, 25.0), 0.15, "torch", 30.0, 20.0, 750.0)
    assert (row.cheaper, row.beside, row.cheaper_than_loop) == (20.0, 2.0, 30.0)


def test_steps_are_taken_again_and_again_from_the_same_weights():
    one = Population.of(1, 8)
    optimizer_step = PEERS["Sgd"].step(one.params, one.gradients[1])
    step = stepper(RULES["Sgd"], one, one.objective)
    step()
    optimizer_step()
    assert torch.equal(one.objective.loss_and_grad(one.params)[0], one.gradients[0])  # nothing moved


def test_the_command_prints_and_writes_the_table(tmp_path, capsys):
    arguments = [
        "speed",
        "optimizers",
        "--rules",
        "Sgd",
        "--states",
        "8",
        "--rounds",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    assert "Sgd" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "optimizers.csv")["rule_name"]) == {"Sgd"}
    assert "step us K=1" in (tmp_path / "optimizers.md").read_text()
