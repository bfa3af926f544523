"""Learners on a linear expert, whose gain a linear policy must find, and what each of them records."""

from dataclasses import replace

import numpy as np
import pytest

from imitation.checkpoint import load_controller, load_policy, save_policy
from imitation.evaluate import along, evaluate, unfold
from imitation.learners import BehaviourCloning, Cmile, Dagger, Dart, Forward, NoiseInjection
from imitation.learners.cloning import ball_noise
from imitation.learners.dart import error_moment, normal_noise
from imitation.learners.rounds import round_sizes
from imitation.optim import Adam
from imitation.policies import Mlp
from imitation.samples import samples
from imitation.task import Pupil, Task
from mpc import catalogue
from mpc.closed_loop import simulate
from mpc.controllers import Staged, replay
from mpc.expert import Control
from mpc.lqr import LinearExpert, LqrExpert
from mpc.online import OnlineExpert
from mpc.rollouts import Rollouts

pytestmark = pytest.mark.usefixtures("one_torch_thread")

GAIN = np.array([[-0.4, -1.0]])
LINEAR = BehaviourCloning(
    policy=Mlp(depth=1, normalise=False),
    optimizer=Adam(lr=0.05),
    steps=600,
    batch=64,
    schedule="linear",
    dtype="float64",
)
SMALL = replace(LINEAR, policy=Mlp(width=8, depth=2), optimizer=Adam(lr=3e-3), steps=40)
T = 8
PUPILS = [Pupil(0, 6), Pupil(1, 10)]
LEARNERS = {
    "cloning": LINEAR,
    "l1": replace(LINEAR, loss="l1"),
    "huber": replace(LINEAR, loss="huber"),
    "jacobian": replace(LINEAR, jacobian=1.0),
    "TaSIL 1": replace(LINEAR, loss="l1", jacobian=1.0),
    "noise": NoiseInjection(LINEAR, scale=0.5),
    "dagger": Dagger(LINEAR, rounds=3),
    "dagger, mixtures": Dagger(LINEAR, rounds=3, schedule="exponential"),
    "dart": Dart(LINEAR, rounds=3),
    "dart, alpha": Dart(LINEAR, rounds=2, alpha=0.5),
    "forward": Forward(replace(LINEAR, validation=0.0)),
    "cmile": Cmile(LINEAR, rounds=3),
    "cmile, newest data": Cmile(LINEAR, rounds=3, aggregate=False),
}


@pytest.fixture(scope="module")
def task():
    problem = catalogue.double_integrator()
    return Task(problem, LinearExpert(problem, GAIN), "double_integrator", T)


def small(learner):
    """The learner with a small network and a short training."""
    return SMALL if isinstance(learner, BehaviourCloning) else replace(learner, base=SMALL)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_linear_policy_finds_the_gain_of_a_linear_expert(task, name):
    learned = LEARNERS[name].learn(task, PUPILS)
    x = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    tail = T - 1 if name == "forward" else 0  # each time's policy saw six states of its own
    for law in learned.controllers:
        u = replay(law, np.repeat(x[:, None], T, axis=1))
        np.testing.assert_allclose(u[:, tail], x @ GAIN.T, atol=0.02 if tail else 5e-3)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_asks_for_as_many_labels(task, name):
    learned = small(LEARNERS[name]).learn(task, PUPILS)
    assert learned.queries.tolist() == [6 * T, 10 * T]
    assert [account.discarded for account in learned.accounts] == [0, 0]


@pytest.mark.parametrize("name", ["noise", "dagger, mixtures", "dart", "forward", "cmile"])
def test_a_pupil_in_company_is_the_pupil_alone(task, name):
    learner = small(LEARNERS[name])
    company = learner.learn(task, [Pupil(3, 8), *PUPILS])
    x = simulate(task.problem, task.expert, np.array([[1.0, 0.5], [-2.0, 1.0]]), T).x[:, :-1]
    for k, pupil in enumerate(PUPILS):
        alone = learner.learn(task, [pupil])
        np.testing.assert_allclose(along(company, x)[k + 1], along(alone, x)[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(company.rollouts[k + 1].x, alone.rollouts[0].x, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["cloning", "noise", "dagger, mixtures", "dart", "forward", "cmile"])
def test_the_same_call_gives_the_same_bits_and_another_repetition_others(task, name):
    learner = small(LEARNERS[name])
    x = simulate(task.problem, task.expert, np.array([[1.0, 0.5]]), T).x[:, :-1]
    one, two = (along(learner.learn(task, PUPILS), x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one[0] - along(learner.learn(task, [Pupil(7, 6)]), x)[0]).max() > 1e-3


def test_fewer_demonstrations_are_the_first_of_more(task):
    few, many = NoiseInjection(SMALL).learn(task, [Pupil(0, 4), Pupil(0, 9)]).rollouts
    np.testing.assert_array_equal(few.x, many.x[:4])
    np.testing.assert_array_equal(few.u, many.u[:4])


def test_noise_is_on_its_share_of_the_episodes_and_labels_are_clean_or_not(task):
    (clean,) = NoiseInjection(SMALL, scale=0.3, share=0.25).learn(task, [Pupil(0, 8)]).rollouts
    noise = clean.u - clean.labels.u
    noisy = np.abs(noise).max(axis=(1, 2)) > 0
    assert noisy.tolist() == [False, False, False, True] * 2
    assert 0.2 < np.abs(noise).max() <= 0.3
    (told,) = NoiseInjection(SMALL, scale=0.3, share=0.25, labels="noisy").learn(task, [Pupil(0, 8)]).rollouts
    np.testing.assert_array_equal(told.x, clean.x)
    np.testing.assert_array_equal(samples(told).u.reshape(8, T, 1), clean.u)


def test_noise_in_a_ball_is_uniform():
    problem = catalogue.quadrotor()
    wide = Task(problem, LinearExpert(problem, np.zeros((problem.m, problem.n))), "quadrotor", 400)
    radius = np.linalg.norm(ball_noise(wide, 0, np.arange(20)), axis=2).ravel()
    share = [(radius <= r).mean() for r in (0.5, 0.8, 0.95)]
    np.testing.assert_allclose(share, np.array([0.5, 0.8, 0.95]) ** problem.m, atol=0.02)


def test_the_data_of_dagger_are_the_states_of_its_mixtures(task):
    pupil = Pupil(2, 9)
    assert round_sizes(pupil, 2) == [5, 4]
    learned = Dagger(SMALL, rounds=2).learn(task, [pupil])
    (data,) = learned.rollouts
    first = SMALL.learn(task, [Pupil(2, 5)])
    np.testing.assert_array_equal(data.x[:5], first.rollouts[0].x)
    own = simulate(task.problem, first.controllers[0], task.initial_states(2, 5, 4), T)
    np.testing.assert_allclose(data.x[5:], own.x, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(data.labels.u[5:], own.x[:, :-1] @ GAIN.T, rtol=1e-9, atol=1e-12)


def test_beta_is_the_share_of_the_experts_steps(task):
    learner = Dagger(SMALL, rounds=2, schedule="exponential", decay=0.3)
    assert [learner.share(r) for r in range(3)] == [1, 0.3, pytest.approx(0.09)]
    assert [Dagger(rounds=4, schedule="linear").share(r) for r in range(4)] == [1, 0.75, 0.5, 0.25]
    (data,) = learner.learn(task, [Pupil(0, 80)]).rollouts
    late = data[40:]
    assert (late.u == late.labels.u).mean() == pytest.approx(0.3, abs=0.06)


def test_loops_of_a_bad_learner_are_kept_and_their_unusable_labels_counted():
    problem = catalogue.triangular(3)
    task = Task(problem, OnlineExpert(problem), "triangular:d=3", 30)
    hasty = replace(SMALL, steps=1)  # hardly trained: loops run away
    learned = Dagger(hasty, rounds=2).learn(task, [Pupil(0, 12)])
    account, data = learned.accounts[0], learned.rollouts[0]
    assert data.episodes == 12
    assert account.unusable == (data.labels.status == -1).sum() > 0
    assert account.queries == (data.labels.status != 0).sum()
    assert (data.length < 30).any()
    assert len(samples(data).x) == data.labels.usable.sum()


def test_dart_adds_noise_with_the_moments_of_the_learners_error(task):
    (data,) = Dart(SMALL, rounds=2, most=9).learn(task, [Pupil(0, 8)]).rollouts
    np.testing.assert_array_equal(data.u[:4], data.labels.u[:4])
    first = SMALL.learn(task, [Pupil(0, 4)])
    S = error_moment(Dart(SMALL, most=9), task, first.last.policy(0), data[:4])
    error = along(first, data.x[3:4, :-1])[0] - data.u[3:4]  # the episode held out
    assert S[0, 0] == pytest.approx(np.mean(error**2), rel=1e-9)
    noise = (data.u - data.labels.u)[4:]
    np.testing.assert_allclose(noise, normal_noise(task, 0, np.arange(4, 8), S), rtol=1e-6, atol=1e-9)
    wished = error_moment(Dart(SMALL, alpha=0.4, most=9), task, first.last.policy(0), data[:4])
    assert np.trace(wished) == pytest.approx(0.4 / T)
    capped = error_moment(Dart(SMALL, alpha=1e6, most=0.2), task, first.last.policy(0), data[:4])
    assert np.sqrt(capped[0, 0]) == pytest.approx(0.2)  # |u| <= 1
    many = normal_noise(task, 0, np.arange(2000), S)
    assert many.var() == pytest.approx(S[0, 0], rel=0.05)


def test_forward_training_fits_each_time_where_those_before_it_lead(task):
    learned = Forward(replace(SMALL, validation=0.0)).learn(task, [Pupil(1, 3)])
    (data,) = learned.rollouts
    law = learned.controllers[0]
    assert isinstance(law, Staged)
    assert len(law.laws) == len(learned.fits) == T
    for t in (0, 1, T - 1):
        x0 = task.initial_states(1, 3 * t, 3)
        reached = x0 if not t else simulate(task.problem, Staged(law.laws[:t]), x0, t).x[:, -1]
        np.testing.assert_allclose(data.x[3 * t : 3 * t + 3, 0], reached, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(data.labels.u[:, 0], data.x[:, 0] @ GAIN.T, rtol=1e-9, atol=1e-12)


def test_forward_switch_hands_over_to_lqr_inside_its_level_set():
    problem = catalogue.double_integrator()
    lqr = LqrExpert(problem)
    task = Task(problem, lqr, "double_integrator", 20)
    learner = Forward(replace(SMALL, steps=300, validation=0.0), switch=True)
    learned = learner.learn(task, [Pupil(0, 6), Pupil(1, 10)])
    for k, law in enumerate(learned.controllers):
        assert isinstance(law.laws[-1], LqrExpert)
        times = len(law.laws) - 1
        assert 0 < times < 20
        assert learned.queries[k] == times * (6, 10)[k]
        last = learned.rollouts[k].x[-(6, 10)[k] :, 0]
        assert (np.einsum("bi,ij,bj->b", last, lqr.P, last) > lqr.level).any()
    loops = unfold(evaluate(problem, learned, np.array([[2.0, 0.5]]), 30), 2)
    assert all(np.abs(loop.x[0, -1]).max() < 1e-3 for loop in loops)


def test_forward_training_needs_labels_to_begin_with(task):
    class Mute:
        problem = task.problem

        def __call__(self, x):
            return Control(np.full((len(x), 1), np.nan), np.full(len(x), -1, np.int8))

    with pytest.raises(ValueError, match="no usable label in any initial state of 2 of 2 pupils"):
        Forward(SMALL).learn(replace(task, expert=Mute()), PUPILS)


def test_a_conservative_mixture_begins_at_the_expert_and_forgets_it(task):
    learned = Cmile(SMALL, rounds=3, step=0.25).learn(task, [Pupil(0, 9)])
    (data,) = learned.rollouts
    np.testing.assert_allclose(data.u[:3], data.labels.u[:3], rtol=1e-12)
    assert np.abs(data.u[3:] - data.labels.u[3:]).max() > 1e-6
    weights = np.array(learned.controllers[0].weights)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights[1:] / weights[:-1], 4 / 3)
    whole = Cmile(SMALL, rounds=3, step=1.0).learn(task, [Pupil(0, 9)])
    assert whole.controllers[0].weights == (0, 0, 1)


@pytest.mark.parametrize(
    "learner",
    [
        Forward(SMALL),
        Forward(replace(SMALL, steps=300), switch=True),
        Cmile(SMALL, rounds=2),
        Dagger(SMALL, 2),
    ],
    ids=["forward", "switch", "cmile", "dagger"],
)
def test_a_controller_survives_its_checkpoint_whatever_it_is_made_of(learner, tmp_path):
    problem = catalogue.double_integrator()
    task = Task(problem, LqrExpert(problem), "double_integrator", 12)
    learned = learner.learn(task, [Pupil(0, 6), Pupil(1, 8)])
    save_policy(tmp_path / "c.pt", learned, 1)
    again = load_controller(tmp_path / "c.pt")
    x0 = np.array([[1.0, 0.5], [-2.0, 1.0]])
    loops = [simulate(problem, law, x0, 14) for law in (again, learned.controllers[1])]
    np.testing.assert_array_equal(loops[0].x, loops[1].x)
    if len(learned.fits) > 1:
        with pytest.raises(
            ValueError, match="policies that make one controller; load it with load_controller"
        ):
            load_policy(tmp_path / "c.pt")


def test_a_chunk_of_one_is_cloning_and_a_longer_one_plans_the_experts_inputs(task):
    plain, one = (replace(SMALL, policy=Mlp(8, 2, chunk=c)) for c in (1, 1))
    loops = simulate(task.problem, task.expert, np.array([[1.0, 0.5]]), T).x[:, :-1]
    np.testing.assert_array_equal(*(along(c.learn(task, PUPILS), loops) for c in (plain, one)))
    learned = replace(LINEAR, steps=1500, policy=replace(LINEAR.policy, chunk=3)).learn(task, PUPILS)
    closed = task.problem.system.A + task.problem.system.B @ GAIN
    plan = np.concatenate([GAIN, GAIN @ closed, GAIN @ closed @ closed])
    weight = learned.last.params["body.layers.0.weight"][1].numpy()
    np.testing.assert_allclose(weight, plan, atol=5e-3)
    own, expert = (
        simulate(task.problem, law, np.array([[1.5, -0.5]]), 9).x
        for law in (learned.controllers[1], task.expert)
    )
    np.testing.assert_allclose(own, expert, atol=0.05)


def test_windows_and_plans_of_an_episode():
    x = np.arange(10.0).reshape(1, 5, 2)
    u = np.arange(4.0).reshape(1, 4, 1)
    got = samples(Rollouts(x, u, np.array([4])), history=3, chunk=2)
    assert got.u.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert got.x.tolist() == [[0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    labels = Control(u + 10, np.array([[2, 2, -1, 2]], np.int8))
    got = samples(Rollouts(x, u, np.array([4]), labels=labels), chunk=2)
    assert got.u.tolist() == [[10, 11]]
    assert len(samples(Rollouts(x, u, np.array([4])), chunk=5)) == 0


def test_a_history_shows_what_one_state_hides(task):
    """The expert's own previous input is a function of two states, not of one."""
    loops = simulate(task.problem, task.expert, np.random.default_rng(0).uniform(-2, 2, (8, 2)), T)
    before = np.concatenate([np.zeros((8, 1, 1)), loops.u[:, :-1]], axis=1)
    seen = samples(replace(loops, labels=replace(loops.labels, u=before)), history=2)
    later = np.tile(np.arange(T) > 0, 8)
    rows = np.concatenate([seen.x, np.ones((len(seen), 1))], axis=1)[later]
    fit = np.linalg.lstsq(rows, seen.u[later], rcond=None)[0]
    np.testing.assert_allclose(rows @ fit, seen.u[later], atol=1e-9)


def test_wrong_options_are_refused(task):
    for make, message in [
        (lambda: Dagger(rounds=0), "rounds must be at least 1"),
        (lambda: Dagger(schedule="all"), "schedule must be first, exponential or linear"),
        (lambda: NoiseInjection(scale=-1), "scale must not be negative"),
        (lambda: NoiseInjection(share=2), r"share must lie in \[0, 1\]"),
        (lambda: Cmile(step=0), r"step must lie in \(0, 1\]"),
        (lambda: Dart(alpha=-1), "alpha must not be negative"),
        (lambda: Dart(most=0), "most must be positive, got 0"),
        (lambda: Forward(replace(SMALL, policy=Mlp(chunk=2))), "got history = 1 and chunk = 2"),
        (lambda: replace(SMALL, jacobian=1.0, policy=Mlp(history=2)), "need a policy without history"),
        (lambda: replace(SMALL, jacobian=1.0, loss="curvature"), "loss and metric without curvature"),
        (lambda: Pupil(0, 0), "demonstrations must be at least 1"),
        (lambda: Dagger(SMALL, rounds=4).learn(task, [Pupil(0, 3)]), "4 rounds need at least as many"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
