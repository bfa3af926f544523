"""The cloning loss's Hessian, Gauss-Newton matrix and gradients of samples, against whole matrices."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imitation.demonstrate import demonstrate
from imitation.learners.configs import BehaviourCloning
from imitation.losses import LOSSES, Criterion
from imitation.objective import Cloning
from imitation.optim import Adam, AdamW
from imitation.optim.flat import FlatObjective, Layout
from imitation.policies.configs import Mlp
from imitation.population import forward, mapped, stacked
from imitation.samples import Samples, with_capped_curvature
from imitation.train import Member, train
from mpc import BarrierExpert, LqrExpert, OnlineExpert, catalogue

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIZES = (5, 9)
M = 2


def samples(size, seed):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(size, M, M))
    x, u, W = rng.normal(size=(size, 3)), rng.normal(size=(size, M)), roots @ np.swapaxes(roots, 1, 2)
    return Samples(x, u, W, room=rng.uniform(0, 2, size))


def population(loss, metric="loss", by=forward, activation="gelu", dtype=torch.float64, stability=0.0):
    shape = Mlp(width=4, depth=3, normalise=False, activation=activation)
    policies = [shape.build(3, M) for _ in SIZES]
    for k, policy in enumerate(policies):
        policy.draw(torch.Generator().manual_seed(k))
    params, buffers = stacked(policies)
    training = [samples(size, k) for k, size in enumerate(SIZES)]
    params, buffers = ({name: p.to(dtype) for name, p in part.items()} for part in (params, buffers))
    cloning = Cloning.of(policies[0], buffers, training, dtype, loss=loss, metric=metric, stability=stability)
    return replace(cloning, forward=by(policies[0])), params, training


PLACES = torch.tensor([[0, 3, 3, 1], [8, 2, 5, 7]])


def one_loss(cloning, training, layout, k, loss, places):
    """The loss of member k as a function of its flat weights, sample by sample."""

    def losses(w):
        params = layout.views({"flat": w[None]})
        buffers = {name: b[k : k + 1] for name, b in cloning.buffers.items()}
        x, u, W = (torch.from_numpy(getattr(training[k], name)[places]) for name in ("x", "u", "curvature"))
        e = (cloning.forward(params | buffers, x[None])[0] - u)[..., None]
        if loss == "curvature":
            return (e.mT @ W @ e)[:, 0, 0] / 2
        return {"l2": (e**2).mean(dim=(1, 2)), "l1": (e**2).sum(dim=(1, 2)).sqrt()}[loss]

    return losses


@pytest.mark.parametrize("by", [forward, mapped])
@pytest.mark.parametrize("loss", ["l2", "l1", "curvature"])
def test_products_are_those_of_the_whole_hessian(loss, by):
    cloning, params, training = population(loss, by=by)
    layout = Layout.of(params)
    objective, flat = FlatObjective(cloning.objective(PLACES), layout), layout.pack(params)
    v = torch.randn(3, *flat["flat"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for full in (True, False):
        block = objective.hvp(flat, {"flat": v}, full)["flat"]
        assert torch.allclose(objective.hvp(flat, {"flat": v[1]}, full)["flat"], block[1], rtol=1e-12)
        for k, size in enumerate(SIZES):
            places = np.arange(size) if full else PLACES[k].numpy()
            whole = one_loss(cloning, training, layout, k, loss, places)
            H = torch.func.hessian(lambda w, f=whole: f(w).mean())(flat["flat"][k])
            torch.testing.assert_close(block[:, k], v[:, k] @ H, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("loss", "metric"), [("l2", "loss"), ("curvature", "loss"), ("l2", "curvature")])
def test_the_gauss_newton_matrix_and_gradients_of_samples(loss, metric):
    cloning, params, training = population(loss, metric)
    layout = Layout.of(params)
    objective, flat = FlatObjective(cloning.objective(PLACES), layout), layout.pack(params)
    v = torch.randn(flat["flat"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    product = objective.ggn(flat, {"flat": v})["flat"]
    i = torch.tensor([2, 5])
    slopes = objective.sample_grad(flat, i)["flat"]
    for k in range(2):
        places = PLACES[k].numpy()
        W = torch.from_numpy(training[k].curvature[places])
        if (loss, metric) == ("l2", "loss"):
            W = torch.eye(M, dtype=torch.float64).expand_as(W) * 2 / M
        elif metric == "curvature":
            W = W * 2 / np.trace(training[k].curvature, axis1=1, axis2=2).mean()
        x = torch.from_numpy(training[k].x[places])
        buffers = {name: b[k : k + 1] for name, b in cloning.buffers.items()}

        def outputs(w, x=x, buffers=buffers):
            return cloning.forward(layout.views({"flat": w[None]}) | buffers, x[None])[0]

        J = torch.func.jacrev(outputs)(flat["flat"][k])
        G = torch.einsum("bip,bij,bjq->pq", J, W, J) / len(places)
        torch.testing.assert_close(product[k], G @ v[k], rtol=1e-9, atol=1e-11)
        losses = one_loss(cloning, training, layout, k, loss, places)
        slope = torch.func.grad(lambda w, f=losses, j=int(i[k]) % 4: f(w)[j])(flat["flat"][k])
        torch.testing.assert_close(slopes[k], slope, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
@pytest.mark.parametrize("loss", ["l2", "l1", "huber", "curvature"])
@pytest.mark.parametrize("stability", [0.0, 0.7])
def test_the_gradient_written_out_is_that_of_autograd(loss, activation, dtype, stability):
    cloning, params, _ = population(loss, activation=activation, dtype=dtype, stability=stability)
    assert cloning.traced is not None
    objective, by_graph = cloning.objective(PLACES), replace(cloning, traced=None).objective(PLACES)
    close = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    for mine, its in (
        (objective.loss_and_grad(params), by_graph.loss_and_grad(params)),
        (objective.full_loss_and_grad(params), by_graph.full_loss_and_grad(params)),
    ):
        torch.testing.assert_close(mine[0], its[0], **close)
        torch.testing.assert_close(mine[1], its[1], **close)


def test_errors_are_penalised_beyond_their_room():
    W = torch.tensor([[[2.0, 1.0], [1.0, 4.0]]])
    rows = {"u": torch.zeros(1, 2), "curvature": W, "room": torch.tensor([3.0])}
    criterion = Criterion(*LOSSES["l2"], stability=0.5)
    within, beyond = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 1.0]])  # e'We / 2 = 2 and 4
    torch.testing.assert_close(criterion.losses(within, rows), torch.tensor([0.625]))
    torch.testing.assert_close(criterion.losses(beyond, rows), torch.tensor([1.0 + 0.5 * (4 - 3)]))
    torch.testing.assert_close(criterion.slopes(within, rows), within)
    torch.testing.assert_close(criterion.slopes(beyond, rows), beyond + 0.5 * torch.tensor([[3.0, 5.0]]))


def test_within_its_room_an_error_lets_the_value_fall_by_half_of_the_state():
    problem, rng = catalogue.double_integrator(N=10, Qf="dare"), np.random.default_rng(0)
    expert, system = LqrExpert(problem), problem.system
    x, e = 1e-2 * rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
    label = expert(x)
    costs = (e[:, None] @ label.curvature @ e[..., None])[:, 0, 0] / 2
    room = ((x @ problem.Q) * x).sum(axis=1) / 2
    u = label.u + e * np.sqrt(rng.uniform(0, 1, 50) * room / costs)[:, None]

    def level(x):
        return expert(x).value + ((x @ problem.Q) * x).sum(axis=1)

    fall = level(x) - level(x @ system.A.T + u @ system.B.T)
    effort = ((u @ problem.R) * u).sum(axis=1)
    assert (fall - effort >= room * (1 - 1e-9)).all()


def test_a_fit_with_the_penalty_oversteps_less():
    problem = catalogue.double_integrator()
    rollouts = demonstrate(problem, OnlineExpert(problem), "double_integrator", 0, 8, 15).rollouts
    learner = BehaviourCloning(
        policy=Mlp(width=6, depth=2), optimizer=Adam(lr=3e-3), steps=2000, batch=32, schedule="cosine",
        validation=0.0,
    )  # fmt: skip
    kept, label = rollouts.labels.usable, rollouts.labels
    x, W = rollouts.x[:, :-1][kept], label.curvature[kept]

    def beyond(stability):
        members = [Member(rollouts, rep) for rep in range(4)]
        error = train(problem, replace(learner, stability=stability), members).act(x) - label.u[kept]
        costs = np.einsum("kbi,bij,kbj->kb", error, W, error) / 2
        return (costs > ((x @ problem.Q) * x).sum(axis=1) / 2).mean()

    assert beyond(300.0) < 0.9 * beyond(0.0)


@pytest.mark.parametrize("loss", ["l2", "curvature"])
def test_what_a_member_minimises_does_not_depend_on_its_company(loss):
    options = {"loss": loss, "metric": "curvature", "stability": 1.0}
    policy = Mlp(width=4, depth=2).build(3, M)
    data = [samples(5, 0), samples(9, 1)]
    together, alone = (Cloning.of(policy, {}, some, torch.float64, **options) for some in (data, data[1:]))
    assert together.table.keys() == {"x", "u", "curvature", "room", "metric"}
    for name, column in together.table.items():
        assert torch.equal(column[5:], alone.table[name])


def test_a_gradient_is_zero_where_nothing_is_wrong():
    error, W = torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)[None]
    for _, slope in LOSSES.values():
        assert torch.equal(slope(error, W), error)


def test_the_whole_training_set_comes_in_parts(monkeypatch):
    cloning, params, _ = population("l2")
    objective = cloning.objective(PLACES)
    loss, grads = objective.full_loss_and_grad(params)
    monkeypatch.setattr("imitation.objective._PART", 4)
    assert len(list(cloning.parts())) == 3
    parted, again = objective.full_loss_and_grad(params)
    torch.testing.assert_close(parted, loss)
    assert all(torch.allclose(grads[name], again[name], rtol=1e-10) for name in grads)


def test_a_capped_curvature_keeps_its_eigenvectors_and_no_eigenvalue_beyond_the_cap():
    training, held = samples(30, 0), samples(4, 1)
    values = np.linalg.eigvalsh(training.curvature)
    most = 0.5 * np.median(values[:, -1])
    capped, validation = with_capped_curvature(training, held, 0.5)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(capped.curvature), np.minimum(values, most), rtol=1e-9, atol=1e-12
    )
    commutator = capped.curvature @ training.curvature
    np.testing.assert_allclose(commutator, np.swapaxes(commutator, 1, 2), atol=1e-9)
    assert np.linalg.eigvalsh(validation.curvature).max() <= most * (1 + 1e-12)
    free, _ = with_capped_curvature(training, held, np.inf)
    np.testing.assert_allclose(free.curvature, training.curvature, atol=1e-12)
    with pytest.raises(ValueError, match=r"rollouts hold no label\.curvature"):
        with_capped_curvature(replace(training, curvature=None), held, 1.0)


@pytest.mark.parametrize("make", [LqrExpert, OnlineExpert, lambda p: BarrierExpert(p, eta=0.1)])
def test_a_policy_is_cloned_by_what_its_errors_cost(make):
    problem = catalogue.double_integrator()
    rollouts = demonstrate(problem, make(problem), "double_integrator", 0, 4, 10).rollouts
    learner = BehaviourCloning(policy=Mlp(width=8, depth=2), steps=60, batch=16, loss="curvature")
    loss = train(problem, learner, [Member(rollouts, 0)]).history.loss[0]
    assert loss[-1] < loss[0]


@pytest.mark.parametrize("loss", ["l2", "curvature"])
def test_gradients_group_by_group_are_those_of_all(loss, monkeypatch):
    cloning, params, _ = population(loss)
    losses, grads = cloning.objective(PLACES).loss_and_grad(params)
    monkeypatch.setattr("imitation.objective._CACHED", 4)
    grouped = cloning.objective(PLACES)
    assert [own for own, _ in grouped.groups] == [slice(0, 1), slice(1, 2)]
    parted, again = grouped.loss_and_grad(params)
    torch.testing.assert_close(parted, losses, rtol=1e-12, atol=0)
    for name, value in grads.items():
        torch.testing.assert_close(again[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("by", [forward, mapped])
@pytest.mark.parametrize(
    ("loss", "weights"), [("l2", (0.7, 0.0)), ("l1", (0.7, 0.0)), ("l1", (1.0, 3.0)), ("l2", (0.0, 2.0))]
)
def test_the_loss_of_the_derivatives_is_that_of_each_of_them(loss, weights, by):
    policies = [Mlp(width=4, depth=3, activation="tanh").build(3, M) for _ in SIZES]
    training = []
    for k, policy in enumerate(policies):
        policy.draw(torch.Generator().manual_seed(k))
        data, rng = samples(SIZES[k], k), np.random.default_rng(k)
        policy.fit_inputs(torch.from_numpy(data.x))
        slopes, bends = rng.normal(size=(SIZES[k], M, 3)), rng.normal(size=(SIZES[k], M, 3, 3))
        training.append(replace(data, dudx=slopes, d2udx2=bends))
    params, buffers = stacked(policies)
    jacobian, hessian = weights
    cloning = Cloning.of(
        policies[0], buffers, training, torch.float64, loss=loss, jacobian=jacobian, hessian=hessian
    )
    assert cloning.traced is None
    cloning = replace(cloning, forward=by(policies[0]))
    losses, grads = cloning.objective(PLACES).loss_and_grad(params)
    size = {"l2": lambda a: (a**2).mean(dim=1), "l1": lambda a: (a**2).sum(dim=1).sqrt()}[loss]
    for k, (policy, data) in enumerate(zip(policies, training, strict=True)):
        x, u, dudx, d2udx2 = (
            torch.from_numpy(a[PLACES[k]]) for a in (data.x, data.u, data.dudx, data.d2udx2)
        )
        policy.train().zero_grad()

        def one(z, i, policy=policy):
            return policy(z[None])[0, i]

        slopes, bends = (
            torch.stack(
                [
                    torch.stack([of(lambda z, i=i: one(z, i), row, create_graph=True) for i in range(M)])
                    for row in x
                ]
            )
            for of in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian)
        )
        errors = policy(x) - u, (slopes - dudx).flatten(1), (bends - d2udx2).flatten(1)
        known = sum(w * size(e) for w, e in zip((1.0, *weights), errors, strict=True)).mean()
        known.backward()
        torch.testing.assert_close(losses[k], known.detach())
        for name, p in policy.named_parameters():
            torch.testing.assert_close(grads[name][k], p.grad)


def test_second_derivatives_are_those_of_a_smooth_expert():
    problem = catalogue.double_integrator()
    expert = BarrierExpert(problem, eta=1.0)
    rollouts = demonstrate(problem, expert, "double_integrator", 0, 6, 10).rollouts
    learner = BehaviourCloning(
        policy=Mlp(width=16, depth=3),
        optimizer=AdamW(lr=5e-3),
        steps=150,
        batch=32,
        jacobian=1.0,
        hessian=1.0,
    )
    history = train(problem, learner, [Member(rollouts, 0)], expert=expert).history
    assert history.loss[0, -1] < 0.5 * history.loss[0, 0]
    with pytest.raises(ValueError, match="second derivatives of a smooth expert, got NoneType"):
        train(problem, learner, [Member(rollouts, 0)])


def test_a_jacobian_needs_labels_that_have_one():
    problem = catalogue.double_integrator()
    rollouts = demonstrate(problem, LqrExpert(problem), "double_integrator", 0, 3, 5).rollouts
    learner = BehaviourCloning(policy=Mlp(width=8, depth=2), steps=5, jacobian=1.0)
    train(problem, learner, [Member(rollouts, 0)])
    bare = replace(rollouts, labels=replace(rollouts.labels, dudx=None))
    with pytest.raises(ValueError, match=r"rollouts hold no label\.dudx"):
        train(problem, learner, [Member(bare, 0)])
