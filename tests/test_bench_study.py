"""Verdicts of the study on made-up tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from bench.studies.barrier_vs_smoothing import equal_smoothness, verdicts

ETAS, SIGMAS = (0.01, 1.0, 100.0), (0.5, 5.0)


def table(barrier, smoothed, reps=8, success=0.2):
    """Barrier's Hessian norm is eta^-1/2, the smoothed one's 1/sigma; errors are the functions given."""
    rng = np.random.default_rng(0)
    rows = []
    for rep in range(reps):
        for n in (20, 50):
            noise = 1 + 0.01 * rng.random()
            shared = {"rep": rep, "demonstrations": n, "status": "ok", "test_episodes": 200}
            rows.append(
                {**shared, "expert": "online", "expert_kind": "online", "smoothing": np.nan}
                | {"hessian_max": np.nan, "imitation_error_mean": 1.0, "expert_success_rate": 1.0}
            )
            for kind, values, norm, error in (
                ("barrier", ETAS, lambda v: v**-0.5, barrier),
                ("smoothed", SIGMAS, lambda v: 1 / v, smoothed),
            ):
                rows += [
                    {**shared, "expert": f"{kind} {v}", "expert_kind": kind, "smoothing": v}
                    | {"hessian_max": norm(v), "imitation_error_mean": error(norm(v)) * noise}
                    | {"expert_success_rate": 1.0 if kind == "barrier" or v < 5 else success}
                    for v in values
                ]
    return pd.DataFrame(rows)


def test_all_three_claims_hold_where_they_are_true():
    found = verdicts(table(barrier=lambda h: h, smoothed=lambda h: 3 * h))
    assert [claim.verdict for claim in found] == ["holds"] * 5
    assert found[0].interval.estimate == pytest.approx(np.log(3))
    assert set(found[0].numbers) == {"sigma=0.5", "sigma=5"}
    assert found[1].interval.estimate == 1.0
    assert found[4].interval.estimate == pytest.approx(0.8)


def test_they_fail_where_they_are_false():
    found = verdicts(table(barrier=lambda h: 1 / h, smoothed=lambda h: 0.5 / h, success=1.0))
    assert [claim.verdict for claim in found[:4]] == ["fails"] * 4
    assert found[4].verdict == "not decidable at this size"


def test_three_repetitions_decide_nothing_about_learners():
    found = verdicts(table(barrier=lambda h: h, smoothed=lambda h: 3 * h, reps=3))
    assert {claim.verdict for claim in found[:4]} == {"not decidable at this size"}


def test_smoothness_is_matched_in_the_log_of_the_norm_and_never_extrapolated():
    made = table(barrier=lambda h: h**2, smoothed=lambda h: h**2)
    rows = made[made["demonstrations"] == 20]
    matched = equal_smoothness(rows)
    assert np.concatenate(list(matched.values())) == pytest.approx(0, abs=1e-9)
    outside = rows.assign(hessian_max=rows["hessian_max"].where(rows["smoothing"] != 5.0, 1e-3))
    assert set(equal_smoothness(outside)) == {"sigma=0.5"}


def test_an_empty_or_partial_table_is_undecided():
    made = table(barrier=lambda h: h, smoothed=lambda h: h)
    for part in (made[made["expert_kind"] == "online"], made[:0]):
        assert {claim.verdict for claim in verdicts(part)} == {"not decidable at this size"}
