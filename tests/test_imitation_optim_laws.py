"""What the papers prove of the rules, and other people's code for the same rules."""

from itertools import islice

import numpy as np
import pytest
import schedulefree
import torch
from optim_problems import STEPS, Bowls, Turned, flattened, generators, run, start, steps_of

from imitation.optim import (
    Adafactor,
    Adam,
    AdamMini,
    AdamW,
    Clipped,
    ClippedAdam,
    Conversion,
    Ema,
    Escape,
    Ftrl,
    GaussNewton,
    Muon,
    Rotated,
    Sam,
    ScheduleFree,
    Sgd,
    SlimAdam,
    Subspace,
    SvdRotated,
)
from imitation.optim.contract import Draw, GradientObjective
from imitation.optim.draws import drawn
from imitation.optim.eigenspace import orthonormal, projected
from imitation.optim.reference.adam import adamw
from imitation.optim.rotations import haar

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def descend(config, gradient, w, steps, lr=None):
    """Weights after each step of a rule on ``gradient`` of a single tensor ``(K, ...)``."""
    objective = GradientObjective("a test", lambda p: (torch.zeros(len(w)), {"w": gradient(p["w"])}))
    rule, params, path = config.rule(), {"w": w}, []
    state = rule.init(params, {})
    for _ in range(steps):
        params, state, _ = rule.update(state, params, objective, config.lr if lr is None else lr, {})
        path.append(params["w"])
    return torch.stack(path)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("adam", [False, True])
def test_t1_schedule_free_is_the_packages(beta, adam):
    w = flattened(start([3]))[0].clone().requires_grad_()
    if adam:
        config = ScheduleFree(AdamW(lr=1e-2, beta1=0.0, weight_decay=1e-2), interpolation=beta)
        theirs = schedulefree.AdamWScheduleFreeReference([w], lr=1e-2, betas=(beta, 0.999), weight_decay=1e-2)
    else:
        config = ScheduleFree(Sgd(lr=2e-2), interpolation=beta)
        theirs = schedulefree.SGDScheduleFreeReference([w], lr=2e-2, momentum=beta)
    objective = Bowls([3])
    theirs.train()
    for rule, params, state, _ in islice(steps_of(config, [3]), 100):
        w.grad = objective.flat_grad(w.detach()[None])[0]
        theirs.step()
        torch.testing.assert_close(flattened(params)[0], w.detach(), rtol=1e-9, atol=1e-12)
        theirs.eval()
        torch.testing.assert_close(
            flattened(rule.deployed(state, params))[0], w.detach(), rtol=1e-9, atol=1e-12
        )
        theirs.train()


def test_t2_without_interpolation_the_average_is_the_plain_mean_of_what_was_stepped_to():
    config, seen = ScheduleFree(Sgd(lr=2e-2), interpolation=0.0), []
    for rule, params, state, _ in islice(steps_of(config, [3]), 50):
        seen.append(flattened(params))
        torch.testing.assert_close(flattened(rule.deployed(state, params)), torch.stack(seen).mean(dim=0))
    torch.testing.assert_close(torch.stack(seen), run(Sgd(lr=2e-2), [3], steps=50))


def test_t3_random_schedule_free_is_the_online_to_nonconvex_conversion():
    """d' = zeta (d - lr g), x = x + d / zeta, gradients at x + s d with s uniform, k = 1 - s (1 - zeta)."""
    zeta, lr = 0.8, 5e-3
    config = ScheduleFree(
        Sgd(lr=lr / (1 - zeta)), interpolation=zeta, law="constant", weight=1 - zeta, random=True
    )
    ours = run(config, [3], steps=60)[:, 0]
    objective, draws = Bowls([3]), generators([3])[0]
    x = flattened(start([3]))
    d, y = torch.zeros_like(x), x
    for point in ours:
        d = zeta * (d - lr * objective.flat_grad(y))
        x = x + d / zeta
        k = zeta + (1 - zeta) * torch.rand((), generator=draws, dtype=torch.float64)
        y = x + (1 - k) / (1 - zeta) * d
        torch.testing.assert_close(point, y[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("zeta", [0.5, 0.9])
def test_t3_the_conversion_with_x_ahead_is_schedule_free_sgd(zeta):
    """k = 1 - s (1 - zeta), which is uniform on [zeta, 1] for the same uniform number, counted from above."""
    lr, seen = 5e-3, []
    conversion = Conversion(
        Sgd(lr=zeta * lr, momentum=zeta), choice="ahead", zeta=zeta, output="newest"
    ).rule()
    free = ScheduleFree(
        Sgd(lr=lr / (1 - zeta)), interpolation=zeta, law="constant", weight=1 - zeta, random=True
    ).rule()
    objective, draws = Turned([3, 5]), torch.Generator().manual_seed(0)
    one, other = start([3, 5]), start([3, 5])
    first, second = conversion.init(one, {}), free.init(other, {})
    for _ in range(60):
        s = torch.rand(2, generator=draws, dtype=torch.float64)
        one, first, _ = conversion.update(first, one, objective, zeta * lr, {"scale": s})
        other, second, _ = free.update(second, other, objective, lr / (1 - zeta), {"interpolation": 1 - s})
        torch.testing.assert_close(flattened(one), flattened(other), rtol=1e-9, atol=1e-12)
        seen.append(flattened(one))
    assert (seen[-1] - seen[0]).abs().max() > 0.1


@pytest.mark.parametrize("base", [Sgd(lr=1e-2, momentum=0.9), Adam(lr=1e-2)])
def test_t3_the_conversion_that_goes_on_from_w_without_scaling_is_its_learner(base):
    config = Conversion(base, choice="last", scaling="one", output="newest")
    torch.testing.assert_close(run(config, [2, 5]), run(base, [2, 5]), rtol=1e-12, atol=1e-14)


def test_t3_exponential_scaling_is_that_of_the_randomly_scaled_leader():
    ours = Conversion(ClippedAdam(lr=1e-2, discount=0.9), scaling="exponential", output="newest")
    leader = ClippedAdam(lr=1e-2, discount=0.9, random=True)
    torch.testing.assert_close(run(ours, [2, 5]), run(leader, [2, 5]), rtol=1e-11, atol=1e-13)


def test_t4_clipped_adam_without_a_clip_is_torchs_adam():
    b, D = 0.9, 1e-2
    w = flattened(start([3]))[0].clone().requires_grad_()
    theirs, objective = torch.optim.Adam([w], lr=1.0, betas=(b, b * b), eps=0.0), Bowls([3])
    paths = zip(
        run(ClippedAdam(lr=D, discount=b, clip=np.inf), [3])[:, 0],
        run(Ftrl(lr=D, discount=b), [3])[:, 0],
        strict=True,
    )
    for t, (ours, leader) in enumerate(paths, start=1):
        theirs.param_groups[0]["lr"] = D * ((1 + b) / (1 - b)) ** 0.5 * (1 - b**t) / (1 - b ** (2 * t)) ** 0.5
        w.grad = objective.flat_grad(w.detach()[None])[0]
        theirs.step()
        torch.testing.assert_close(ours, w.detach(), rtol=1e-9, atol=1e-12)
        assert torch.equal(ours, leader)


@pytest.mark.parametrize("by", ["weight", "norm"])
def test_t5_the_first_increment_has_size_d_and_no_scale_of_gradients_matters(by):
    config, w = ClippedAdam(lr=0.1, discount=0.9, by=by), numbers([1.0, -2.0, 0.0])
    fixed = numbers([3.0, -4.0, 0.0])
    first = descend(config, lambda w: fixed, w, 1)[0] - w
    expected = -0.1 * (fixed.sign() if by == "weight" else fixed / 5)
    torch.testing.assert_close(first, expected, rtol=1e-14, atol=0)
    still = descend(config, torch.zeros_like, w, 3)[-1]
    assert torch.equal(still, w)
    slope = numbers([[1.0, 0.3, 2.0]])
    one, other = (descend(config, lambda w, s=s: s * slope * w, w, 30) for s in (1.0, 1e3))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_t6_discounted_regret_of_ftrl_stays_under_its_bound(seed):
    """4 D sqrt(sum_t b^(2(T-t)) g_t^2), against the best fixed update in [-D, D]."""
    rng, b, D, T = np.random.default_rng(seed), [0.8, 0.9, 0.95, 0.99, 0.999][seed], 1.0, 300
    config = ClippedAdam(lr=D, discount=b)
    rule, params = config.rule(), {"w": torch.zeros(1, 1, dtype=torch.float64)}
    state, played, g = rule.init(params, {}), [0.0], []
    for t in range(T):
        adverse = np.sign(played[-1]) or 1.0
        g.append(float(rng.choice([rng.normal(), adverse, np.sin(t / 20)])))
        objective = GradientObjective(
            "a line", lambda p, s=g[-1]: (torch.zeros(1), {"w": torch.full((1, 1), s).double()})
        )
        moved, state, _ = rule.update(state, params, objective, D, {})
        played.append(float(moved["w"] - params["w"]))
        weight = b ** (t - np.arange(t + 1.0))
        losses = weight * np.array(g)
        regret = float(losses @ np.array(played[: t + 1])) + D * abs(losses.sum())
        assert regret <= 4 * D * np.sqrt(((weight * np.array(g)) ** 2).sum()) + 1e-12


def test_t7_random_scaling_turns_differences_into_gradients():
    """E[F(x + a Z) - F(x)] = E <grad F(x + a Z), Z> for a ~ Exp(1), F not smooth."""
    (a,) = drawn({"a": Draw("exponential", (400_000,))}, generators([0]), torch.float64)["a"]
    x, z = 0.3, -0.7
    point = x + a * z
    difference, slope = (point.abs() + point**2).mean() - (x + x**2), ((point.sign() + 2 * point) * z).mean()
    assert abs(difference - slope) < 0.01
    (s,) = drawn({"s": Draw("uniform", (400_000,))}, generators([1]), torch.float64)["s"]
    point = x + s * z
    exact = abs(x + z) + (x + z) ** 2 - x - x**2
    assert abs(((point.sign() + 2 * point) * z).mean() - exact) < 0.01


def test_t8_usam_diverges_beyond_its_rate_and_sam_ends_on_an_orbit():
    lam, w = 4.0, numbers([0.7])
    for rho, lr in ((0.2, 0.27), (0.2, 0.28)):
        end = descend(Sam(Sgd(lr=lr), rho=rho, normalised=0.0), lambda w: lam * w, w, 400)[-1].abs()
        assert bool(end > 1) == (lr * lam * (1 + rho * lam) > 2)
    rho, lr = 0.1, 0.2
    path = descend(Sam(Sgd(lr=lr), rho=rho), lambda w: lam * w, w, 400)[:, 0, 0]
    radius = lr * lam * rho / (2 - lr * lam)
    torch.testing.assert_close(path[-4:].abs(), torch.full((4,), radius, dtype=torch.float64))
    assert (path[-4:-1] * path[-3:] < 0).all()


def test_t9_where_descent_on_a_product_stops():
    """L = log cosh(x y): minima (0, y) with sharpness y^2."""

    def slope(w):
        x, y = w[:, 0], w[:, 1]
        return torch.tanh(x * y)[:, None] * torch.stack([y, x], dim=1)

    lr, rho = 0.1, 0.1
    w = numbers([1e-3, 8.0], [2e-2, 6.5])
    plain = descend(Sgd(lr=lr), slope, w, 30_000)[-1]
    assert (plain[:, 0].abs() < 1e-6).all()
    assert (plain[:, 1] ** 2 <= 2 / lr * (1 + 1e-6)).all()
    edge = (-1 + (1 + 8 * rho / lr) ** 0.5) / (2 * rho)  # the root of lr y^2 (1 + rho y^2) = 2
    usam = descend(Sam(Sgd(lr=lr), rho=rho, normalised=0.0), slope, w, 30_000)[-1]
    assert (usam[:, 1] ** 2 <= edge * (1 + 1e-6)).all()
    sam = descend(Sam(Sgd(lr=lr), rho=rho), slope, w, 30_000)
    assert (sam[-1, :, 1] ** 2 < edge).all()
    assert (sam[-1, :, 1].abs() < sam[15_000, :, 1].abs() - 1e-3).all() or (sam[-1, :, 1].abs() < 0.5).all()


def turned(gradient, left, right):
    """The gradient in the coordinates ``left w right``."""
    return lambda w: left @ gradient(left.mT @ w @ right.mT) @ right


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("config", [Sgd(lr=1e-2, momentum=0.9), Muon(lr=1e-2)])
def test_t10_momentum_and_muon_commute_with_rotations_from_both_sides(config, nesterov):
    draws = torch.Generator().manual_seed(0)
    left, right, target, w = (
        torch.randn(1, *shape, generator=draws, dtype=torch.float64)
        for shape in ((4, 4), (3, 3), (4, 3), (4, 3))
    )
    left, right = torch.linalg.qr(left)[0], torch.linalg.qr(right)[0]
    config = type(config)(lr=config.lr, momentum=0.9, nesterov=nesterov)

    def slope(w):
        return (w - target) ** 3 + w

    ours = descend(config, slope, w, 50)
    theirs = descend(config, turned(slope, left, right), left @ w @ right, 50)
    torch.testing.assert_close(left @ ours @ right, theirs, rtol=1e-9, atol=1e-11)
    adam = descend(Adam(lr=1e-2), slope, w, 50)
    other = descend(Adam(lr=1e-2), turned(slope, left, right), left @ w @ right, 50)
    assert (left @ adam @ right - other).abs().max() > 1e-3


@pytest.mark.parametrize("scope", ["global", "layer", "output", "input"])
def test_t10_rotations_do_nothing_to_sgd_and_something_to_adam(scope):
    sgd, adam = Sgd(lr=1e-2, momentum=0.9), Adam(lr=1e-2)
    torch.testing.assert_close(
        run(Rotated(sgd, scope=scope, block=3), [2, 5]), run(sgd, [2, 5]), rtol=1e-10, atol=1e-12
    )
    gap = (run(Rotated(adam, scope=scope, block=3), [2, 5]) - run(adam, [2, 5])).abs().amax(dim=(0, 1))
    assert (gap[:6] > 1e-3).all()
    assert (gap[6] > 1e-3) == (scope == "global")  # one weight by itself, or no matrix


def test_t10_svd_bases_do_nothing_to_sgd_and_muon_and_something_to_adam():
    for config in (Sgd(lr=1e-2, momentum=0.9), Muon(lr=1e-2)):
        ours = run(SvdRotated(config, every=STEPS), [2, 5])
        torch.testing.assert_close(ours, run(config, [2, 5]), rtol=1e-9, atol=1e-11)
    adam = Adam(lr=1e-2, eps=1e-3)
    assert (run(SvdRotated(adam, every=20), [2]) - run(adam, [2])).abs().max() > 1e-3


def test_haar_rotations_are_orthogonal_and_spread_evenly():
    Q = haar(torch.randn(4000, 3, 3, generator=generators([0])[0], dtype=torch.float64))
    torch.testing.assert_close(Q @ Q.mT, torch.eye(3, dtype=torch.float64).expand_as(Q))
    assert Q.mean(dim=0).abs().max() < 0.03
    assert (Q.square().mean(dim=0) - 1 / 3).abs().max() < 0.02
    assert abs(float((Q.diagonal(dim1=1, dim2=2).sum(dim=1) ** 2).mean()) - 1) < 0.1


def test_curvature_is_asked_for_in_the_turned_coordinates():
    """Gauss-Newton without rotation, and inside any: the same path; the subspace rule too."""
    newton = GaussNewton(lr=0.3, damping=0.1, iterations=30)
    subspace = Subspace(Sgd(lr=1e-2), k=2, first=400, keep="bulk")
    for config, steps in ((newton, 50), (subspace, 1)):
        plain = run(config, [2, 5], steps=steps)
        for wrapper in (Rotated(config, block=3), SvdRotated(config, every=10)):
            torch.testing.assert_close(run(wrapper, [2, 5], steps=steps), plain, rtol=1e-7, atol=1e-9)


def test_t11_the_two_parts_are_orthogonal_and_all_of_the_gradient():
    dominant, bulk = (Subspace(Sgd(lr=1e-2), keep=keep, k=2, first=200) for keep in ("dominant", "bulk"))
    begin, problem = start([2, 5]), Turned([2, 5])
    step = {
        keep: flattened(next(steps_of(config, [2, 5], problem=Turned))[1]) - flattened(begin)
        for keep, config in (("dominant", dominant), ("bulk", bulk))
    }
    g = problem.flat_grad(flattened(begin))
    torch.testing.assert_close(step["dominant"] + step["bulk"], -1e-2 * g, rtol=1e-10, atol=1e-13)
    assert ((step["dominant"] * step["bulk"]).sum(dim=1).abs() < 1e-12).all()
    values, vectors = torch.linalg.eigh(problem.matrix(flattened(begin), 3))
    top = vectors[:, :, -2:]
    torch.testing.assert_close(step["dominant"], -1e-2 * projected(top, g), rtol=1e-7, atol=1e-10)
    _, _, _, info = next(steps_of(dominant, [2, 5], problem=Turned))
    torch.testing.assert_close(info["eigenvalues"], values[:, -2:].flip(-1))
    chi = projected(top, g).norm(dim=1) / g.norm(dim=1)
    torch.testing.assert_close(info["chi"], chi, rtol=1e-8, atol=1e-10)
    across = (g - projected(top, g)).norm(dim=1) / g.norm(dim=1)
    torch.testing.assert_close(info["chi"] ** 2 + across**2, torch.ones(2, dtype=torch.float64))


def test_t11_a_random_subspace_holds_k_of_n_parts_of_a_square():
    V = orthonormal(torch.randn(4000, 7, 3, generator=generators([0])[0], dtype=torch.float64))
    g = torch.ones(4000, 7, dtype=torch.float64)
    share = projected(V, g).square().sum(dim=1) / 7
    assert abs(float(share.mean()) - 3 / 7) < 0.01


def test_projected_gradients_and_projected_steps_are_one_thing_for_sgd_and_two_for_adam():
    for base, same in ((Sgd(lr=1e-2), True), (Adam(lr=1e-2), False)):
        one, other = (
            run(Subspace(base, of=of, k=2), [2], steps=20, problem=Turned) for of in ("step", "gradient")
        )
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12) == same
    inside, outside = Sam(Subspace(Sgd(lr=1e-2), k=2), rho=0.1), Subspace(Sam(Sgd(lr=1e-2), rho=0.1), k=2)
    one, other = (run(config, [2], steps=20, problem=Turned) for config in (inside, outside))
    torch.testing.assert_close(one, other)


def test_the_subspace_that_is_followed_is_the_hessians():
    """One round a step keeps up with a Hessian that turns, to a thousandth of a right angle in the median."""
    problem, sines = Turned([2, 5]), []
    for _, params, state, _ in islice(
        steps_of(Subspace(Sgd(lr=1e-2), k=2, every=1), [2, 5], problem=Turned), 100
    ):
        vectors = torch.linalg.eigh(problem.matrix(flattened(params), 3)).eigenvectors[:, :, -2:]
        rest = state.basis - vectors @ (vectors.mT @ state.basis)
        sines.append(torch.linalg.matrix_norm(rest, ord=2))
    assert (torch.stack(sines[10:]).median(dim=0).values < 1.6e-3).all()


def test_what_leads_away_is_orthogonal_to_the_gradient_and_absent_where_that_is_large():
    begin, problem = flattened(start([2, 5])), Bowls([2, 5])
    g = problem.flat_grad(begin)
    for by in ("sphere", "sample"):
        away = run(Escape(Sgd(lr=1.0), by=by, rho=0.1), [2, 5], steps=1)[0] - (begin - g)
        assert ((away * g).sum(dim=1).abs() < 1e-9).all()
        assert (away.norm(dim=1) > 1e-3).all()
        small = float(g.norm(dim=1).mean())
        _, params, _, info = next(steps_of(Escape(Sgd(lr=1.0), by=by, rho=0.1, small=small), [2, 5]))
        led = (flattened(params) - (begin - g)).norm(dim=1) > 1e-3
        assert torch.equal(led, g.norm(dim=1) <= small)
        assert torch.equal(info["escaping"] > 0, led)
        assert led.any()
        assert not led.all()


ADAM = {"lr": 1e-2, "beta2": 0.95, "weight_decay": 1e-2}


@pytest.mark.parametrize("config", [AdamMini(**ADAM, block="weight"), SlimAdam(**ADAM, over="nothing")])
def test_t13_lean_adams_that_share_nothing_are_adamw(config):
    torch.testing.assert_close(run(config, [2, 5]), run(AdamW(**ADAM), [2, 5]), rtol=1e-10, atol=1e-13)


def test_t13_relative_adam_restarts_its_count_and_keeps_its_moments():
    config = Adam(lr=1e-2, relative=True)
    torch.testing.assert_close(run(config, [2]), run(Adam(lr=1e-2), [2]), rtol=0, atol=0)
    objective, params, rule = Bowls([3]), start([3]), Ema(config).rule()
    state, path = rule.init(params, {}), []
    for step in range(60):
        state = rule.renewed(state) if step in (20, 45) else state
        params, state, _ = rule.update(state, params, objective, 1e-2, {})
        path.append(flattened(params)[0].numpy())
    twin = adamw(
        flattened(start([3]))[0].numpy(),
        lambda w: objective.flat_grad(torch.from_numpy(w)[None])[0].numpy(),
        lr=1e-2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, restarts=(20, 45),
    )  # fmt: skip
    np.testing.assert_allclose(path, [theta for theta, _ in islice(twin, 60)], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("wrapper", [Clipped, Sam])
def test_what_a_base_deploys_its_wrapper_deploys(wrapper):
    """However deep the average lies: it is deployed, not the weights that are trained."""
    for base in (Ema(Sgd(lr=1e-2), decay=0.9), ScheduleFree(Sgd(lr=1e-2))):
        rule, params, state, _ = next(islice(steps_of(wrapper(base), [3]), 9, None))
        expected = flattened(rule.base.deployed(state.base, params))
        assert torch.equal(flattened(rule.deployed(state, params)), expected)
        assert not torch.equal(expected, flattened(params))


def test_the_torch_face_passes_on_that_the_target_has_changed():
    weights = [torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2)]
    for w, renew in zip(weights, (False, True), strict=True):
        optimizer = Clipped(Adam(lr=1e-2, relative=True)).build([w])
        for step in range(12):
            if renew and step == 10:
                optimizer.renew()
            w.grad = w.detach() * (step + 1.0)
            optimizer.step()
    assert (weights[0] - weights[1]).abs().min() > 1e-4


def test_draws_have_their_laws_and_are_each_members_own():
    asked = {law: Draw(law, (20_000,), high=5) for law in ("uniform", "normal", "exponential", "integer")}
    both, alone = (
        drawn(asked, generators([4, 7]), torch.float64),
        drawn(asked, generators([7]), torch.float64),
    )
    assert all(torch.equal(both[name][1], alone[name][0]) for name in asked)
    moments = {name: (float(both[name].double().mean()), float(both[name].double().std())) for name in asked}
    expected = {"uniform": (0.5, 12**-0.5), "normal": (0, 1), "exponential": (1, 1), "integer": (2, 2**0.5)}
    for name, moment in moments.items():
        assert moment == pytest.approx(expected[name], abs=0.03), name


def test_t13_adafactor_is_exact_where_squares_have_rank_one():
    rows, columns = numbers([1.0], [3.0], [0.2])[None], numbers([2.0, 0.5, 1.0, 7.0])[None]
    fixed, w = rows @ columns, torch.zeros(1, 3, 4, dtype=torch.float64)
    ours = descend(Adafactor(lr=1e-2, eps=0.0, largest=np.inf), lambda w: fixed, w, 20)
    theirs = descend(Adam(lr=1e-2, beta1=0.0, eps=0.0), lambda w: fixed, w, 20)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)


def test_muon_is_torchs_where_torch_has_it():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    matrix = start([3])["a"]
    w = matrix[0].clone().requires_grad_()
    theirs = torch.optim.Muon([w], lr=1e-2, momentum=0.95, nesterov=True, weight_decay=0.0)
    objective = Bowls([3])

    def slope(at):
        return objective.loss_and_grad({"a": at, "b": torch.zeros(1, 1, dtype=torch.float64)})[1]["a"]

    ours = descend(Muon(lr=1e-2), slope, matrix, 20)
    for step in range(20):
        w.grad = slope(w.detach()[None])[0]
        theirs.step()
        torch.testing.assert_close(ours[step, 0], w.detach(), rtol=0.1, atol=3e-3)  # theirs is in bfloat16
