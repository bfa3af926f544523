"""What happened to a solve: stable integers whose meaning is a sentence with a remedy."""

from enum import IntEnum


class Status(IntEnum):
    """Outcome of labelling one state; usable means ``status > 0``. Stored as int8, never renumbered."""

    optimal = 2
    optimal_inaccurate = 1
    unset = 0
    infeasible = -1
    unbounded = -2
    iteration_limit = -3
    numerical_error = -4
    invalid_input = -5

    @property
    def sentence(self) -> str:
        """What it means and what to do about it."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.optimal: "the label is optimal to the documented accuracy",
    Status.optimal_inaccurate: (
        "the label is usable but not exact (a softened constraint gave way, or the back end met only "
        "its loose tolerance); tighten the back end's options or start from a feasible state"
    ),
    Status.unset: "nothing was computed for this entry (beyond the length of an episode)",
    Status.infeasible: (
        "no plan satisfies the constraints from this state; start inside the feasible set, lengthen "
        "or relax the constraints, or use Online(soft=...)"
    ),
    Status.unbounded: "the cost has no lower bound over the constraints; R must be positive definite",
    Status.iteration_limit: (
        "the iteration limit was reached before the tolerance; rescale the problem or raise max_iterations"
    ),
    Status.numerical_error: (
        "the solver broke down numerically; check the scaling of A, B, Q, R and the constraint rows"
    ),
    Status.invalid_input: "the state held NaN or infinity; outputs of this row are NaN",
}
