"""The label's switch from status to error."""

import numpy as np
import pytest

from mpc import OnlineExpert, Status, catalogue


def test_or_raise_names_the_infeasible_state_and_the_remedy():
    expert = OnlineExpert(catalogue.double_integrator())
    x = np.array([[1.0, 0.0], [9.0, 9.0], [np.nan, 0.0]])
    control = expert(x)
    assert control.status.tolist() == [Status.optimal, Status.infeasible, Status.invalid_input]
    with pytest.raises(ValueError, match=r"x = \[9\. 9\.\] \(row 1\) is infeasible: .*start inside"):
        control.or_raise(x)
    assert control[:1].or_raise(x[:1]).u.shape == (1, 1)


def test_states_that_are_no_array_of_rows_are_refused():
    expert = OnlineExpert(catalogue.double_integrator())
    for x, message in [
        ([1.0, 0.0], r"x must have shape \(B, 2\), one state a row, got \(2,\); pass x\[None, :\]"),
        ([[1.0, 0.0], [2.0]], r"x must be an array of real numbers, got \[\[1.0, 0.0\], \[2.0\]\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            expert(x)


def test_every_status_has_a_sentence():
    assert all(len(status.sentence) > 20 for status in Status)
