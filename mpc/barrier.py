"""Barrier MPC: the exact law smoothed by a recentred log-barrier of fixed weight."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from mpc.arrays import Array, frozen, positive_number
from mpc.condense import LeastDistance, least_distance
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.barrier import label_states, scratch_for
from mpc.kernels.threads import run_blocks
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, stage_rows
from mpc.rolling import by_loops, first_rows, plant
from mpc.stages import StageProgram
from mpc.status import Status

_STATES_AT_ONCE = 256  # of the Hessian's dense arrays
_LEAST_ROWS, _MOST_ROWS = 128, 2048  # of a block: it ends with idle lanes, so it should not be short
_PATIENCE = 50  # Newton steps after which a state may be infeasible


@dataclass(frozen=True, eq=False)
class BarrierExpert:
    """MPC that minimises ``V^eta(x0, u) = V(x0, u) - eta [sum_i log phi_i(x0, u) - d'u]``.

    ``phi`` are the slacks of all rows of the horizon, exactly as given, and
    ``d = grad_u sum_i log phi_i(0, u)`` at u = 0 recentres the barrier, so that the law maps 0 to 0
    (Pfrommer et al., arXiv 2306.01914 and 2410.00859). The law is smooth, within O(sqrt(eta)) of the
    exact one, and ``curvature`` grows like 1/eta where a constraint of stage 0 is nearly active: cap
    it before using it as a weight.

    Args:
        problem: the origin must lie strictly inside all of its constraints.
        eta: barrier weight > 0, in the units of the cost.
        max_iterations: limit on Newton steps of one state.

    Raises:
        ValueError: if eta <= 0, or the origin is not strictly inside the constraints.
    """

    problem: ControlProblem
    eta: float
    max_iterations: int = 200
    _program: StageProgram = field(init=False, repr=False)
    _form: LeastDistance = field(init=False, repr=False)

    def __post_init__(self) -> None:
        positive_number("eta", self.eta, "for the exact law use Online()")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")
        recentre, form = recentring(self.problem), least_distance(self.problem)
        object.__setattr__(self, "_program", StageProgram.of(self.problem, form, recentre))
        object.__setattr__(self, "_form", form)

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``; infeasible where no strictly feasible plan exists."""
        states, finite = state_rows(self.problem, x)
        return blanked(self._label(states, self._weights(states), whole=False)[0], finite)

    def sweep(self, x: ArrayLike, eta: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)`` with a weight ``eta (B,)`` for each in place of the expert's own.

        So a sweep over eta is one batch. Each row has the bits that ``BarrierExpert(problem, eta=...)`` of
        its weight gives it.

        Raises:
            ValueError: if eta does not have shape (B,) or is not positive.
        """
        states, finite = state_rows(self.problem, x)
        weights = np.array(frozen("eta", eta, (len(states),)))
        if not (weights > 0).all():
            raise ValueError(f"eta must be positive in every row, got {weights.min()}")
        return blanked(self._label(states, weights, whole=False)[0], finite)

    def iterations(self, x: ArrayLike) -> np.ndarray:
        """Newton steps taken for each state of ``x (B, n)``."""
        states, _ = state_rows(self.problem, x)
        return self._label(states, self._weights(states), whole=False)[2]

    def hessian(self, x: ArrayLike) -> Array:
        """Second derivative of the action, ``(B, m, n, n)``; NaN rows where there is no label.

        With the plan written as ``z`` (see ``mpc.condense``), residuals ``phi`` and their derivative
        ``psi_a = d phi / d x_a`` along the solution, differentiating the optimality condition twice::

            (2 I + eta M'Phi^-2 M) z_ab = -2 eta M'Phi^-3 (psi_a psi_b)
        """
        states, finite = state_rows(self.problem, x)
        control, plans, _ = self._label(states, self._weights(states), whole=True)
        usable = np.flatnonzero(finite & (control.status == Status.optimal))
        out = np.full((len(states), self.problem.m, self.problem.n, self.problem.n), np.nan)
        for start in range(0, len(usable), _STATES_AT_ONCE):
            rows = usable[start : start + _STATES_AT_ONCE]
            out[rows] = self._hessian(states[rows], plans[rows])
        return out

    def _hessian(self, x: Array, plans: Array) -> Array:
        form, eta, m = self._form, self.eta, self.problem.m
        z = self._distances(x, plans)
        phi = form.w + x @ form.E.T - z @ form.M.T
        newton = 2 * np.eye(form.M.shape[1]) + eta * np.einsum(
            "ci,bc,cj->bij", form.M, phi**-2, form.M, optimize=True
        )
        slope = np.linalg.solve(
            newton, eta * np.einsum("ci,bc,ca->bia", form.M, phi**-2, form.E, optimize=True)
        )
        psi = form.E - form.M @ slope
        push = -2 * eta * np.einsum("ci,bc,bca,bce->biae", form.M, phi**-3, psi, psi, optimize=True)
        flat = np.linalg.solve(newton, push.reshape(*push.shape[:2], -1)).reshape(push.shape)
        to_inputs = solve_triangular(form.L[0], np.eye(m), lower=True).T
        return np.einsum("ij,bjae->biae", to_inputs, flat[:, :m])

    def _distances(self, x0: Array, plans: Array) -> Array:
        """Inputs ``(B, N, m)`` as ``z_k = L_k'(u_k - K_k x_k)``, (B, N m)."""
        x, z = x0, np.empty_like(plans)
        for k in range(self.problem.N):
            z[:, k] = (plans[:, k] - x @ self._form.K[k].T) @ self._form.L[k]
            x = self.problem.system.step(x, plans[:, k])
        return z.reshape(len(x0), -1)

    def _weights(self, x: Array) -> Array:
        return np.full(len(x), float(self.eta))

    @cached_property
    def _strict(self) -> OnlineExpert:
        """Exact MPC of slightly tightened constraints: it proves where no strictly feasible plan exists."""
        return OnlineExpert(tightened(self.problem))

    def _without_proof(self, control: Control, x: Array, failed: np.ndarray) -> np.ndarray:
        """The failed rows that are not proved infeasible; those that are get that status."""
        if not failed.size:
            return failed
        proved = self._strict(x[failed]).status == Status.infeasible
        control.status[failed[proved]] = Status.infeasible
        return failed[~proved]

    def _label(self, x: Array, eta: Array, *, whole: bool) -> tuple[Control, Array, np.ndarray]:
        """Labels, plans ``(B, N, m)`` where ``whole``, and Newton steps.

        The few states that are not solved soon are put to the active-set method: what it proves
        infeasible is so, and the others get all the Newton steps that are allowed.
        """
        control, plans, iterations = self._solve(x, eta, min(_PATIENCE, self.max_iterations), whole=whole)
        failed = np.flatnonzero((control.status < 0) & np.isfinite(x).all(axis=1))
        failed = self._without_proof(control, x, failed)
        if failed.size and self.max_iterations > _PATIENCE:
            late, late_plans, late_iterations = self._solve(
                x[failed], eta[failed], self.max_iterations, whole=whole
            )
            for name, value in control.arrays().items():
                value[failed] = late.arrays()[name]
            plans[failed], iterations[failed] = late_plans, late_iterations
        return control, plans, iterations

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control] | None:
        """Closed loops from ``x0 (E, n)`` within one call: states ``(E, steps, n)`` and labels of each.

        The same bits as ``steps`` calls. A loop ends with the first state that is not solved (its status is
        kept) or past the divergence limit. None where a state needs more patience than one call has.
        """
        rows = first_rows(x0, steps)
        limit = min(_PATIENCE, self.max_iterations)
        control, _, _ = self._solve(rows, self._weights(rows), limit, whole=False, steps=steps, w=w)
        failed = np.flatnonzero((control.status < 0) & (control.status != Status.invalid_input))
        if self._without_proof(control, rows, failed).size and self.max_iterations > _PATIENCE:
            return None
        return by_loops(rows, control, steps)

    def _solve(
        self, x: Array, eta: Array, limit: int, *, whole: bool, steps: int = 1, w: Array | None = None
    ) -> tuple[Control, Array, np.ndarray]:
        (n, m, N, c), count = self._program.sizes, len(x)
        status, iterations = np.zeros(count, np.int8), np.zeros(count, np.int64)
        u, dudx, curvature = _nan(count, m), _nan(count, m, n), _nan(count, m, m)
        value, gradient, cost = _nan(count), _nan(count, n), _nan(count)
        plans = _nan(count, N if whole else 0, m)
        labels = (status, u, dudx, value, gradient, curvature, cost, plans, iterations)
        loops = plant(self.problem, steps, w)

        def work(start: int, stop: int) -> None:
            label_states(
                start * steps, stop * steps, x, eta, loops, self._program.arrays,
                scratch_for(n, m, N, c), limit, labels,
            )  # fmt: skip

        effort = steps * N * (250 + 0.35 * (n + m) ** 3)  # measured on cases a to e of the speed benchmark
        run_blocks(count // steps, work, effort, max(_LEAST_ROWS // steps, 8), _MOST_ROWS)
        return Control(u, status, dudx, value, gradient, curvature, cost), plans, iterations


def _nan(*shape: int) -> Array:
    return np.full(shape, np.nan)


def tightened(problem: ControlProblem, margin: float = 1e-9) -> ControlProblem:
    """The problem with every bound ``h > 0`` reduced by the fraction ``margin``."""

    def shrink(polytope: Polytope | None) -> Polytope | None:
        return None if polytope is None else Polytope(polytope.G, (1 - margin) * polytope.h)

    return problem.with_(**{name: shrink(getattr(problem, name)) for name in ("X", "U", "Xf", "XU")})


def recentring(problem: ControlProblem) -> Array:
    """``d = grad_u sum_i log phi_i(0, u)`` at u = 0 as (N, m): ``-1/h_i`` of each row, pulled back.

    Adjoint sweep: ``q_k = -C_k'(1/h_k) + A'q_{k+1}``, ``d_k = -D_k'(1/h_k) + B'q_{k+1}``.

    Raises:
        ValueError: if the origin is not strictly inside the constraints, where log phi has no gradient.
    """
    d = np.empty((problem.N, problem.m))
    costate = np.zeros(problem.n)
    for k in reversed(range(problem.N + 1)):
        C, D, h = stage_rows(problem, k)
        if not (h > 0).all():
            row = int(np.argmin(h))
            raise ValueError(
                f"the barrier is recentred at the origin, which must satisfy every constraint strictly, "
                f"but row {row} of stage {k} has h = {h[row]:g}; shift the coordinates so that it does"
            )
        if k < problem.N:
            d[k] = -D.T @ (1 / h) + problem.system.B.T @ costate
        costate = -C.T @ (1 / h) + problem.system.A.T @ costate
    return d
