"""Every policy: shapes, populations, bounds, windows and plans, checkpoints; each body by its formula."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from generators import gain_loops
from torch.nn import functional as F

from imitation import population
from imitation.checkpoint import load_policy, save_policy
from imitation.demonstrate import demonstrate
from imitation.evaluate import evaluate, unfold
from imitation.learners import BehaviourCloning
from imitation.optim import Adam, AdamW, Muon
from imitation.policies import (
    BeliefState,
    GatedMlp,
    Mlp,
    PolicyConfig,
    ResidualMlp,
    StateSpace,
    Transformer,
)
from imitation.policies.belief import nearness
from imitation.policies.bends import BENDS, gelu_, tanh_
from imitation.policies.layers import ACTIVATIONS
from imitation.train import Member, train
from imitation.trained import policy_controller
from mpc import OnlineExpert, catalogue
from mpc.closed_loop import simulate
from mpc.polytope import Polytope

pytestmark = pytest.mark.usefixtures("one_torch_thread")

POLICIES = [
    *(cls() for cls in get_args(PolicyConfig)),
    Mlp(width=8, norm="layer"),
    Mlp(width=8, history=3, chunk=2),
    GatedMlp(width=8, depth=2, gate="sigmoid", clip=True),
    GatedMlp(width=8, depth=1),
    ResidualMlp(width=8, blocks=1, history=2, clip=True),
    Transformer(width=8, blocks=1, heads=4, attention="linear", history=3, clip=True),
    StateSpace(width=8, blocks=1, states=4, history=4, chunk=2),
    BeliefState(width=8, bins=5, history=2, chunk=2, clip=True),
]
BOUNDS = np.array([-2e-3, -1e-3]), np.array([3e-3, 4e-3])
BOX = Polytope.box(*BOUNDS)


def drawn(config, seed=0, n=3, m=2, U=BOX):
    module = config.build(n, m, U)
    g = torch.Generator().manual_seed(seed)
    module.draw(g)
    module.fit_inputs(torch.randn(40, config.history * n, generator=g, dtype=torch.float64) * (seed + 1))
    return module


def states(config, *lead, n=3):
    g = torch.Generator().manual_seed(9)
    return torch.randn(*lead, config.history * n, dtype=torch.float64, generator=g)


@pytest.mark.parametrize("config", POLICIES, ids=repr)
def test_shapes_draws_and_bounds(config):
    module, x = drawn(config), states(config, 11)
    raw = module.train()(x)
    assert raw.shape == (11, 2 * config.chunk)
    assert torch.equal(raw, drawn(config).train()(x))
    assert not torch.equal(raw, drawn(config, seed=1).train()(x))
    low, high = (torch.tensor(np.tile(bound, config.chunk)) for bound in BOUNDS)
    assert ((raw < low) | (raw > high)).any() != isinstance(config, BeliefState)
    expected = torch.clamp(raw, low, high) if config.clip else raw
    assert torch.equal(module.eval()(x), expected)


@pytest.mark.parametrize("chunk", [1, 3])
def test_an_action_is_projected_onto_a_polytope_that_is_no_box(chunk):
    config = Mlp(width=8, chunk=chunk, clip=True)
    x = states(config, 40)
    raw = drawn(config).train()(x).detach().numpy().reshape(-1, 2)
    ends = *np.quantile(raw, 0.7, axis=0), -np.quantile(raw.sum(axis=1), 0.2)
    triangle = Polytope([[1, 0], [0, 1], [-1, -1]], ends)
    got = drawn(config, U=triangle).eval()(x).numpy().reshape(-1, 2)
    assert triangle.contains(got, 1e-12).all()
    inside = triangle.contains(raw)
    np.testing.assert_array_equal(got[inside], raw[inside])
    assert 0 < inside.sum() < len(raw)
    for point, near in zip(raw[~inside], got[~inside], strict=True):  # no corner of U lies beyond it
        corners = triangle.vertices()
        assert ((corners - near) @ (point - near) <= 1e-12).all()


@pytest.mark.parametrize("config", POLICIES, ids=repr)
def test_the_population_form_is_the_module_mapped_over_the_members(config):
    modules = [drawn(config, seed) for seed in range(4)]
    params, buffers = population.stacked(modules)
    x = states(config, 4, 7)
    own = population.forward(modules[0])(params | buffers, x)
    torch.testing.assert_close(own, population.mapped(modules[0])(params | buffers, x))
    torch.testing.assert_close(
        own, torch.stack([m.train()(rows) for m, rows in zip(modules, x, strict=True)])
    )


@pytest.mark.parametrize("config", POLICIES, ids=repr)
def test_every_policy_trains_alone_as_in_company_and_survives_its_checkpoint(config, problem, tmp_path):
    learner = BehaviourCloning(policy=config, optimizer=Adam(lr=3e-3), steps=60, batch=32, dtype="float64")
    x0 = np.random.default_rng(0).uniform(-2, 2, (6, 2))
    members = [Member(gain_loops(problem, x0[: 3 + rep], 20), rep) for rep in range(3)]
    trained, alone = train(problem, learner, members), train(problem, learner, members[1:2])
    assert (trained.history.loss[:, -1] < trained.history.loss[:, 0]).all()
    for name, value in alone.params.items():
        torch.testing.assert_close(trained.params[name][1], value[0], rtol=1e-7, atol=1e-9)
    save_policy(tmp_path / "p.pt", trained, 1)
    module, config_read = load_policy(tmp_path / "p.pt")
    assert config_read == config
    own = simulate(problem, policy_controller(module), x0, 9)
    together = unfold(evaluate(problem, trained, x0, 9), 3)[1]
    np.testing.assert_allclose(own.x, together.x, atol=1e-11)
    np.testing.assert_allclose(own.u, together.u, atol=1e-11)


@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["AdamW", "Muon"])
@pytest.mark.parametrize(
    "config",
    [
        GatedMlp(width=6),
        ResidualMlp(width=6),
        Mlp(width=6, norm="layer"),
        Transformer(width=6, history=3),
        StateSpace(width=6, history=3),
        BeliefState(width=6, bins=4, history=2),
    ],
)
def test_every_optimizer_takes_every_policy(config, optimizer, problem):
    learner = BehaviourCloning(policy=config, optimizer=optimizer, steps=20, batch=16)
    rollouts = gain_loops(problem, np.random.default_rng(0).uniform(-2, 2, (4, 2)), 10)
    assert np.isfinite(train(problem, learner, [Member(rollouts, 0), Member(rollouts, 1)]).history.loss).all()


def scaled(module, x):
    return (x - module.shift) / module.scale


def test_tanh_is_exact_to_the_last_place_of_float32():
    x = np.concatenate([np.linspace(-12, 12, 200_001), np.logspace(-44, 38, 100_001)]).astype(np.float32)
    right = np.tanh(x.astype(np.float64))
    got = torch.from_numpy(x.copy())
    assert tanh_(got) is got
    error = np.abs(got.numpy() - right)
    assert (error <= 0.53 * np.spacing(np.abs(right).astype(np.float32))).all()
    ends = tanh_(torch.tensor([torch.nan, torch.inf, -torch.inf]))
    assert ends[0].isnan()
    assert ends[1:].tolist() == [1.0, -1.0]
    for other in (torch.linspace(-3, 3, 7, dtype=torch.float64), torch.linspace(-3, 3, 14)[::2]):
        known = other.tanh()
        assert torch.equal(tanh_(other), known)


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.full)])
def test_gelu_and_its_slope_are_as_close_as_torchs(full):
    ends = np.arange(*np.array([4.5, 5.7], np.float32).view(np.int32)).astype(np.int32).view(np.float32)
    ends = ends[:: 1 if full else 11].astype(np.float64)
    grid = np.linspace(-12, 12, 200_001)
    x = torch.from_numpy(np.concatenate([ends, -ends, grid, [1e6, -1e6, 3e38, -3e38]]))
    right = x.clone().requires_grad_()
    F.gelu(right).sum().backward()
    value, slopes = gelu_(x.float())
    size = x.abs().clamp(min=1.0)
    assert ((value - F.gelu(x)).abs() / size).max() < 3.6e-7
    assert (slopes - right.grad).abs().max() < 4e-7
    assert value[-4:].tolist() == [1e6, 0.0, x[-2].float(), 0.0]
    assert (value[x == 0] == 0).all()
    assert (slopes[x < -5.6] == 0).all()  # a unit that is off stays off: Adam makes a step of any slope
    for nothing in gelu_(torch.tensor([torch.nan])):
        assert nothing.isnan().all()


@pytest.mark.parametrize("name", BENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_written_out_are_those_of_autograd(name, dtype):
    a = torch.linspace(-4, 4, 60, dtype=dtype).view(3, 4, 5)
    d = torch.randn(a.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    leaf = a.clone().requires_grad_()
    ACTIVATIONS[name](leaf).backward(d)
    for argument in (a.clone(), a.repeat(1, 1, 2)[..., :5]):  # contiguous and not
        h, slope = BENDS[name](argument)
        torch.testing.assert_close(h, ACTIVATIONS[name](a), rtol=1e-6, atol=2e-6)
        torch.testing.assert_close(slope(d.clone()), leaf.grad, rtol=1e-6, atol=1e-6)


def test_our_own_non_linearities_are_used_on_one_or_two_threads(monkeypatch):
    a = torch.linspace(-3, 3, 8)
    for own, place in ((True, "slopes"), (False, "arguments")):
        argument = a.clone()
        BENDS["gelu"](argument)
        assert torch.equal(argument, a) != own, place
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def test_a_norm_is_torchs_layer_norm_before_the_non_linearity():
    module = drawn(Mlp(width=8, depth=3, norm="layer", activation="tanh"))
    x = states(module.config, 5)
    h, layers, norms = scaled(module, x), module.body.layers, module.body.norms
    for layer, norm in zip(layers, norms, strict=False):
        h = torch.tanh(norm(layer(h)))
    torch.testing.assert_close(module.train()(x), layers[2](h))


def test_a_gated_layer_is_its_gate_times_its_value():
    module = drawn(GatedMlp(width=5, depth=2, gate="silu"))
    x = states(module.config, 5)
    h, (first, last) = scaled(module, x), module.body.layers
    gate, value = F.linear(h, first.weight[:5], first.bias[:5]), F.linear(h, first.weight[5:], first.bias[5:])
    torch.testing.assert_close(module.train()(x), last(module.body.norms[0](F.silu(gate) * value)))


def test_a_residual_block_adds_to_what_passes_through():
    module = drawn(ResidualMlp(width=5, blocks=2))
    body, x = module.body, states(module.config, 5)
    h = body.first(scaled(module, x))
    for up, down, norm in zip(body.up, body.down, body.norms, strict=False):
        h = h + down(F.gelu(up(norm(h))))
    torch.testing.assert_close(module.train()(x), body.last(body.norms[2](h)))


@pytest.mark.parametrize("config", [Transformer(history=5), Transformer(attention="linear"), StateSpace()])
def test_a_position_sees_no_later_one(config):
    module = drawn(config)
    tensors = dict(module.named_parameters())
    x = states(config, 4)
    changed = x.clone()
    changed[:, -3:] += 1  # the last state
    one, two = (module.body.sequence(tensors, rows) for rows in (x, changed))
    assert one.shape == (4, config.history, 2)
    torch.testing.assert_close(one[:, :-1], two[:, :-1])
    assert (one[:, -1] - two[:, -1]).abs().max() > 1e-4
    torch.testing.assert_close(module.train()(x), module.body.sequence(tensors, scaled(module, x))[:, -1])


def test_softmax_attention_is_torchs():
    module = drawn(Transformer(width=8, heads=2, history=5))
    qkv = torch.randn(3, 5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    heads = [part.reshape(3, 5, 2, 4).transpose(1, 2) for part in qkv.split(8, dim=-1)]
    known = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).reshape(3, 5, 8)
    torch.testing.assert_close(module.body.blocks._attention(qkv), known)


def test_linear_attention_is_a_running_mean_of_outer_products():
    module = drawn(Transformer(width=4, heads=1, history=5, attention="linear"))
    qkv = torch.randn(3, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, k, v = qkv.split(4, dim=-1)
    got = module.body.blocks._attention(qkv)
    for t in range(5):
        mean = torch.einsum("bsk,bsv->bkv", k[:, : t + 1], v[:, : t + 1]) / (t + 1)
        torch.testing.assert_close(got[:, t], (q[:, t, None] @ mean)[:, 0])


def test_the_states_of_a_state_space_are_those_of_its_recursion():
    module = drawn(StateSpace(states=3, history=6, blocks=1))
    nu, theta = module.body.nu[0], module.body.theta[0]
    entering = torch.randn(2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    decay = torch.exp(torch.complex(-nu.exp(), theta))
    assert (decay.abs() < 0.991).all()
    u = torch.complex(entering[..., :3], entering[..., 3:]) * torch.sqrt(1 - decay.abs() ** 2)
    z, known = torch.zeros(2, 3, dtype=u.dtype), []
    for t in range(6):
        z = decay * z + u[:, t]
        known.append(torch.cat([z.real, z.imag], dim=-1))
    torch.testing.assert_close(module.body._states(nu, theta, entering), torch.stack(known, dim=1))


def test_nearness_to_two_centres_has_the_place_as_its_mean():
    place = torch.tensor([0.0, 0.25, 3.0, 4.0], dtype=torch.float64)
    weights = nearness(place, 5)
    torch.testing.assert_close(weights @ torch.arange(5.0, dtype=torch.float64), place)
    assert torch.equal(weights.sum(dim=-1), torch.ones(4, dtype=torch.float64))
    assert ((weights > 0).sum(dim=-1) <= 2).all()


def test_the_tokens_of_a_belief_state_are_judged_by_their_cross_entropy():
    module = drawn(BeliefState(bins=4, chunk=2))
    logits = torch.randn(1, 6, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bins = torch.arange(36).view(1, 6, 3, 2) % 4
    u = torch.stack([module.body.values[i][bins[..., i]] for i in range(2)], dim=-1)
    losses = module.body.criterion().losses(logits.flatten(2), {"u": u.flatten(2)})
    known = F.cross_entropy(logits.movedim(-1, 1), bins, reduction="none").mean(dim=(-1, -2))
    torch.testing.assert_close(losses, known)


def test_a_belief_is_of_the_past_and_of_what_it_is_told():
    config = BeliefState(width=8, history=3)
    module, x = drawn(config), states(config, 5)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    there = torch.zeros_like(x)
    both = module.logits(tensors, torch.cat([x, there], dim=-1))
    shares = both[:, : 2 * config.bins].unflatten(-1, (2, -1)).softmax(dim=-1)
    torch.testing.assert_close(module.train()(x), (shares * module.body.values).sum(dim=-1))
    elsewhere = module.logits(tensors, torch.cat([x, there + 1], dim=-1))
    assert ((elsewhere - both).abs().amax(dim=0) > 1e-6).all()  # both heads see both windows
    earlier = module.logits(tensors, torch.cat([x + 1, there], dim=-1))
    assert ((earlier - both).abs().amax(dim=0) > 1e-6).all()
    goal = drawn(replace(config, goal=(1.0, 1.0, 1.0)))
    torch.testing.assert_close(
        goal.train()(x), (elsewhere[:, : 2 * config.bins].unflatten(-1, (2, -1)).softmax(dim=-1)
        * module.body.values).sum(dim=-1),
    )  # fmt: skip


def test_a_belief_state_learns_an_expert():
    problem = catalogue.double_integrator()
    rollouts = demonstrate(problem, OnlineExpert(problem), "double_integrator", 0, 12, 12).rollouts
    config = BeliefState(width=16, bins=16, history=1)
    learner = BehaviourCloning(policy=config, optimizer=Adam(lr=3e-3), steps=400, batch=32, validation=0.0)
    trained = train(problem, learner, [Member(rollouts, 0)])
    x, u = rollouts.x[:, :-1].reshape(-1, 2), rollouts.u.reshape(-1, 1)
    assert ((trained.act(x)[0] - u) ** 2).mean() < 0.02 * (u**2).mean()
    assert trained.history.loss[0, -1] < 0.5 * np.log(16)


def test_wrong_options_are_refused():
    for make, message in [
        (lambda: Mlp(norm="batch"), "norm must be one of none, layer, got 'batch'"),
        (lambda: GatedMlp(gate="relu"), "gate must be one of silu, sigmoid, gelu"),
        (lambda: ResidualMlp(blocks=0), "blocks must be at least 1, got 0"),
        (lambda: replace(GatedMlp(), chunk=0), "chunk must be at least 1, got 0"),
        (lambda: Transformer(width=10, heads=4), "heads must divide width = 10, got 4"),
        (lambda: StateSpace(states=0), "states must be at least 1, got 0"),
        (lambda: Mlp(history=0), "history must be at least 1, got 0"),
        (lambda: BeliefState(bins=1), "bins must be at least 2, got 1"),
        (lambda: BeliefState(heads=3), "heads must divide width = 32, got 3"),
        (
            lambda: BeliefState(goal=(1.0,)).build(3, 2, BOX),
            "goal must have 3 entries, a state's",
        ),
        (lambda: BeliefState().build(3, 2), "discretises inputs between the bounds of U, got"),
        (
            lambda: BehaviourCloning(policy=BeliefState(), loss="curvature"),
            "by the cross-entropy of its tokens",
        ),
        (lambda: BehaviourCloning(policy=BeliefState(), stability=1.0), "jacobian, hessian and stability 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
