import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench import statistics as st

numbers = some.lists(some.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(numbers)
def test_bootstrap_holds_its_estimate_and_is_seeded(values):
    one, two = st.bootstrap(values, resamples=50), st.bootstrap(values, resamples=50)
    assert one == two
    assert min(values) <= one.low <= one.high <= max(values)
    assert one.estimate == np.median(values)


def test_bootstrap_changes_with_the_seed():
    values = np.random.default_rng(0).normal(size=40)
    assert st.bootstrap(values, seed=0).low != st.bootstrap(values, seed=1).low


def test_bootstrap_of_the_mean_has_the_width_of_the_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    interval = st.bootstrap(values, "mean")
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_median_interval_is_the_table_of_the_sign_test():
    assert (st.median_interval(np.arange(8.0)).low, st.median_interval(np.arange(8.0)).high) == (0, 7)
    nine = st.median_interval(np.arange(9.0))
    assert (nine.low, nine.high) == (1, 7)  # coverage 96.1 %, the textbook's choice for 9
    five = st.median_interval(np.arange(5.0))
    assert (five.low, five.high) == (-np.inf, np.inf)


def test_median_interval_covers():
    rng = np.random.default_rng(0)
    draws = [st.median_interval(rng.exponential(size=11)) for _ in range(2000)]
    assert np.mean([d.low <= np.log(2) <= d.high for d in draws]) >= 0.95


def test_three_seeds_never_decide_however_large_the_difference():
    assert st.verdict(st.paired_difference([9e9] * 3, [0.0] * 3)) == st.UNDECIDED
    assert st.verdict(st.Interval(5, 4, 6, samples=3)) == st.UNDECIDED


def test_verdict_says_holds_fails_or_undecided():
    up, down, across = (st.Interval(m, m - 1, m + 1, samples=8) for m in (2, -2, 0))
    assert st.verdict(up) == "holds"
    assert st.verdict(down) == "fails"
    assert st.verdict(across) == st.UNDECIDED


def test_a_claim_about_all_holds_only_if_each_does():
    up, noise, down = np.arange(1.0, 10), np.arange(-4.0, 5), -np.arange(1.0, 10)
    holds = st.claim_all("all", {"a": up, "b": up + 1})
    assert (holds.verdict, holds.interval.low, holds.interval.estimate) == ("holds", 2.0, 5.0)
    assert st.claim_all("all", {"a": up, "b": noise}).verdict == st.UNDECIDED
    fails = st.claim_all("all", {"a": up, "b": down})
    assert fails.verdict == "fails"
    assert fails.interval == fails.numbers["b"]
    assert st.claim_all("all", {}).verdict == st.UNDECIDED
    assert st.claim_all("all", {"a": [9.0, 9.0, 9.0]}).verdict == st.UNDECIDED


def test_failures_are_corrected_for_their_number():
    shifted = np.array([-3.0, -2, -2, -2, -2, -1, -1, -1, 1])  # at 95 % below 0, at 99 % not
    assert st.claim_all("one", {"a": shifted}).verdict == "fails"
    assert st.claim_all("many", {str(i): shifted for i in range(5)}).verdict == st.UNDECIDED


def test_rank_correlation_is_kendalls():
    assert st.rank_correlation([1, 2, 3], [[1, 5, 9], [9, 5, 1], [1, 1, 1]]).tolist() == [1, -1, 0]
    assert st.rank_correlation([1, 2, 3, 4], [[2, 1, 4, np.inf]])[0] == pytest.approx(4 / 6)


def test_paired_difference_removes_what_pairs_share():
    shared = np.random.default_rng(0).normal(size=12) * 100
    interval = st.paired_difference(shared + 1, shared)
    assert (interval.low, interval.high) == pytest.approx((1, 1))


def test_paired_difference_with_infinities():
    interval = st.paired_difference([np.inf] * 8, [np.inf] * 8)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)
    assert st.paired_difference([np.inf] * 8, [1.0] * 8).low == np.inf


def test_sample_complexity_is_the_first_number_that_stays_below():
    metric = np.tile([9.0, 0.5, 2.0, 0.5, 0.4], (6, 1))
    found = st.sample_complexity([1, 2, 4, 8, 16], metric, target=1.0)
    assert (found.demonstrations, found.censored, found.low, found.high) == (8, False, 8, 8)


def test_sample_complexity_that_is_not_met_is_censored():
    found = st.sample_complexity([5, 20], np.full((4, 2), np.inf), target=1.0)
    assert (found.demonstrations, found.censored, found.high) == (20, True, np.inf)


def test_sample_complexity_interval_spans_the_repetitions():
    metric = np.array([[0.1, 0.1, 0.1]] * 3 + [[9, 0.1, 0.1]] * 2 + [[9, 9, 9]])
    found = st.sample_complexity([1, 10, 100], metric, target=1.0)
    assert (found.demonstrations, found.censored, found.low, found.high) == (10, False, 1, np.inf)


@given(some.floats(-3, 3), some.floats(0.01, 100))
def test_slope_of_a_power_law(power, scale):
    x = np.array([5.0, 20.0, 50.0, 100.0])
    interval = st.slope(x, scale * x**power * np.ones((3, 1)))
    assert [interval.estimate, interval.low, interval.high] == pytest.approx([power] * 3, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: st.bootstrap([]), "values must be a vector"),
        (lambda: st.bootstrap([1, np.nan]), "without NaN"),
        (lambda: st.paired_difference([1, 2], [1]), r"a and b must be pairs, got \(2,\) and \(1,\)"),
        (lambda: st.sample_complexity([2, 1], np.ones((1, 2)), 1), "demonstrations must increase"),
        (lambda: st.sample_complexity([1, 2], np.ones((1, 3)), 1), r"metric must be \(repetitions, 2\)"),
        (lambda: st.slopes([1, 1], [[1, 2]]), "at least two different x"),
        (lambda: st.slopes([1, 2], [[0, 2]]), "positive finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        call()
