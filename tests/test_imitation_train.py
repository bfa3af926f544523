"""Cloning: samples, losses, policies, populations, seeds, options."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from generators import GAIN, gain_loops
from torch import nn

from imitation import population
from imitation.learners import BehaviourCloning
from imitation.losses import huber, l1, l2
from imitation.optim import AdamW, Clipped, Ema, Foreign, Muon, ScheduleFree, Sgd
from imitation.policies import Mlp
from imitation.samples import foreseen, minibatches, samples, split
from imitation.train import Member, train
from mpc.expert import Control
from mpc.rollouts import Rollouts

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = BehaviourCloning(policy=Mlp(16, 3), steps=60, batch=32, dtype="float64")


def demonstrations(problem, episodes, seed=0):
    x0 = np.random.default_rng(seed).uniform(-3, 3, (episodes, 2))
    return gain_loops(problem, x0, 20)


def members(problem, sizes=(4, 7, 2, 4, 9, 3, 4, 5)):
    return [Member(demonstrations(problem, size, seed), rep=seed) for seed, size in enumerate(sizes)]


def weights(trained, k):
    return torch.cat([value[k].flatten() for value in trained.params.values()])


# Samples


def test_samples_are_the_applied_inputs_of_the_steps_taken():
    x, u = np.arange(2 * 4 * 1.0).reshape(2, 4, 1), -np.arange(2 * 3 * 1.0).reshape(2, 3, 1)
    got = samples(Rollouts(x, u, np.array([3, 1])))
    assert got.x.ravel().tolist() == [0, 1, 2, 4]
    assert got.u.ravel().tolist() == [0, -1, -2, -3]


def test_usable_labels_stand_in_for_the_applied_inputs():
    x, u = np.arange(4.0).reshape(1, 4, 1), np.full((1, 3, 1), 99.0)
    labels = Control(u=np.array([[[5.0], [np.nan], [7.0]]]), status=np.array([[2, -1, 1]], np.int8))
    got = samples(Rollouts(x, u, np.array([3]), labels=labels))
    assert got.x.ravel().tolist() == [0, 2]
    assert got.u.ravel().tolist() == [5, 7]


def test_a_belief_is_told_pieces_of_the_future_and_the_end():
    x, u = np.arange(12.0).reshape(2, 6, 1), -np.arange(10.0).reshape(2, 5, 1)
    got = foreseen(Rollouts(x, u, np.array([5, 2])), history=2)
    rows = sorted(map(tuple, np.hstack([got.x, got.u])))
    known = []
    for e, length in ((0, 5), (1, 2)):
        for t in range(length):
            for ahead in [k for k in (1, 2, 4) if t + k <= length] + [length - t]:
                past, then = [max(t - 1, 0), t], [t + ahead, min(t + ahead + 1, length)]
                known.append((*x[e, past, 0], *x[e, then, 0], u[e, t, 0], u[e, t + ahead - 1, 0]))
    assert rows == sorted(known)


@pytest.mark.parametrize(
    ("episodes", "share", "held"),
    [(1, 0.1, 0), (2, 0.1, 1), (2, 0.9, 1), (10, 0.1, 1), (20, 0.25, 5), (5, 0, 0)],
)
def test_the_last_episodes_are_held_out(problem, episodes, share, held):
    rollouts = demonstrations(problem, episodes)
    training, validation = split(rollouts, share)
    assert (len(training), len(validation)) == (20 * (episodes - held), 20 * held)
    np.testing.assert_array_equal(training.x[:20], rollouts.x[0, :-1])
    if held:
        np.testing.assert_array_equal(validation.u[-20:], rollouts.u[-1])


def test_nothing_usable_is_refused(problem):
    rollouts = demonstrations(problem, 2)
    labels = Control(u=np.full((2, 20, 1), np.nan), status=np.full((2, 20), -1, np.int8))
    with pytest.raises(ValueError, match="no usable label in the 1 of 2 episodes"):
        train(problem, SMALL, [Member(replace(rollouts, labels=labels), 0)])


def test_minibatches_depend_on_the_rep_alone():
    both = next(minibatches([10, 30], [0, 1], 4, epochs=False))
    alone = next(minibatches([30], [1], 4, epochs=False))
    np.testing.assert_array_equal(both[:, 1], alone[:, 0])
    assert both.shape == (256, 2, 4)
    assert (both[:, 0] < 10).all()
    assert both[:, 1].max() >= 27
    assert (next(minibatches([30], [2], 4, epochs=False)) != alone).any()


def test_epochs_see_every_sample_once_a_pass():
    blocks = minibatches([30], [0], 5, epochs=True)
    stream = np.concatenate([next(blocks).ravel(), next(blocks).ravel()])
    passes = stream[: 30 * (len(stream) // 30)].reshape(-1, 30)
    assert (np.sort(passes, axis=1) == np.arange(30)).all()
    assert (passes[0] != passes[1]).any()


# Losses


def test_losses_of_known_errors():
    error = torch.tensor([[3.0, -4.0], [0.5, 0.0]])
    assert l2(error).tolist() == [12.5, 0.125]
    assert l1(error).tolist() == [5, 0.5]
    assert huber(error).tolist() == [(2.5 + 3.5) / 2, 0.0625]


def test_the_gradient_of_l1_at_zero_error_is_zero():
    error = torch.zeros(3, 2, requires_grad=True)
    l1(error).sum().backward()
    assert error.grad.abs().max() == 0


# Policies


@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
def test_the_population_form_is_the_module_mapped_over_the_members(activation):
    modules = [Mlp(8, 4, activation).build(3, 2) for _ in range(5)]
    for k, module in enumerate(modules):
        g = torch.Generator().manual_seed(k)
        module.draw(g)
        module.fit_inputs(torch.randn(50, 3, generator=g, dtype=torch.float64) * (k + 1))
    params, buffers = population.stacked(modules)
    x = torch.randn(5, 11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    own = population.forward(modules[0])(params | buffers, x)
    torch.testing.assert_close(own, population.mapped(modules[0])(params | buffers, x))
    torch.testing.assert_close(own, torch.stack([m(rows) for m, rows in zip(modules, x, strict=True)]))


def test_depth_counts_linear_layers():
    module = Mlp(64, 4).build(2, 1)
    assert [tuple(layer.weight.shape) for layer in module.body.layers] == [
        (64, 2),
        (64, 64),
        (64, 64),
        (1, 64),
    ]
    assert sum(p.numel() for p in module.parameters()) == 64 * 3 + 2 * 64 * 65 + 65


def test_drawing_touches_no_global_random_state():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    module = Mlp().build(2, 1)
    module.draw(torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(1), expected)
    assert module.body.layers[1].weight.abs().max() <= 1 / 8


def test_normalisation_is_fitted_on_the_training_episodes_alone(problem):
    rollouts = demonstrations(problem, 10)
    trained = train(problem, SMALL, [Member(rollouts, 0)])
    x = rollouts.x[:9, :-1].reshape(-1, 2)
    np.testing.assert_allclose(trained.buffers["shift"][0], x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(trained.buffers["scale"][0], x.std(0), rtol=1e-12)
    off = train(problem, replace(SMALL, policy=Mlp(16, 3, normalise=False)), [Member(rollouts, 0)])
    assert off.buffers["shift"].tolist() == [[0, 0]]
    assert off.buffers["scale"].tolist() == [[1, 1]]


def test_a_constant_input_is_not_scaled():
    module = Mlp().build(2, 1)
    module.fit_inputs(torch.tensor([[1.0, 5.1], [3.0, 5.1]], dtype=torch.float64))
    assert module.scale.tolist() == [1, 1]
    assert module.shift.tolist() == [2, 5.1]


def test_clipping_is_of_the_deployed_action_alone(problem):
    free, clipped = (
        train(problem, replace(SMALL, policy=Mlp(16, 3, clip=clip)), members(problem)[:2])
        for clip in (False, True)
    )
    x = np.random.default_rng(1).uniform(-9, 9, (50, 2))
    assert np.abs(free.act(x)).max() > 1.5
    np.testing.assert_array_equal(clipped.act(x), np.clip(free.act(x), -1, 1))
    assert torch.equal(weights(free, 0), weights(clipped, 0))


# Training


def test_a_linear_law_is_cloned(problem):
    learner = BehaviourCloning(optimizer=AdamW(lr=1e-3), steps=1000, batch=64, schedule="cosine")
    trained = train(problem, learner, [Member(demonstrations(problem, 20), 0)])
    x = demonstrations(problem, 20, seed=5).x.reshape(-1, 2)
    assert trained.history.loss[0, -1] < 2e-5
    assert trained.history.validation[0, -1] < 1e-5
    assert np.sqrt(np.mean((trained.act(x)[0] - x @ GAIN.T) ** 2)) < 0.01 * np.abs(x @ GAIN.T).max()
    assert trained.params["body.layers.0.weight"].dtype == torch.float32


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
def test_every_loss_falls(problem, loss):
    history = train(problem, replace(SMALL, loss=loss, optimizer=AdamW(3e-3)), members(problem)[:2]).history
    assert (history.loss[:, -1] < 0.5 * history.loss[:, 0]).all()
    assert (history.validation[:, -1] < history.validation[:, 0]).all()


@pytest.mark.parametrize("learner", [SMALL, replace(SMALL, epochs=5, batch=16), replace(SMALL, loss="l1")])
def test_a_member_in_company_is_the_member_alone(problem, learner):
    everyone = members(problem)
    order = [5, 1, 7, 3, 0, 2, 6, 4]
    straight = train(problem, learner, everyone)
    permuted = train(problem, learner, [everyone[k] for k in order])
    for k in (0, 4, 7):
        alone = train(problem, learner, [everyone[k]])
        for company, place in ((straight, k), (permuted, order.index(k))):
            torch.testing.assert_close(weights(company, place), weights(alone, 0), rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(company.history.loss[place], alone.history.loss[0], rtol=1e-9)
            np.testing.assert_allclose(
                company.history.validation[place], alone.history.validation[0], rtol=1e-9
            )
            np.testing.assert_array_equal(company.history.steps[place], alone.history.steps[0])


def test_a_member_of_64_is_the_member_alone(problem):
    """To rounding in float64, in its loss curve in float32."""
    everyone = [Member(demonstrations(problem, 3 + rep % 4, rep), rep) for rep in range(64)]
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-3)):
        learner = replace(SMALL, dtype=dtype, optimizer=Clipped(AdamW(lr=3e-3)), schedule="cosine")
        company = train(problem, learner, everyone)
        for k in (0, 31, 63):
            alone = train(problem, learner, [everyone[k]])
            np.testing.assert_allclose(company.history.loss[k], alone.history.loss[0], rtol=tolerance)
            if dtype == "float64":
                torch.testing.assert_close(weights(company, k), weights(alone, 0), rtol=1e-7, atol=1e-10)


def test_changing_a_member_moves_no_other(problem):
    everyone = members(problem)
    changed = [*everyone[:3], Member(demonstrations(problem, 4, 77), 77), *everyone[4:]]
    before, after = train(problem, SMALL, everyone), train(problem, SMALL, changed)
    for k in range(len(everyone)):
        assert torch.equal(weights(before, k), weights(after, k)) == (k != 3)


def test_a_member_that_diverges_harms_no_other(problem):
    good, other = members(problem)[:2]
    bad = Member(replace(other.rollouts, u=1e300 * other.rollouts.u), other.rep)
    company, alone = train(problem, SMALL, [bad, good]), train(problem, SMALL, [good])
    assert not np.isfinite(company.history.loss[0]).all()
    torch.testing.assert_close(weights(company, 1), weights(alone, 0), rtol=1e-9, atol=1e-11)


def test_the_same_call_gives_the_same_bits_and_another_rep_others(problem):
    rollouts = demonstrations(problem, 4)
    a, b = (train(problem, SMALL, [Member(rollouts, 0), Member(rollouts, 1)]) for _ in range(2))
    assert torch.equal(weights(a, 0), weights(b, 0))
    assert torch.equal(weights(a, 1), weights(b, 1))
    assert (weights(a, 0) - weights(a, 1)).abs().max() > 0.01


def test_initial_weights_belong_to_the_architecture_and_the_rep(problem):
    still = replace(SMALL, steps=1, optimizer=AdamW(lr=1e-300))
    relu = replace(still, policy=Mlp(16, 3, activation="relu", normalise=False), optimizer=AdamW(lr=1e-299))
    member = members(problem)[0]
    a, b = train(problem, still, [member]), train(problem, relu, [member])
    assert torch.equal(weights(a, 0), weights(b, 0))
    single = train(problem, replace(still, dtype="float32"), [member])
    assert torch.equal(weights(single, 0), weights(a, 0).float())


def test_epochs_set_the_number_of_steps_of_each_member(problem):
    trained = train(problem, replace(SMALL, epochs=3, batch=16), members(problem, (3, 9)))
    assert trained.history.steps[:, -1].tolist() == [8, 30]
    assert trained.history.steps.shape == trained.history.loss.shape == (2, 20)


def test_the_observer_sees_what_would_be_deployed_at_each_point(problem):
    x = np.linspace(-1, 1, 6).reshape(3, 2)
    seen = []

    def observe(trained):
        seen.append(trained.history.steps.shape)
        return trained.act(x)

    learner = replace(SMALL, epochs=3, batch=16)  # two programs: 8 and 30 steps
    watched, plain = (train(problem, learner, members(problem, (3, 9)), observe=o) for o in (observe, None))
    assert watched.history.observed.shape == (2, 20, 3, 1)
    np.testing.assert_array_equal(watched.history.observed[:, -1], watched.act(x))
    assert (watched.history.observed[1, 0] != watched.history.observed[1, 1]).all()
    np.testing.assert_array_equal(watched.act(x), plain.act(x))
    assert plain.history.observed is None
    assert seen[-20:] == [(1, points) for points in range(1, 21)]
    assert len(seen) == 8 + 20


def test_without_held_out_episodes_validation_is_nan(problem):
    assert np.isnan(train(problem, SMALL, members(problem, (1,))).history.validation).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        Foreign(torch.optim.SGD, (("lr", 0.1), ("momentum", 0.9))),
        Foreign(torch.optim.LBFGS, (("max_iter", 3), ("line_search_fn", "strong_wolfe"))),
    ],
)
def test_foreign_optimizers_train(problem, optimizer):
    trained = train(problem, replace(SMALL, optimizer=optimizer), members(problem, (4, 6)))
    assert (trained.history.validation[:, -1] < 0.05).all()
    alone = train(problem, replace(SMALL, optimizer=optimizer), members(problem, (4, 6))[1:])
    assert torch.equal(weights(trained, 1), weights(alone, 0))


def test_foreign_adamw_trains_to_the_same_weights(problem):
    foreign = replace(SMALL, optimizer=Foreign(torch.optim.AdamW, (("lr", 3e-4), ("weight_decay", 1e-3))))
    learners = (replace(one, schedule="cosine") for one in (SMALL, foreign))
    a, b = (train(problem, learner, members(problem)[:1]) for learner in learners)
    torch.testing.assert_close(weights(a, 0), weights(b, 0), rtol=1e-9, atol=1e-11)


def test_a_plain_loop_over_one_module_gives_the_same_weights(problem):
    member = members(problem)[0]
    trained = train(problem, SMALL, [member])
    still = replace(SMALL, steps=1, optimizer=AdamW(lr=1e-300))
    module = train(problem, still, [member]).policy(0).train()
    data, _ = split(member.rollouts, SMALL.validation)
    x, u = torch.from_numpy(data.x), torch.from_numpy(data.u)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-4, weight_decay=1e-3)
    for rows in next(minibatches([len(data)], [member.rep], SMALL.batch, False))[: SMALL.steps, 0]:
        optimizer.zero_grad()
        nn.functional.mse_loss(module(x[rows]), u[rows]).backward()
        optimizer.step()
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    torch.testing.assert_close(weights(trained, 0), flat, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("optimizer", [AdamW(), Muon(), ScheduleFree(), Ema(Sgd(momentum=0.9))])
def test_a_member_with_its_own_rate_is_that_member_alone(problem, optimizer):
    learner = replace(SMALL, optimizer=optimizer, schedule="cosine")
    everyone = [replace(one, lr=lr) for one, lr in zip(members(problem)[:3], (1e-3, 3e-2, 3e-3), strict=True)]
    company = train(problem, learner, everyone)
    for k, member in enumerate(everyone):
        alone = train(problem, learner, [member])
        torch.testing.assert_close(weights(company, k), weights(alone, 0), rtol=1e-7, atol=1e-9)
    plain = train(problem, learner, [replace(everyone[1], lr=None)])
    assert (weights(company, 1) - weights(plain, 0)).abs().max() > 1e-3


def test_members_with_their_own_optimizers_train_as_if_alone(problem):
    first, second, third = members(problem)[:3]
    mixed = [replace(first, optimizer=Sgd(lr=0.05)), second, replace(third, optimizer=Sgd(lr=0.05))]
    company = train(problem, SMALL, mixed)
    for k, member in enumerate(mixed):
        alone = train(problem, SMALL, [member])
        torch.testing.assert_close(weights(company, k), weights(alone, 0), rtol=1e-9, atol=1e-11)
    sgd = train(problem, replace(SMALL, optimizer=Sgd(lr=0.05)), [first, third])
    torch.testing.assert_close(weights(company, 2), weights(sgd, 1), rtol=1e-9, atol=1e-11)


def test_the_best_weights_so_far_are_deployed_member_by_member(problem):
    """A rate that is too large: the loss goes up and down."""
    wild = replace(SMALL, optimizer=AdamW(lr=0.3), steps=100)
    last, best = (train(problem, replace(wild, keep=keep), members(problem)[:4]) for keep in ("last", "best"))
    expected = np.minimum.accumulate(last.history.validation, axis=1)
    np.testing.assert_array_equal(best.history.validation, expected)
    assert (np.diff(last.history.validation, axis=1) > 0).any(axis=1).all()
    np.testing.assert_array_equal(best.history.loss, last.history.loss)
    k = int(np.argmax(last.history.validation[:, -1] - expected[:, -1]))
    held = split(members(problem)[k].rollouts, wild.validation)[1]
    with torch.no_grad():
        error = best.policy(k)(torch.from_numpy(held.x)) - torch.from_numpy(held.u)
    assert l2(error).mean().item() == pytest.approx(expected[k, -1], rel=1e-12)
    with pytest.raises(ValueError, match="keep = 'best' judges by held-out episodes, none of 1"):
        train(problem, replace(wild, keep="best"), members(problem, (1,)))


def test_progress_reaches_the_total(problem):
    seen = []
    train(
        problem,
        replace(SMALL, epochs=3),
        members(problem, (3, 9)),
        lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (19, 19)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_wrong_input_is_refused(problem):
    with pytest.raises(ValueError, match="at least one Member"):
        train(problem, SMALL, [])
    other = Rollouts(np.zeros((2, 3, 5)), np.zeros((2, 2, 1)), np.array([2, 2]))
    with pytest.raises(ValueError, match="rollouts have 5 states and 1 inputs"):
        train(problem, SMALL, [Member(other, 0)])
    for arguments, message in [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"validation": 1.0}, "validation must be a share"),
        ({"loss": "mse"}, "loss must be one of l2, l1, huber, curvature, got 'mse'"),
    ]:
        with pytest.raises(ValueError, match=message):
            BehaviourCloning(**arguments)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        Mlp(depth=0)
