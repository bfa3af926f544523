"""Every rule of the suite: its twin step by step, alone and in company, purity, bytes, the torch face."""

from itertools import islice

import numpy as np
import pytest
import torch
from optim_cases import BY_TENSOR, CASES, WHOLE
from optim_problems import STEPS, Bowls, Turned, flattened, generators, run, start, steps_of
from torch import nn

from imitation.optim import SUITE, ScheduleFree, Sgd
from imitation.optim.batches import Batch, BatchObjective
from imitation.optim.contract import GradientObjective
from imitation.optim.draws import drawn
from imitation.optim.state import bytes_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def agree(ours, theirs, what, members):
    """To rounding, which among many members a few blow up over a hundred steps."""
    rtol = 1e-9 if len(members) < 5 else 1e-6
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-3 * rtol, err_msg=what)


def held(state, field, k):
    """A field of a state for one member as one row, or None where the rule keeps it elsewhere."""
    value = getattr(state, field, None)
    return None if not value else np.concatenate([v[k].flatten().numpy() for v in value.values()])


MEMBERS = pytest.mark.parametrize(
    "members", [[4, 1, 3], pytest.param(list(range(5, 14)), marks=pytest.mark.full)], ids=["few", "many"]
)


@MEMBERS
@pytest.mark.parametrize("name", WHOLE)
def test_weights_and_state_are_those_of_the_twin_over_a_hundred_steps(name, members):
    config, twin = WHOLE[name]
    objective = Turned(members)
    begin = flattened(start(members)).numpy()

    def gradient(k):
        return lambda w: objective.flat_grad(torch.from_numpy(np.tile(w, (len(members), 1))))[k].numpy()

    paths = [twin(begin[k], gradient(k), member) for k, member in enumerate(members)]
    for step, (rule, params, state, _) in enumerate(islice(steps_of(config, members, problem=Turned), STEPS)):
        deployed = flattened(rule.deployed(state, params))
        for k, path in enumerate(paths):
            theta, kept = next(path)
            agree(flattened(params)[k].numpy(), theta, f"weights, step {step}", members)
            for field, value in kept.items():
                ours = deployed[k].numpy() if field == "deployed" else held(state, field, k)
                if ours is not None:
                    agree(ours, value, f"{field}, step {step}", members)


@MEMBERS
@pytest.mark.parametrize("name", BY_TENSOR)
def test_weights_and_state_of_each_tensor_are_those_of_its_twin(name, members):
    config, twin = BY_TENSOR[name]
    begin = start(members)
    objective = Bowls(members)

    def path(tensor, k):
        def gradient(w):
            at = {n: p.clone() for n, p in begin.items()}  # the tensors of a bowl do not meet
            at[tensor][k] = torch.from_numpy(w)
            return objective.loss_and_grad(at)[1][tensor][k].numpy()

        return twin(begin[tensor][k].numpy(), gradient)

    paths = {(tensor, k): path(tensor, k) for tensor in begin for k in range(len(members))}
    for step, (_, params, state, _) in enumerate(islice(steps_of(config, members), STEPS)):
        for (tensor, k), twin_path in paths.items():
            theta, kept = next(twin_path)
            agree(params[tensor][k].numpy(), theta, f"{tensor}, step {step}", members)
            for place, value in kept.items():
                field, _, axis = place.partition(".")
                ours = getattr(state, field, {}).get(f"{tensor}.{int(axis) + 1}" if axis else tensor)
                if ours is not None:
                    agree(ours[k].numpy(), value, f"{field} of {tensor}, step {step}", members)


def test_every_rule_of_the_suite_has_a_twin():
    assert {type(config) for config in CASES.values()} == set(SUITE)


@pytest.mark.parametrize("name", CASES)
def test_a_member_in_company_is_the_member_alone(name):
    alone = run(CASES[name], [3], problem=Turned)[:, 0]
    for order in ([3, 0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 4, 5, 6, 7, 3], [5, 1, 7, 3, 0, 2, 6, 4]):
        company = run(CASES[name], order, problem=Turned)[:, order.index(3)]
        torch.testing.assert_close(company, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, config in CASES.items() if config.rule().elementwise])
def test_one_flat_buffer_does_as_well_as_named_tensors(name):
    torch.testing.assert_close(
        run(CASES[name], [3, 5], flat=True, problem=Turned),
        run(CASES[name], [3, 5], problem=Turned),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("name", CASES)
def test_one_rate_for_each_member(name):
    rates = torch.tensor([1e-2, 3e-3], dtype=torch.float64)
    both = run(CASES[name], [2, 6], lr=rates, steps=20, problem=Turned)
    for k, member in enumerate((2, 6)):
        torch.testing.assert_close(
            both[:, k],
            run(CASES[name], [member], lr=float(rates[k]), steps=20, problem=Turned)[:, 0],
            rtol=1e-9,
            atol=1e-12,
        )


@pytest.mark.parametrize("name", CASES)
def test_a_weight_may_be_a_single_number(name):
    x = torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = BatchObjective(
        Batch(lambda p: x @ p["a"].mT + p["b"][:, None, None], lambda y: y.square().mean(dim=-1))
    )
    params = {"a": torch.ones(3, 2, 3, dtype=torch.float64), "b": torch.ones(3, dtype=torch.float64)}
    rule, random = CASES[name].rule(), generators([0, 1, 2])
    state = rule.init(params, drawn(rule.asks_first(params), random, torch.float64))
    for _ in range(3):
        params, state, _ = rule.update(
            state, params, objective, 1e-2, drawn(rule.asks(params), random, torch.float64)
        )
    b = rule.deployed(state, params)["b"]
    assert b.shape == (3,)
    assert b.isfinite().all()


@pytest.mark.parametrize("law", ["polynomial", "refined"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_schedule_free_s_first_average_is_the_newest_however_small_the_rate(law, dtype):
    rule = ScheduleFree(Sgd(), law=law, weight=10.0).rule()
    params = {"a": torch.ones(2, 3, dtype=dtype)}
    objective = GradientObjective(
        "steep", lambda params: (torch.zeros(2, dtype=dtype), {"a": torch.full((2, 3), 100.0, dtype=dtype)})
    )
    params, state, _ = rule.update(rule.init(params, {}), params, objective, 1e-3, {})
    torch.testing.assert_close(
        rule.deployed(state, params)["a"].double(), torch.full((2, 3), 0.9).double(), rtol=2e-3, atol=0.0
    )


def test_a_random_interpolation_leaves_enough_of_the_average_to_find_it_again():
    with pytest.raises(ValueError, match=r"interpolation must be at least 0\.1 where it is random, got 0"):
        ScheduleFree(Sgd(), interpolation=0.0, random=True)


@pytest.mark.parametrize("law", ["polynomial", "constant", "refined"])
def test_schedule_free_waits_while_the_rate_is_zero(law):
    first, second = islice(steps_of(ScheduleFree(Sgd(), law=law), [0, 1], lr=0.0), 2)
    torch.testing.assert_close(flattened(first[1]), flattened(start([0, 1])))
    torch.testing.assert_close(flattened(second[1]), flattened(start([0, 1])))


class Watched(Bowls):
    """Hands out copies of its gradients, counts them, and sees whether anybody wrote to one."""

    def __init__(self, members):
        super().__init__(members)
        self.given = []

    def loss_and_grad(self, params):
        loss, grads = super().loss_and_grad(params)
        self.given.append(({n: g.clone() for n, g in grads.items()}, grads))
        return loss, grads


@pytest.mark.parametrize("name", CASES)
def test_a_rule_is_pure_counts_its_gradients_and_takes_the_first_at_the_weights(name):
    objective, params, rule = Watched([0, 1]), start([0, 1]), CASES[name].rule()
    first = objective.flat_grad(flattened(params))
    state = rule.init(params, drawn(rule.asks_first(params), generators([0, 1]), torch.float64))
    draws = drawn(rule.asks(params), generators([0, 1]), torch.float64)
    kept = {n: p.clone() for n, p in params.items()}
    one, after, _ = rule.update(state, params, objective, 1e-2, draws)
    assert len(objective.given) == rule.gradients
    torch.testing.assert_close(flattened(objective.given[0][1]), first)
    again, _, _ = rule.update(state, params, objective, 1e-2, draws)
    rule.update(after, one, objective, 1e-2, draws)
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert all(torch.equal(params[n], kept[n]) for n in kept)
    assert all(torch.equal(before[n], g[n]) for before, g in objective.given for n in g)


@pytest.mark.parametrize("name", CASES)
def test_bytes_of_state_are_exact(name):
    rule, params, state, _ = next(islice(steps_of(CASES[name], range(5)), 2, None))
    assert rule.state_bytes(params) == bytes_of(state)
    assert rule.state_bytes({n: p.float() for n, p in params.items()}) * 2 == bytes_of(state)


X = torch.randn(32, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.stack([X[:, 0] * X[:, 1], X.sum(dim=1).sin()], dim=1)


def objective_of(model):
    """The loss of ``fit`` with all that a rule may ask for."""
    outputs = torch.func.vmap(lambda params: torch.func.functional_call(model, params, (X,)))
    return BatchObjective(Batch(outputs, lambda u: ((u - Y) ** 2).mean(dim=-1)))


def fit(model, optimizer, steps):

    def closure():
        optimizer.zero_grad()
        loss = ((model(X) - Y) ** 2).mean()
        loss.backward()
        return loss

    return [float(optimizer.step(closure)) for _ in range(steps)]


def network():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2)
    return model


@pytest.mark.parametrize("name", CASES)
def test_the_torch_face_lowers_a_loss_and_a_saved_run_continues_bit_for_bit(name, tmp_path):
    model = network()
    asks_more = CASES[name].rule().needs - {"grad"}
    objective = objective_of(network()) if asks_more else None
    optimizer = CASES[name].build(model.named_parameters(), objective, seed=3)
    losses = fit(model, optimizer, 60)
    assert losses[-1] < losses[0]
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    expected = fit(model, optimizer, 9)
    saved, again = torch.load(tmp_path / "c.pt", weights_only=True), network()
    fresh = CASES[name].build(again.named_parameters(), objective, seed=4)
    again.load_state_dict(saved["model"])
    fresh.load_state_dict(saved["optimizer"])
    assert fit(again, fresh, 9) == expected
    optimizer.eval()
    fresh.eval()
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), model.parameters(), strict=True))
