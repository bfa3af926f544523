"""Members and rules of one's own that go wrong: what is kept, and what is told."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from generators import gain_loops

from imitation.learners import BehaviourCloning
from imitation.optim.contract import Rule
from imitation.policies import Mlp
from imitation.train import Member, train

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = BehaviourCloning(policy=Mlp(16, 3), steps=60, batch=32, dtype="float64")


def members(problem):
    starts = [np.random.default_rng(seed).uniform(-3, 3, (4, 2)) for seed in range(2)]
    return [Member(gain_loops(problem, x0, 20), rep) for rep, x0 in enumerate(starts)]


@dataclass(frozen=True)
class Breaking:
    """Descent whose weights are no numbers from a step on, and what else a rule could get wrong."""

    at: int = 60
    lr: float = 0.05
    wrong: Callable | None = None

    def rule(self):
        return BreakingRule(self.at, self.wrong)


@dataclass(frozen=True)
class BreakingRule(Rule):
    at: int
    wrong: Callable | None

    def init(self, params, draws):
        return 0

    def update(self, state, params, objective, lr, draws):
        loss, grads = objective.loss_and_grad(params)
        worth = float("nan") if state >= self.at else lr
        moved = {name: p - worth * grads[name] for name, p in params.items()}
        found = moved, state + 1, {"loss": loss}
        return found if self.wrong is None else self.wrong(*found)

    def state_bytes(self, params):
        return 0


def test_the_best_weights_outlive_a_run_that_diverges(problem):
    best = train(problem, replace(SMALL, optimizer=Breaking(), steps=100, keep="best"), members(problem))
    validation = best.history.validation
    assert np.isfinite(validation).all()
    assert (validation[:, 12:] == validation[:, 11:12]).all()
    assert np.isnan(best.history.loss[:, -1]).all()
    assert all(weights.isfinite().all() for weights in best.params.values())
    from_the_start = train(
        problem, replace(SMALL, optimizer=Breaking(at=0), steps=40, keep="best"), members(problem)[:1]
    )
    assert np.isnan(from_the_start.history.validation[:, -1]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda moved, state, info: (moved, state), r"must return \(params, state, info\), got tuple"),
        (lambda moved, state, info: ({}, state, info), r"weights of the names and shapes .*, got {}"),
        (
            lambda moved, state, info: ({n: p[..., :1] for n, p in moved.items()}, state, info),
            "must return weights of the names and shapes",
        ),
        (
            lambda moved, state, info: (moved, state, {}),
            r'info\["loss"\], one for each of the 1 members, got None',
        ),
        (
            lambda moved, state, info: (moved, state, {"loss": info["loss"].mean()}),
            r'must return info\["loss"\], one for each of the 1 members, got \(\)',
        ),
    ],
)
def test_a_rule_that_returns_something_else_is_told_so(problem, wrong, message):
    with pytest.raises(ValueError, match=message):
        train(problem, replace(SMALL, optimizer=Breaking(wrong=wrong)), members(problem)[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": -0.1}, r"Member\(lr=...\) must be a positive number or None, got -0.1"),
        ({"lr": float("nan")}, "must be a positive number or None, got nan"),
        ({"lr": "0.1"}, "must be a positive number or None, got '0.1'"),
        ({"optimizer": torch.optim.SGD}, r"goes into optim.Foreign\(cls, arguments\)"),
        ({"optimizer": "adamw"}, "optimizer must be a config with lr and rule"),
        ({"rollouts": "demos"}, r"must be Rollouts, got 'demos'; of a Dataset pass dataset.rollouts\(\)"),
    ],
)
def test_a_member_that_cannot_be_trained_is_refused(problem, change, message):
    with pytest.raises(ValueError, match=message):
        train(problem, SMALL, [replace(members(problem)[0], **change)])
    with pytest.raises(ValueError, match=r"members must be Member\(rollouts, rep\), got a Rollouts"):
        train(problem, SMALL, [members(problem)[0].rollouts])
