"""The barrier problem by Newton's method on dense matrices, in NumPy, many states at once.

``min 1/2 z'Hz + q'z - eta [sum_i log(h - G z)_i - d'z]`` has the optimality conditions::

    H z + q + eta d + G'y = 0,    G z + s = h,    y_i s_i = eta,    y, s > 0

Newton's step on these, with ``ds`` and ``dy`` eliminated, solves ``(H + G'diag(y/s)G) dz = ...``; the
weight falls to eta on the way, and steps keep y and s positive.
"""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array

_STEPS, _TO_THE_BOUNDARY, _SHRINK = 100, 0.99, 0.1


@dataclass(frozen=True, eq=False)
class DenseBarrier:
    """``H (p, p)``, ``G (c, p)``, ``d (p,)`` and ``eta``; ``q`` and ``h`` come with the states."""

    H: Array
    G: Array
    d: Array
    eta: float

    def solve(self, q: Array, h: Array, tolerance: float) -> tuple[Array, Array]:
        """Minimisers ``z (B, p)`` and their slacks ``(B, c)`` for ``q (B, p)``, ``h (B, c)``.

        A state is done when Newton's step at weight eta is below ``tolerance`` in every entry of z; NaN
        where 100 steps do not get there.
        """
        z = np.asarray(-np.linalg.solve(self.H, q.T).T, np.float64)
        s: Array = np.maximum(h - z @ self.G.T, 0.1 * (1 + np.abs(h)))
        y: Array = max(self.eta, 1.0) / s
        out_z, out_s, active = np.full_like(z, np.nan), np.full_like(s, np.nan), np.arange(len(q))
        for _ in range(_STEPS):
            step, mu, residual = self._advance(z, s, y, q[active], h[active])
            settled = np.maximum(step, residual) <= tolerance
            done = settled & (mu == self.eta)
            if done.any():
                out_z[active[done]], out_s[active[done]] = z[done], s[done]
                active, z, s, y = active[~done], z[~done], s[~done], y[~done]
            if not active.size:
                break
        return out_z, out_s

    def _advance(self, z: Array, s: Array, y: Array, q: Array, h: Array) -> tuple[Array, Array, Array]:
        """One step in place; the largest entry of dz, the weight aimed at, and the row residual left."""
        G = self.G
        mu = np.maximum(self.eta, _SHRINK * (y * s).mean(axis=1))
        primal, ratio = z @ G.T + s - h, y / s
        centring = y - mu[:, None] / s
        dual = z @ self.H + q + self.eta * self.d + y @ G
        right = -dual - (ratio * primal - centring) @ G
        dz = np.linalg.solve(self.newton(ratio), right[:, :, None])[:, :, 0]
        ds = -primal - dz @ G.T
        dy = -centring - ratio * ds
        with np.errstate(divide="ignore"):
            falls = np.maximum((-ds / s).max(axis=1), (-dy / y).max(axis=1))
            length = np.minimum(1.0, _TO_THE_BOUNDARY / np.maximum(falls, 1e-300))[:, None]
        z += length * dz
        s += length * ds
        y += length * dy
        return np.abs(dz).max(axis=1), mu, (1 - length[:, 0]) * np.abs(primal).max(axis=1)

    def newton(self, ratio: Array) -> Array:
        """``H + G'diag(ratio)G`` for ``ratio (B, c)``, as (B, p, p)."""
        return self.H + (self.G.T * ratio[:, None, :]) @ self.G

    def slope(self, s: Array, Fx: Array, E: Array) -> Array:
        """``dz/dx (B, p, n)`` where ``q = Fx x`` and ``h = w + E x``: the Newton system at the solution."""
        ratio = self.eta / s**2
        right = -Fx + (self.G.T * ratio[:, None, :]) @ E
        return np.asarray(np.linalg.solve(self.newton(ratio), right), np.float64)
