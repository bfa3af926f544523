"""Statistics of a study: pure functions on arrays whose rows are paired repetitions (seeds).

Two kinds of intervals are used and never mixed: seeded percentile bootstraps for the bands and
tables of a report, and the exact, distribution-free interval of a median (order statistics) for
verdicts, because a bootstrap over a handful of seeds covers less than it claims.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.seeds import seed_for

Verdict = Literal["holds", "fails", "not decidable at this size"]
UNDECIDED: Verdict = "not decidable at this size"
LEAST_PAIRS = 8
"""Fewest paired repetitions for a verdict. All of 8 differences have one sign by chance alone with
probability 2/2^8 < 1%; of 3, with 25%, whatever the size of the differences."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided interval of the given confidence, from ``samples`` repetitions."""

    estimate: float
    low: float
    high: float
    samples: int
    confidence: float = 0.95

    def __str__(self) -> str:
        if not self.samples:
            return "nothing to compare"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Claim:
    """A claim of a study with its verdict, the interval that it rests on, and the numbers beside it."""

    claim: str
    verdict: Verdict
    interval: Interval
    numbers: Mapping[str, Interval]


def bootstrap(
    values: ArrayLike,
    statistic: Literal["median", "mean"] = "median",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of the median or mean of ``values (R,)``; inf is kept, NaN refused."""
    data = _vector("values", values)
    reduce = {"median": np.median, "mean": np.mean}[statistic]
    return _bootstrap_rows(len(data), lambda rows: float(reduce(data[rows])), confidence, resamples, seed)


def _bootstrap_rows(
    count: int, statistic: Callable[[np.ndarray], float], confidence: float, resamples: int, seed: int
) -> Interval:
    """Percentiles of ``statistic(rows)`` over rows drawn with replacement, and its value on all rows."""
    rng = np.random.default_rng(seed_for("bootstrap", seed))
    draws = [statistic(rng.integers(0, count, count)) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], method="nearest")
    return Interval(statistic(np.arange(count)), float(low), float(high), count, confidence)


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Exact interval of the median from order statistics: ``[v_(k), v_(R+1-k)]``.

    With the largest k for which ``P(Binomial(R, 1/2) < k) <= (1 - confidence)/2``: the coverage is at
    least ``confidence`` for any continuous law (David and Nagaraja, Order Statistics, section 7.1).
    With fewer than 6 values no such k exists at 95 %, and the interval is the whole line.
    """
    data = np.sort(_vector("values", values))
    R, tail, k = len(data), (1 - confidence) / 2, 0
    below = 1.0
    while below / 2**R <= tail:
        k += 1
        below += comb(R, k)
    low, high = (data[k - 1], data[R - k]) if k else (-np.inf, np.inf)
    return Interval(float(np.median(data)), float(low), float(high), R, confidence)


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Exact interval of the median of ``a - b`` over pairs ``(R,)``; equal infinities differ by 0."""
    first, second = _vector("a", a), _vector("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must be pairs, got {first.shape} and {second.shape}")
    return median_interval(difference(first, second), confidence)


def difference(a: Array, b: Array) -> Array:
    """``a - b``, 0 where both are the same infinity."""
    same = a == b
    return np.where(same, 0.0, a) - np.where(same, 0.0, b)


@dataclass(frozen=True)
class SampleComplexity:
    """Smallest number of demonstrations that meets a target.

    Args:
        demonstrations: that number; the largest one tried where ``censored``.
        censored: the target is not met at the largest number tried: the truth is above it.
        low, high: bootstrap interval over repetitions; ``high`` is inf where it is censored.
    """

    demonstrations: int
    censored: bool
    low: float
    high: float
    confidence: float = 0.95


def sample_complexity(
    demonstrations: Sequence[int],
    metric: ArrayLike,
    target: float,
    *,
    quantile: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> SampleComplexity:
    """Smallest n from which on the ``quantile`` over repetitions of ``metric (R, S)`` stays <= target.

    Args:
        demonstrations: the S numbers tried, increasing.
        metric: one row for each repetition, one column for each number; inf marks a failure.
    """
    sizes, data = np.asarray(demonstrations), _matrix("metric", metric, len(demonstrations))
    if (np.diff(sizes) <= 0).any():
        raise ValueError(f"demonstrations must increase, got {list(demonstrations)}")

    def smallest(rows: np.ndarray) -> float:
        level = np.quantile(data[rows], quantile, axis=0, method="higher")
        met = np.logical_and.accumulate((level <= target)[::-1])[::-1]
        return float(sizes[np.argmax(met)]) if met.any() else np.inf

    interval = _bootstrap_rows(len(data), smallest, confidence, resamples, seed)
    censored = not np.isfinite(interval.estimate)
    reached = int(sizes[-1]) if censored else int(interval.estimate)
    return SampleComplexity(reached, censored, interval.low, interval.high, confidence)


def slopes(x: ArrayLike, y: ArrayLike) -> Array:
    """Least-squares slope of each row of ``log y (R, S)`` over ``log x (S,)``: (R,)."""
    logs = np.log(_vector("x", x))
    data = np.log(_matrix("y", y, len(logs)))
    if not (np.isfinite(logs).all() and np.isfinite(data).all()) or np.ptp(logs) == 0:
        raise ValueError("slopes need positive finite x and y with at least two different x")
    centred = logs - logs.mean()
    return data @ centred / (centred @ centred)


def slope(x: ArrayLike, y: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean log-log slope over repetitions ``y (R, S)``."""
    return bootstrap(slopes(x, y), "mean", confidence, seed=seed)


def verdict(interval: Interval, least_pairs: int = LEAST_PAIRS) -> Verdict:
    """Verdict on the claim that a quantity is positive.

    'holds' when its interval lies above 0, 'fails' when it lies at or below 0, else 'not decidable at
    this size'; so it is with fewer than ``least_pairs`` repetitions, whatever the interval.
    """
    if interval.samples < least_pairs or interval.low <= 0 < interval.high:
        return UNDECIDED
    return "holds" if interval.low > 0 else "fails"


def claim_all(claim: str, differences: Mapping[str, ArrayLike], confidence: float = 0.95) -> Claim:
    """The claim that the median of every one of several paired differences ``(R,)`` is positive.

    It holds when each exact interval lies above 0: an intersection-union test, which needs no
    correction for their number. It fails when one of them, at a confidence corrected for their number
    (Bonferroni), lies at or below 0. The interval shown is the one that lies lowest.
    """
    if not differences:
        nothing = Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
        return Claim(claim, UNDECIDED, nothing, {})
    intervals = {name: median_interval(values, confidence) for name, values in differences.items()}
    strict = 1 - (1 - confidence) / len(differences)
    corrected = [median_interval(values, strict) for values in differences.values()]
    lowest = min(intervals.values(), key=lambda interval: (interval.low, interval.estimate))
    decision: Verdict = UNDECIDED
    if all(verdict(interval) == "holds" for interval in intervals.values()):
        decision = "holds"
    elif any(verdict(interval) == "fails" for interval in corrected):
        decision = "fails"
    return Claim(claim, decision, lowest, intervals)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Array:
    """Kendall's tau-a of each row of ``y (R, S)`` with ``x (S,)``: (R,), in [-1, 1]; inf ranks last."""
    order = _vector("x", x)
    data = _matrix("y", y, len(order))
    if len(order) < 2:
        raise ValueError("x must hold at least two numbers to be ranked")
    i, j = np.triu_indices(len(order), 1)
    signs = np.sign(order[i] - order[j]) * (np.greater(data[:, i], data[:, j]) * 2.0 - 1.0)
    signs[data[:, i] == data[:, j]] = 0.0
    return signs.mean(axis=1)


def _vector(name: str, values: ArrayLike) -> Array:
    data = np.asarray(values, float)
    if data.ndim != 1 or not data.size or np.isnan(data).any():
        raise ValueError(f"{name} must be a vector of at least one number without NaN, got {values!r}")
    return data


def _matrix(name: str, values: ArrayLike, columns: int) -> Array:
    data = np.asarray(values, float)
    if data.ndim != 2 or data.shape[1] != columns or not len(data) or np.isnan(data).any():
        raise ValueError(f"{name} must be (repetitions, {columns}) without NaN, got shape {data.shape}")
    return data
