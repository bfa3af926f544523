"""Diagnostics on quadratics with known answers, on a network's whole Hessian, and as they converge."""

from itertools import pairwise

import pytest
import torch
from optim_problems import Bowls, Turned, flattened, generators, start
from torch import nn

from imitation.optim import Muon, Sgd, diagnostics
from imitation.optim.contract import GradientObjective

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MEMBERS = [2, 5, 7]


class Quadratic:
    """``w'Hw/2`` with chosen eigenvalues, a different basis for each member."""

    offers = frozenset({"grad", "hvp"})

    def __init__(self, eigenvalues, members=MEMBERS):
        values = torch.tensor(eigenvalues, dtype=torch.float64)
        normals = torch.stack(
            [
                torch.randn(len(values), len(values), generator=g, dtype=torch.float64)
                for g in generators(members)
            ]
        )
        self.Q = torch.linalg.qr(normals).Q
        self.H = self.Q @ torch.diag(values) @ self.Q.mT
        self.asked = 0

    def loss_and_grad(self, params):
        g = (self.H @ params["w"][..., None])[..., 0]
        return (params["w"] * g).sum(dim=1) / 2, {"w": g}

    def hvp(self, params, v, full=True):
        self.asked += v["w"].shape[0] if v["w"].dim() == 3 else 1
        return {"w": (self.H @ v["w"][..., None])[..., 0]}

    def start(self):
        w = torch.stack(
            [torch.randn(len(self.H[0]), generator=g, dtype=torch.float64) for g in generators(MEMBERS)]
        )
        return {"w": w}


SPREAD = [5.0, 3.0, 3.0, 1.0, 0.5, 0.1, 0.0, -0.3, -2.0, -4.5]


def test_block_rayleigh_ritz_finds_a_multiple_eigenvalue_twice():
    problem = Quadratic(SPREAD)
    found = diagnostics.top_eigenpairs(problem, problem.start(), 3, generators(MEMBERS), rounds=30)
    expected = torch.tensor([SPREAD[:3]] * 3, dtype=torch.float64)
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=0)
    assert (found.residuals < 1e-5).all()
    space = problem.Q[:, :, :3]
    torch.testing.assert_close(found.vectors @ found.vectors.mT, space @ space.mT, rtol=0, atol=1e-5)
    assert problem.asked == 3 * (2 * 30 + 1)


def test_block_rayleigh_ritz_converges_round_by_round():
    errors = []
    for rounds in (1, 4, 8, 12):
        problem = Quadratic(SPREAD)
        found = diagnostics.top_eigenpairs(problem, problem.start(), 1, generators(MEMBERS), rounds=rounds)
        errors.append(float((5.0 - found.values).max()))
    assert errors[0] > 0.05
    assert all(later < earlier / 4 for earlier, later in pairwise(errors))


def test_lanczos_finds_both_ends_and_in_the_end_all_distinct_eigenvalues():
    problem = Quadratic(SPREAD)
    few = diagnostics.spectrum(problem, problem.start(), generators(MEMBERS), steps=6)
    assert ((few.values[:, 0] - 5.0).abs() < 0.05).all()
    assert ((few.values[:, -1] + 4.5).abs() < 0.05).all()
    whole = diagnostics.spectrum(problem, problem.start(), generators(MEMBERS), steps=30)
    expected = torch.tensor([SPREAD] * 3, dtype=torch.float64)
    torch.testing.assert_close(whole.values, expected, rtol=0, atol=1e-9)
    assert (whole.residuals < 1e-6).all()
    largest = diagnostics.sharpness(problem, problem.start(), generators(MEMBERS), steps=8)
    torch.testing.assert_close(largest, expected[:, 0], rtol=1e-2, atol=0)


def test_residuals_of_lanczos_are_those_of_its_vectors():
    problem = Quadratic(SPREAD)
    found = diagnostics.spectrum(problem, problem.start(), generators(MEMBERS), steps=5)
    rest = problem.H @ found.vectors - found.vectors * found.values[:, None, :]
    torch.testing.assert_close(rest.norm(dim=1), found.residuals, rtol=1e-8, atol=1e-10)


def test_trace_and_diagonal_lie_within_their_errors_and_converge():
    problem, gaps = Quadratic(SPREAD), []
    exact = problem.H.diagonal(dim1=1, dim2=2)
    for samples in (50, 5000):
        total = diagnostics.trace(problem, problem.start(), generators(MEMBERS), samples=samples)
        each = diagnostics.diagonal(problem, problem.start(), generators(MEMBERS), samples=samples)
        assert ((total.value - sum(SPREAD)).abs() < 4 * total.error).all()
        assert ((each.value - exact).abs() < 4.5 * each.error).all()
        gaps.append(float(total.error.mean()))
    assert gaps[1] == pytest.approx(gaps[0] / 10, rel=0.2)


def test_a_diagonal_hessian_is_found_by_one_vector():
    bowls = Bowls(MEMBERS)
    found = diagnostics.diagonal(bowls, start(MEMBERS), generators(MEMBERS), samples=2)
    exact = bowls.matrix(flattened(start(MEMBERS)), 3).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(found.value, exact)
    numbers = torch.tensor([[1.0, -8.0, 2.0, 0.5, 4.0]])
    assert float(diagnostics.robust_condition_number(numbers)) == 4.0


def test_a_member_in_company_is_the_member_alone():
    problem, alone = Turned(MEMBERS), Turned(MEMBERS[1:2])
    for ask in (
        lambda o, w, g: diagnostics.top_eigenpairs(o, w, 2, g).values,
        lambda o, w, g: diagnostics.spectrum(o, w, g, steps=4).values,
        lambda o, w, g: diagnostics.trace(o, w, g).value,
        lambda o, w, g: diagnostics.directional_smoothness(o, w, w),
        lambda o, w, g: diagnostics.relative_progress(o, w, 0.1),
        lambda o, w, g: diagnostics.noise_norms(o, w, torch.arange(7).expand(len(w["a"]), 7)),
    ):
        company = ask(problem, start(MEMBERS), generators(MEMBERS))[1:2]
        torch.testing.assert_close(company, ask(alone, start(MEMBERS[1:2]), generators(MEMBERS[1:2])))


def test_alignment_is_the_share_of_a_gradient_inside():
    problem = Quadratic(SPREAD)
    vectors, g = problem.Q[:, :, :2], 3 * problem.Q[:, :, 0] + 4 * problem.Q[:, :, 5]
    torch.testing.assert_close(
        diagnostics.alignment(vectors, {"w": g}), torch.full((3,), 0.6, dtype=torch.float64)
    )


def test_t12_relative_progress_is_the_integral_of_directional_smoothness():
    """RP = -1 + lr int_0^1 tau L(tau) dtau, on a quartic; for a quadratic with H = h: -1 + lr h / 2."""
    problem, params, lr = Turned(MEMBERS), start(MEMBERS), 0.05
    _, g = problem.loss_and_grad(params)
    nodes = torch.linspace(0, 1, 2001, dtype=torch.float64)[1:]
    L = torch.stack(
        [
            diagnostics.directional_smoothness(problem, params, {n: -tau * lr * p for n, p in g.items()})
            for tau in nodes
        ]
    )
    tau = nodes[:, None]
    integral = torch.trapezoid(torch.cat([0 * L[:1], tau * L]), torch.cat([0 * tau[:1], tau]), dim=0)
    ours = diagnostics.relative_progress(problem, params, lr)
    torch.testing.assert_close(ours, -1 + lr * integral, rtol=1e-5, atol=1e-6)
    even = Quadratic([2.0] * 4)
    progress = diagnostics.relative_progress(even, even.start(), lr)
    torch.testing.assert_close(progress, torch.full((3,), -1 + lr, dtype=torch.float64))


@pytest.mark.parametrize("alpha", [1.2, 3.0])
def test_the_tail_index_of_pareto_norms_is_found(alpha):
    errors = []
    for size in (1_000, 100_000):
        u = torch.rand(3, size, generator=generators([0])[0], dtype=torch.float64)
        found = diagnostics.tail_index((1 - u) ** (-1 / alpha), share=0.2)
        errors.append(float((found / alpha - 1).abs().max()))
        assert errors[-1] < 4 / (0.2 * size) ** 0.5
    with pytest.raises(ValueError, match="share must leave at least 2"):
        diagnostics.tail_index(torch.ones(1, 5), share=0.1)


def test_noise_of_samples_is_measured_from_the_mean():
    problem = Bowls(MEMBERS)
    norms = diagnostics.noise_norms(problem, start(MEMBERS), torch.arange(7).expand(3, 7))
    g = problem.flat_grad(flattened(start(MEMBERS)))
    expected = torch.stack(
        [(7 * torch.eye(7, dtype=torch.float64)[i] * g - g).norm(dim=1) for i in range(7)], dim=1
    )
    torch.testing.assert_close(norms, expected)


def test_what_a_step_looks_like():
    draws = torch.Generator().manual_seed(0)
    target = torch.randn(2, 5, 3, generator=draws, dtype=torch.float64) * torch.tensor([1.0, 0.1, 10.0])
    objective = GradientObjective("a test", lambda p: (torch.zeros(2), {"w": p["w"] - target}))
    variation = {}
    for config in (Sgd(lr=1.0), Muon(lr=1.0)):
        rule, params = config.rule(), {"w": torch.zeros_like(target)}
        moved, _, _ = rule.update(rule.init(params, {}), params, objective, 1.0, {})
        variation[type(config)] = diagnostics.singular_variation(moved)["w"]
        s = torch.linalg.svdvals(moved["w"])
        torch.testing.assert_close(variation[type(config)], s.var(dim=1, correction=0).sqrt() / s.mean(dim=1))
    assert (variation[Muon] < variation[Sgd] / 2).all()
    step = {"a": torch.tensor([[1.0, -3.0], [0.5, 0.0]]), "b": torch.tensor([[[2.5]], [[-0.1]]])}
    assert diagnostics.clip_share(step, 2.0).tolist() == pytest.approx([2 / 3, 0.0])
    away = diagnostics.distance(step, {name: 0 * value for name, value in step.items()})
    torch.testing.assert_close(away**2, torch.tensor([16.25, 0.26]))


def test_any_module_and_loss_in_chunks():
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(23, 3, generator=draws).double(), torch.randint(2, (23,), generator=draws)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=draws))
    loss = nn.CrossEntropyLoss(reduction="none")
    objective, params = diagnostics.of_module(module, loss, x, y, chunk=5)
    shapes = {name: p.shape[1:] for name, p in params.items()}

    def whole(flat):
        pieces = flat.split([shape.numel() for shape in shapes.values()])
        tensors = {n: piece.view(shape) for (n, shape), piece in zip(shapes.items(), pieces, strict=True)}
        return loss(torch.func.functional_call(module, tensors, (x,)), y).mean()

    flat = torch.cat([p.flatten() for p in params.values()])
    H = torch.func.hessian(whole)(flat)
    values = torch.linalg.eigvalsh(H).flip(0)
    found = diagnostics.top_eigenpairs(objective, params, 2, generators([0]), rounds=40)
    torch.testing.assert_close(found.values[0], values[:2], rtol=1e-6, atol=1e-8)
    all_of_it = diagnostics.spectrum(objective, params, generators([0]), steps=len(flat)).values[0]
    torch.testing.assert_close(all_of_it, values, rtol=0, atol=1e-7)
    mean, grads = objective.full_loss_and_grad(params)
    torch.testing.assert_close(mean[0], whole(flat))
    torch.testing.assert_close(torch.cat([g.flatten() for g in grads.values()]), torch.func.grad(whole)(flat))
