"""The contract tried from outside: other people's optimizers, and a user's own in a separate file."""

import linecache
import sys
from dataclasses import replace

import numpy as np
import pytest
import pytorch_optimizer
import schedulefree
import torch

from imitation import optim
from imitation.demonstrate import demonstrate
from imitation.learners.configs import BehaviourCloning
from imitation.optim import Foreign
from imitation.policies.configs import Mlp
from imitation.train import Member, train
from mpc import BarrierExpert, catalogue
from mpc.record import key_of, to_record

pytestmark = pytest.mark.usefixtures("one_torch_thread")

LEARNER = BehaviourCloning(policy=Mlp(width=16, depth=2), steps=120, batch=64)
CLASSES = {
    "SOAP of pytorch-optimizer": Foreign(pytorch_optimizer.SOAP, (("lr", 3e-3),)),
    "SGD of schedulefree": Foreign(schedulefree.SGDScheduleFree, (("lr", 0.5),)),
    "AdamW of schedulefree": Foreign(schedulefree.AdamWScheduleFree, (("lr", 2.5e-3),)),
    "LBFGS of torch": Foreign(torch.optim.LBFGS, (("max_iter", 4), ("line_search_fn", "strong_wolfe"))),
}
OWN = '''
"""A user's file: an optimizer of torch's kind, and a rule with its config."""

from dataclasses import dataclass

import torch

from imitation.optim.contract import Rule


class OwnDescent(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad / (p.grad.norm() + 1e-12))
        return loss


class OwnRule(Rule):
    def init(self, params, draws):
        return None

    def update(self, state, params, objective, lr, draws):
        loss, grads = objective.loss_and_grad(params)
        length = {n: g.flatten(1).norm(dim=1).view(-1, *[1] * (g.dim() - 1)) for n, g in grads.items()}
        moved = {n: p - lr * grads[n] / (length[n] + 1e-12) for n, p in params.items()}
        return moved, state, {"loss": loss}

    def state_bytes(self, params):
        return 0


@dataclass(frozen=True)
class Own:
    lr: float = 1e-2

    def rule(self):
        return OwnRule()
'''


@pytest.fixture(scope="module")
def members():
    problem = catalogue.double_integrator()
    rollouts = demonstrate(problem, BarrierExpert(problem, eta=0.1), "double_integrator", 0, 10, 15).rollouts
    return [Member(rollouts, rep) for rep in range(3)]


def trained(members, optimizer):
    return train(catalogue.double_integrator(), replace(LEARNER, optimizer=optimizer), members)


@pytest.mark.parametrize("name", CLASSES)
def test_a_policy_is_trained_by_an_optimizer_from_elsewhere(name, members):
    history = trained(members, CLASSES[name]).history
    assert (history.loss[:, -1] < history.loss[:, 0] / 3).all()
    assert (history.validation[:, -1] < history.validation[:, 0]).all()


@pytest.mark.parametrize("arguments", [(("lr", 0.05),), ()], ids=["given", "default"])
def test_a_member_s_rate_is_the_rate_of_a_foreign_class_too(members, arguments):
    member = replace(members[0], lr=0.02)
    theirs = trained([member], Foreign(torch.optim.SGD, arguments))
    ours = trained([member], optim.Sgd())
    np.testing.assert_allclose(theirs.history.loss, ours.history.loss, rtol=1e-9)
    own = trained(members[:1], Foreign(torch.optim.SGD, arguments))
    ours = trained([replace(members[0], lr=0.05 if arguments else 1e-3)], optim.Sgd())
    np.testing.assert_allclose(own.history.loss, ours.history.loss, rtol=1e-9)


def test_a_rule_that_has_changed_has_another_key(tmp_path, monkeypatch):
    keys = []
    for version in (OWN, OWN.replace("1e-12", "1e-9")):
        (tmp_path / "own_config.py").write_text(version)
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop("own_config", None)
        import own_config

        linecache.clearcache()
        record = to_record(replace(LEARNER, optimizer=own_config.Own()))["optimizer"]
        assert record["module"] == "own_config"
        keys.append(key_of(own_config.Own()))
    assert keys[0] != keys[1]
    del sys.modules["own_config"]


def test_what_schedulefree_deploys_is_its_average(members):
    """Its SGD and ours: the same minibatches, the same weights to use."""
    theirs = trained(members[:1], Foreign(schedulefree.SGDScheduleFree, (("lr", 0.5),)))
    ours = trained(members[:1], optim.ScheduleFree(optim.Sgd(lr=0.5)))
    for name, value in ours.params.items():
        torch.testing.assert_close(theirs.params[name], value, rtol=1e-3, atol=1e-4)


def test_a_users_file_gives_an_optimizer_and_a_rule(tmp_path, monkeypatch, members):
    (tmp_path / "own_descent.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_descent

    one = trained(members, Foreign(own_descent.OwnDescent, (("lr", 1e-2),)))
    population = trained(members, own_descent.Own())
    assert (one.history.loss[:, -1] < one.history.loss[:, 0] / 3).all()
    np.testing.assert_allclose(population.history.loss, one.history.loss, rtol=0.05)
    for wrapper in (optim.Ema, optim.Sam, optim.Rotated, optim.Subspace, optim.Escape):
        history = trained(members, wrapper(own_descent.Own())).history
        assert np.isfinite(history.loss).all()
    del sys.modules["own_descent"]
