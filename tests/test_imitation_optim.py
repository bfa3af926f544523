"""Update rules: twins, torch's own, populations, the torch face, foreign classes, configs."""

import pickle
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch
from optim_problems import STEPS, Bowls, run, start
from torch import nn

from imitation.optim import AdamW, ClippedAdam, Foreign, Ftrl, Lion, ScheduleFree, Sgd, SignSgd
from imitation.optim.contract import GradientObjective, Rule, require_offers
from imitation.optim.draws import asked, drawn
from imitation.optim.foreign import ForeignRule
from imitation.optim.fused import OnePass, one_pass
from imitation.optim.reference.adam import adamw
from imitation.optim.schedules import constant, cosine, factor
from imitation.optim.state import bytes_of, plain, restored

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CONFIG = AdamW(lr=1e-2, weight_decay=1e-2)


def twin(member, lr=CONFIG.lr):
    objective, w = Bowls([member]), torch.cat([p.flatten(1) for p in start([member]).values()], 1)[0].numpy()
    c = CONFIG
    path = adamw(
        w,
        lambda w: objective.flat_grad(torch.from_numpy(w)[None])[0].numpy(),
        lr=lr,
        beta1=c.beta1,
        beta2=c.beta2,
        eps=c.eps,
        weight_decay=c.weight_decay,
    )
    return np.stack([theta for theta, _ in islice(path, STEPS)])


def test_adamw_agrees_with_its_twin_step_by_step():
    np.testing.assert_allclose(run(CONFIG, [3])[:, 0].numpy(), twin(3), rtol=1e-12, atol=1e-13)


def test_adamw_agrees_with_torch_step_by_step():
    objective, w = Bowls([3]), torch.cat([p.flatten(1) for p in start([3]).values()], 1)[0].requires_grad_()
    theirs = torch.optim.AdamW([w], lr=CONFIG.lr, weight_decay=CONFIG.weight_decay)
    for ours in run(CONFIG, [3])[:, 0]:
        w.grad = objective.flat_grad(w.detach()[None])[0]
        theirs.step()
        torch.testing.assert_close(ours, w.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    "order", [[3, 0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 4, 5, 6, 7, 3], [5, 1, 7, 3, 0, 2, 6, 4]]
)
def test_a_member_in_company_is_the_member_alone(order, flat):
    alone, company = run(CONFIG, [3]), run(CONFIG, order, flat=flat)
    torch.testing.assert_close(company[:, order.index(3)], alone[:, 0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(company[:, order.index(5)].numpy(), twin(5), rtol=1e-12, atol=1e-13)


def test_one_rate_for_each_member():
    rates = torch.tensor([1e-2, 3e-3, 1e-1], dtype=torch.float64)
    path = run(CONFIG, [0, 1, 2], lr=rates)
    for k, rate in enumerate(rates):
        np.testing.assert_allclose(path[:, k].numpy(), twin(k, float(rate)), rtol=1e-12, atol=1e-13)


def _summed(p, g, scale, out):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            out[k, i] = p[k, i] + scale[k] * g[k, i]


PASSES = {
    "adamw": AdamW(weight_decay=1e-2),
    "momentum": Sgd(momentum=0.9, weight_decay=1e-2),
    "nesterov": Sgd(momentum=0.9, nesterov=True),
    "signum": SignSgd(weight_decay=1e-2),
    "lion": Lion(weight_decay=1e-2),
    "ftrl": Ftrl(),
    "clipped adam": ClippedAdam(discount=0.5),
    "schedule-free": ScheduleFree(Sgd()),
    "schedule-free adamw, random": ScheduleFree(AdamW(), random=True),
}
"""Rules that take one pass over memory."""


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lr", [1e-2, [1e-2, 3e-3, 0.0]])
@pytest.mark.parametrize("name", PASSES)
def test_one_pass_over_memory_and_one_operation_after_the_other_agree(name, dtype, lr, monkeypatch):
    rule, draw = PASSES[name].rule(), torch.Generator().manual_seed(0)
    shapes = {"matrix": (3, 4, 5), "turned": (5, 3), "number": (3,), "still": (3, 2)}
    start = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}
    start["turned"] = start["turned"].mT  # not contiguous
    slopes = [
        {name: torch.randn(p.shape, generator=draw).to(dtype) for name, p in start.items()} for _ in "abcd"
    ]
    for slope in slopes:
        slope["still"].zero_()  # 0/0
    slopes[0]["number"].mul_(1e6)
    rate = lr if isinstance(lr, float) else torch.tensor(lr, dtype=dtype)

    def path():
        params, state, infos = start, rule.init(start, {}), []
        generators = [torch.Generator().manual_seed(k) for k in range(3)]
        for slope in slopes:
            objective = GradientObjective("slopes", lambda params, slope=slope: (torch.zeros(3), slope))
            draws = drawn(asked(rule, params), generators, dtype)
            params, state, info = rule.update(state, params, objective, rate, draws)
            infos.append(info)
        return params, plain(state), infos

    monkeypatch.setattr(OnePass, "_takes", lambda self, *asked: False)
    with_torch = path()
    monkeypatch.setattr(OnePass, "_takes", lambda self, *asked: True)
    tolerance = {torch.float64: 1e-14, torch.float32: 1e-6}[dtype]
    torch.testing.assert_close(path(), with_torch, rtol=tolerance, atol=tolerance)


def test_a_pass_is_for_the_tensors_that_it_takes_and_gains_from(monkeypatch):
    doubled = one_pass(reads=2, writes=1, members=1, least=12)(_summed)
    big = {"a": torch.ones(2, 5), "b": torch.ones(2)}
    rates = torch.tensor([0.5, 2.0], dtype=torch.bfloat16)
    (found,) = doubled(big, big, members=(rates,))
    assert found["a"].tolist() == [[1.5] * 5, [3.0] * 5]
    assert found["b"].tolist() == [1.5, 3.0]
    rates.requires_grad_()
    assert doubled(big, big, members=(rates,)) is None
    with torch.no_grad():
        assert doubled(big, big, members=(rates,)) is not None
    for other in (
        {"a": torch.ones(2, 1), "b": torch.ones(2)},
        {"a": torch.ones(3, 5), "b": torch.ones(3)},
        {"a": torch.ones(2, 5), "b": torch.ones(2).double()},
        {"a": torch.ones(2, 5, requires_grad=True), "b": torch.ones(2)},
    ):
        assert doubled(big, other, members=(1.0,)) is None
    for same in (
        {"a": torch.ones(1, 11)},
        {"a": torch.ones(0, 5)},
        {"a": torch.ones(2, 6).bfloat16()},
        {"a": torch.ones(2, 6, device="meta")},
    ):
        assert doubled(same, same, members=(1.0,)) is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert doubled(big, big, members=(1.0,)) is None


@pytest.mark.parametrize("name", PASSES)
def test_a_gradient_of_another_shape_is_refused_or_broadcast_as_torch_has_it(name):
    rule, params = PASSES[name].rule(), {"a": torch.ones(2, 3, 4)}
    draws = drawn(asked(rule, params), [torch.Generator().manual_seed(k) for k in range(2)], torch.float32)
    loss = torch.zeros(2)
    wrong = GradientObjective("wrong", lambda params: (loss, {"a": torch.ones(2, 3, 3)}))
    with pytest.raises(RuntimeError, match="size of tensor"):
        rule.update(rule.init(params, {}), params, wrong, 0.1, draws)


@pytest.mark.parametrize("config", [Lion(), SignSgd(), SignSgd(momentum=0.0), Sgd(momentum=0.5)], ids=str)
@pytest.mark.parametrize("size", [3, 70_000])
def test_a_member_without_numbers_stays_so_and_keeps_to_itself(config, size):
    rule, params = config.rule(), {"a": torch.ones(2, size)}
    slopes = {"a": torch.ones(2, size)}
    slopes["a"][1] = torch.nan
    objective = GradientObjective("nan", lambda params: (torch.zeros(2), slopes))
    moved, _, _ = rule.update(rule.init(params, {}), params, objective, 0.1, {})
    assert moved["a"][0].isfinite().all()
    assert moved["a"][1].isnan().all()


def test_lion_without_memory_follows_the_newest_gradient():
    rule, params = Lion(beta1=0.0).rule(), {"a": torch.zeros(1, 2)}
    state = rule.init(params, {})
    for slope in ([1e6, 1e6], [1e-4, -1e-4]):
        objective = GradientObjective(
            "slopes", lambda p, slope=slope: (torch.zeros(1), {"a": torch.tensor([slope])})
        )
        params, state, _ = rule.update(state, params, objective, 1.0, {})
    assert params["a"].tolist() == [[-2.0, 0.0]]


def test_a_rule_changes_neither_gradients_nor_weights_in_place():
    params, rule = start([0, 1]), CONFIG.rule()
    kept = {name: p.clone() for name, p in params.items()}
    loss, grads = Bowls([0, 1]).loss_and_grad(params)
    before = {name: g.clone() for name, g in grads.items()}

    class Fixed(Bowls):
        def loss_and_grad(self, params):
            return loss, grads

    state = rule.init(params, {})
    for _ in range(3):
        _, new, _ = rule.update(state, params, Fixed([0, 1]), 0.1, {})
    assert new.step == 1
    assert state.step == 0
    assert not state.mean["a"].any()
    assert all(torch.equal(grads[name], before[name]) for name in grads)
    assert all(torch.equal(params[name], kept[name]) for name in params)


def test_adamw_commutes_with_signed_permutations():
    """T10: relabelling and flipping the weights' axes relabels and flips the path."""
    sign = torch.tensor([1, -1, 1, 1, -1, -1, 1], dtype=torch.float64)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])

    class Turned(Bowls):
        def loss_and_grad(self, params):
            w = torch.empty_like(params["w"])
            w[:, order] = params["w"] * sign
            loss, _ = super().loss_and_grad({"w": w})
            return loss, {"w": self.flat_grad(w)[:, order] * sign}

    w = torch.cat([p.flatten(1) for p in start([2]).values()], 1)
    params, rule = {"w": w[:, order] * sign}, CONFIG.rule()
    state = rule.init(params, {})
    for expected in run(CONFIG, [2], steps=20):
        params, state, _ = rule.update(state, params, Turned([2]), CONFIG.lr, {})
        torch.testing.assert_close(params["w"], expected[:, order] * sign, rtol=1e-13, atol=0)


def test_bytes_of_state_are_exact_and_deployed_is_trained():
    params, rule = start(range(5)), CONFIG.rule()
    state = rule.init(params, {})
    assert rule.state_bytes(params) == bytes_of(state) == 2 * 5 * 7 * 8
    assert rule.deployed(state, params) is params


def model_and_data():
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) / 3)
    return (
        model,
        torch.randn(32, 3, generator=g, dtype=torch.float64),
        torch.randn(32, 2, generator=g, dtype=torch.float64),
    )


def fit(model, x, y, optimizer, steps, *, closure=True):
    def evaluate():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        if closure:
            losses.append(float(optimizer.step(evaluate).detach()))
        else:
            losses.append(float(evaluate().detach()))
            optimizer.step()
    return losses


@pytest.mark.parametrize("closure", [True, False])
def test_the_torch_face_is_a_drop_in_for_torchs_adamw(closure):
    (model, x, y), (other, _, _) = model_and_data(), model_and_data()
    ours = CONFIG.build(model.parameters())
    theirs = torch.optim.AdamW(other.parameters(), lr=CONFIG.lr, weight_decay=CONFIG.weight_decay)
    assert isinstance(ours, torch.optim.Optimizer)
    np.testing.assert_allclose(
        fit(model, x, y, ours, 50, closure=closure), fit(other, x, y, theirs, 50, closure=closure), rtol=1e-11
    )
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-13)


def test_the_torch_face_takes_named_parameters_and_torchs_schedulers():
    (model, x, y), (other, _, _) = model_and_data(), model_and_data()
    ours = CONFIG.build(model.named_parameters())
    theirs = torch.optim.AdamW(other.parameters(), lr=CONFIG.lr, weight_decay=CONFIG.weight_decay)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 5, 0.1) for o in (ours, theirs)]
    for _ in range(20):
        fit(model, x, y, ours, 1)
        fit(other, x, y, theirs, 1)
        for schedule in schedules:
            schedule.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(1e-6)
    torch.testing.assert_close(model[0].weight, other[0].weight, rtol=1e-11, atol=1e-13)


def test_state_dict_round_trip_continues_bit_for_bit(tmp_path):
    model, x, y = model_and_data()
    optimizer = CONFIG.build(model.parameters())
    fit(model, x, y, optimizer, 7)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    expected = fit(model, x, y, optimizer, 9)
    saved = torch.load(tmp_path / "c.pt", weights_only=True)
    again, _, _ = model_and_data()
    fresh = CONFIG.build(again.parameters())
    again.load_state_dict(saved["model"])
    fresh.load_state_dict(saved["optimizer"])
    assert fit(again, x, y, fresh, 9) == expected
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), model.parameters(), strict=True))


def test_a_state_of_other_shapes_is_refused():
    model, x, y = model_and_data()
    optimizer = CONFIG.build(model.parameters())
    fit(model, x, y, optimizer, 1)
    state = plain(CONFIG.rule().init({"a": torch.zeros(1, 3)}, {}))
    with pytest.raises(ValueError, match=r"must have the names \['b'\], got \['a'\]"):
        restored(CONFIG.rule().init({"b": torch.zeros(1, 3)}, {}), state)
    with pytest.raises(ValueError, match=r"shape \(1, 3\) where this rule over these weights has \(1, 4\)"):
        restored(CONFIG.rule().init({"a": torch.zeros(1, 4)}, {}), state)


class Average(Rule):
    """Gradient descent that deploys the mean of its weights and takes two gradients a step."""

    gradients = 2

    def init(self, params, draws):
        return (0, params)

    def update(self, state, params, objective, lr, draws):
        count, mean = state
        loss, g = objective.loss_and_grad(params)
        ahead = {name: p - lr * g[name] for name, p in params.items()}
        _, g = objective.loss_and_grad(ahead)
        params = {name: p - lr * g[name] for name, p in params.items()}
        mean = {name: (count * mean[name] + p) / (count + 1) for name, p in params.items()}
        return params, (count + 1, mean), {"loss": loss}

    def deployed(self, state, params):
        return state[1]

    def state_bytes(self, params):
        return 0


def test_train_and_eval_swap_the_deployed_weights():
    from imitation.optim.torch_face import TorchFace

    model, x, y = model_and_data()
    face = TorchFace(model.parameters(), Average(), 0.1)
    fit(model, x, y, face, 1)
    fit(model, x, y, face, 4)
    trained = model[0].weight.detach().clone()
    face.eval()
    deployed = model[0].weight.detach().clone()
    face.eval()
    assert not torch.equal(trained, deployed)
    assert torch.equal(model[0].weight, deployed)
    with pytest.raises(ValueError, match=r"call train\(\) on the optimizer first"):
        face.step()
    with pytest.raises(ValueError, match=r"call train\(\) before state_dict"):
        face.state_dict()
    face.train()
    assert torch.equal(model[0].weight, trained)
    with pytest.raises(ValueError, match=r"several gradients a step; call step\(closure\)"):
        face.step()


def test_needs_beyond_gradients_are_refused_before_the_first_step():
    from imitation.optim.torch_face import TorchFace, model_objective

    class Curved(Average):
        needs = frozenset({"grad", "ggn"})

    with pytest.raises(ValueError, match="pass objective="):
        TorchFace([nn.Parameter(torch.zeros(2))], Curved(), 0.1)
    objective = model_objective({}, None)
    with pytest.raises(ValueError, match=r"Curved needs \['ggn'\]"):
        require_offers(Curved(), objective)
    with pytest.raises(ValueError, match="the loss of a closure does not offer 'hvp'"):
        objective.hvp({}, {})


def test_several_groups_are_refused():
    tensors = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    with pytest.raises(ValueError, match="one group, got 2"):
        CONFIG.build([{"params": tensors[:1]}, {"params": tensors[1:]}])


def test_foreign_adamw_is_adamw():
    config = Foreign(torch.optim.AdamW, (("lr", CONFIG.lr), ("weight_decay", CONFIG.weight_decay)))
    torch.testing.assert_close(run(config, [3]), run(CONFIG, [3]), rtol=1e-12, atol=1e-13)


def test_foreign_lbfgs_evaluates_its_closure_as_often_as_it_likes():
    config = Foreign(torch.optim.LBFGS, (("lr", 1.0), ("line_search_fn", "strong_wolfe")))
    gap = run(config, [3], steps=5)[-1] - Bowls([3]).c
    assert gap.abs().max() < 1e-5


def test_another_rate_takes_the_place_of_the_foreign_class_s():
    config = Foreign(torch.optim.SGD, (("lr", 0.02),))
    assert (config.lr, Foreign(torch.optim.SGD).lr, Foreign(torch.optim.LBFGS).lr) == (0.02, 1e-3, 1.0)
    torch.testing.assert_close(
        run(config, [1], lr=0.01), run(Foreign(torch.optim.SGD, (("lr", 0.01),)), [1]), rtol=1e-12, atol=0
    )


def test_foreign_runs_one_model_at_a_time():
    with pytest.raises(ValueError, match="SGD runs one model at a time"):
        ForeignRule(torch.optim.SGD, (("lr", 0.1),)).init(start([0, 1]), {})


def test_foreign_is_identified_by_module_name_version_and_arguments():
    record = Foreign(torch.optim.SGD, (("lr", 0.1), ("momentum", 0.9))).record()
    assert record["module"] == "torch.optim.sgd"
    assert record["name"] == "SGD"
    assert record["version"] == f"torch {torch.__version__}"
    assert record["arguments"] == {"lr": 0.1, "momentum": 0.9}


def test_foreign_reaches_worker_processes():
    config = Foreign(torch.optim.SGD, (("lr", 0.1),))
    assert pickle.loads(pickle.dumps(config)) == config


class OwnSgd(torch.optim.SGD):
    """A class of no distribution: known by its source."""


def test_foreign_without_a_distribution_is_identified_by_its_source():
    record = Foreign(OwnSgd, (("lr", 0.1),)).record()
    assert len(record["source"]) == 64
    assert "version" not in record


def test_foreign_refuses_what_has_no_lasting_name():
    with pytest.raises(ValueError, match="lambdas and functions have no lasting name"):
        Foreign(lambda p: torch.optim.SGD(p, lr=0.1))  # type: ignore[arg-type]

    class Local(torch.optim.SGD):
        pass

    with pytest.raises(ValueError, match="move the class out of the function"):
        Foreign(Local)
    with pytest.raises(ValueError, match=r"arguments\['lr'\] must be a number"):
        Foreign(torch.optim.SGD, (("lr", torch.tensor(0.1)),))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"lr": 0}, "lr must be positive, got 0"), ({"beta1": 1}, r"beta1 must lie in \[0, 1\), got 1")],
)
def test_a_config_refuses_what_makes_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdamW(**arguments)


def test_schedules():
    assert [constant(s, 4) for s in range(4)] == [1, 1, 1, 1]
    assert [factor("cosine", s, 4) for s in range(5)] == pytest.approx(
        [1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2, 0]
    )
    assert cosine(0, 1) == 1
    assert [factor("linear", s, 4) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    assert [factor("warmup", s, 100) for s in (0, 1, 4, 5, 99)] == pytest.approx([0.2, 0.4, 1, 1, 1])
    assert [factor("warmup_stable_decay", s, 100) for s in (0, 4, 79, 80, 90, 99)] == pytest.approx(
        [0.2, 1, 1, 1, 0.5, 0.05]
    )
    assert factor("warmup_stable_decay", 0, 1) == 1


def test_configs_import_without_torch():
    code = (
        "import sys; import imitation; from imitation import optim; "
        "import imitation.learners, imitation.policies; "
        "assert imitation.DISTRIBUTION == 'centralpath'; optim.AdamW(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
