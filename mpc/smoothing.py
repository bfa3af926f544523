"""Randomised smoothing: the exact law averaged over shifts of the state."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, positive_number, whole_number
from mpc.expert import Control, blanked, state_rows
from mpc.online import OnlineExpert
from mpc.problem import ControlProblem
from mpc.seeds import seed_for
from mpc.status import Status

_SOLVES_AT_ONCE = 1 << 16
_LAWS = ("gaussian", "ball")
_TREATMENTS = ("input_only", "drop", "refuse")


@dataclass(frozen=True, eq=False)
class SmoothedExpert:
    """``u(x) = mean_i pi(x + sigma w_i)`` with pi exact MPC: the rival of the barrier in arXiv 2306.01914.

    The shifts are drawn once, in pairs w, -w (their mean is zero, so a symmetric problem keeps
    u(0) = 0), and shared by all states, so a label is a function of the state; the Jacobian is the mean
    of the Jacobians. The law is piecewise affine all the same: measure its
    smoothness by ``hessian``, not by differences. It has no value, gradient or curvature; it may
    leave the constraints and destabilise the loop.

    Args:
        sigma: radius of the shifts > 0, in the units of the state.
        samples: number of shifts.
        law: 'gaussian', w ~ N(0, I); 'ball', w uniform in the unit ball.
        infeasible: what pi is where x + sigma w has no plan, which the paper leaves open:
            'input_only', MPC with the constraints of U alone (the default); 'drop', the shift is left
            out of the mean (infeasible if all are); 'refuse', the state is infeasible.
        seed: of the shifts.

    Raises:
        ValueError: for sigma <= 0, samples < 1, an unknown law or treatment.
    """

    problem: ControlProblem
    sigma: float
    samples: int = 64
    law: str = "gaussian"
    infeasible: str = "input_only"
    seed: int = 0
    _shifts: Array = field(init=False, repr=False)
    _exact: OnlineExpert = field(init=False, repr=False)
    _inputs_only: OnlineExpert = field(init=False, repr=False)

    def __post_init__(self) -> None:
        positive_number("sigma", self.sigma, "without shifts use Online()")
        whole_number("samples", self.samples, 1)
        for name, value, known in (("law", self.law, _LAWS), ("infeasible", self.infeasible, _TREATMENTS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}")
        free = self.problem.with_(X=None, Xf=None, XU=None)
        object.__setattr__(self, "_exact", OnlineExpert(self.problem))
        object.__setattr__(self, "_inputs_only", OnlineExpert(free))
        rng = np.random.default_rng(seed_for("smoothing", self.law, self.seed))
        object.__setattr__(self, "_shifts", _draw(rng, self.law, self.samples, self.problem.n))

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        parts = [
            self._mean(states[start : start + self._batch]) for start in range(0, len(states), self._batch)
        ]
        if not parts:
            parts = [self._mean(states)]
        u, status, dudx = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
        return blanked(Control(u, status, dudx=dudx), finite)

    @property
    def _batch(self) -> int:
        return max(1, _SOLVES_AT_ONCE // self.samples)

    def _mean(self, x: Array) -> tuple[Array, np.ndarray, Array]:
        """Means over the shifts, summed in their order."""
        count = np.zeros(len(x))
        status = np.full(len(x), Status.optimal, np.int8)
        u, dudx = np.zeros((len(x), self.problem.m)), np.zeros((len(x), self.problem.m, self.problem.n))
        shifted = (x[None] + self.sigma * self._shifts[:, None]).reshape(-1, self.problem.n)
        every = self._shifted(shifted)
        for i in range(self.samples):
            one = every[i * len(x) : (i + 1) * len(x)]
            good = one.usable
            count += good
            u[good] += one.u[good]
            assert one.dudx is not None
            dudx[good] += one.dudx[good]
            if self.infeasible == "drop":
                broken = ~good & (one.status != Status.infeasible)
                status[broken] = one.status[broken]
            else:
                status[~good] = one.status[~good]
        status[count == 0] = np.minimum(status[count == 0], Status.infeasible)
        count = np.maximum(count, 1)
        return u / count[:, None], status, dudx / count[:, None, None]

    def _shifted(self, x: Array) -> Control:
        """pi at shifted states, with the chosen treatment of those without a plan."""
        control = self._exact(x)
        lost = np.flatnonzero(control.status == Status.infeasible)
        if self.infeasible != "input_only" or not lost.size:
            return control
        instead = self._inputs_only(x[lost])
        names = ("u", "status", "dudx")
        merged = {name: control.arrays()[name].copy() for name in names}
        for name in names:
            merged[name][lost] = instead.arrays()[name]
        return Control(**merged)

    def hessian(self, x: ArrayLike, nodes: int = 1024) -> Array:
        """Hessian of the law with infinitely many shifts, ``(B, m, n, n)``: see ``hessian_with_error``."""
        return self.hessian_with_error(x, nodes)[0]

    def hessian_with_error(self, x: ArrayLike, nodes: int = 1024) -> tuple[Array, Array]:
        """Estimate of the Hessian and its standard error, both ``(B, m, n, n)``.

        With J the Jacobian of pi, gaussian shifts give Stein's identity
        ``E[J(x + sigma w) w'] / sigma``; a ball gives, by the divergence theorem,
        ``(n / sigma) E[J(x + sigma s) s']`` with s uniform on the unit sphere. Nodes come in pairs +-w.
        For a ball in n <= 2 they are a quadrature rule (n = 1: exact; n = 2: equal angles), otherwise
        draws from the seed. NaN where a node has no label.
        """
        states, finite = state_rows(self.problem, x)
        directions, factor = self._nodes(nodes)
        m, n = self.problem.m, self.problem.n
        mean, spread = np.full((len(states), m, n, n), np.nan), np.full((len(states), m, n, n), np.nan)
        for i in np.flatnonzero(finite):
            ahead = self._shifted(states[i] + self.sigma * directions)
            behind = self._shifted(states[i] - self.sigma * directions)
            if not (ahead.usable.all() and behind.usable.all()):
                continue
            assert ahead.dudx is not None
            assert behind.dudx is not None
            odd = (ahead.dudx - behind.dudx) / 2
            terms = factor / self.sigma * np.einsum("kia,ke->kiae", odd, directions)
            terms = (terms + terms.transpose(0, 1, 3, 2)) / 2
            mean[i] = terms.mean(axis=0)
            if len(terms) > 1:
                spread[i] = terms.std(axis=0, ddof=1) / np.sqrt(len(terms))
            else:
                spread[i] = 0.0
        return mean, spread

    def _nodes(self, count: int) -> tuple[Array, float]:
        """Half of the symmetric nodes and the factor of the identity."""
        n = self.problem.n
        if self.law == "ball" and n == 1:
            return np.ones((1, 1)), 1.0
        if self.law == "ball" and n == 2:
            angles = np.pi * (np.arange(count) + 0.5) / count
            return np.stack([np.cos(angles), np.sin(angles)], axis=1), 2.0
        rng = np.random.default_rng(seed_for("hessian", self.law, self.seed))
        if self.law == "gaussian":
            return rng.standard_normal((count, n)), 1.0
        draws = rng.standard_normal((count, n))
        return draws / np.linalg.norm(draws, axis=1, keepdims=True), float(n)


def _draw(rng: np.random.Generator, law: str, samples: int, n: int) -> Array:
    """Standard normal vectors, or vectors uniform in the unit ball, in pairs w, -w: (samples, n)."""
    half = rng.standard_normal((-(-samples // 2), n))
    if law == "ball":
        radii = rng.uniform(size=(len(half), 1)) ** (1 / n)
        half *= radii / np.linalg.norm(half, axis=1, keepdims=True)
    return np.stack([half, -half], axis=1).reshape(-1, n)[:samples]
