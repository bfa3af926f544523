"""Uniform points of a polytope, each from its own random generator."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpc.arrays import Array, row_product
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.seeds import seed_for

_PROPOSALS = 16
_SMALLEST_ACCEPTANCE = 0.01
_WALK = 20


@dataclass(frozen=True, eq=False)
class UniformSampler:
    """The uniform law on a bounded polytope.

    Every row of an answer is drawn from its own generator, in an order that no other row changes, so
    that a point depends on neither the batch nor its place in it. A box is sampled exactly; another
    polytope by rejection from its bounding box, which is exact too; and where fewer than 1% of those
    proposals fall inside, by hit-and-run (Smith 1984): ``20 n`` steps a point along random chords, from
    the analytic centre or from the point before. Chords are drawn in coordinates in which Dikin's ellipsoid
    around that centre is a ball, so that thin sets mix as quickly as round ones. That law is uniform only
    in the limit.

    Args:
        polytope: the set, with an interior unless it is a box.
        name: what the set is, for messages.
    """

    polytope: Polytope
    name: str = "the polytope"

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """The bounding box.

        Raises:
            ValueError: if the set is unbounded.
        """
        low, high = self.polytope.bounds
        unbounded = ~(np.isfinite(low) & np.isfinite(high))
        if unbounded.any():
            raise ValueError(
                f"{self.name} must be bounded to draw uniform points from it, but coordinate "
                f"{int(np.argmax(unbounded))} ranges over [{low[unbounded][0]}, {high[unbounded][0]}]; "
                f"give it rows that bound every direction, as those of Polytope.box(low, high) do"
            )
        return low, high

    @cached_property
    def acceptance(self) -> float:
        """Share of the bounding box that is inside, from 4,096 points of a fixed seed."""
        low, high = self.bounds
        proposals = np.random.Generator(np.random.PCG64(seed_for("acceptance"))).random((4096, len(low)))
        return float(self.polytope.contains(low + (high - low) * proposals).mean())

    def draw_many(self, rng: np.random.Generator, count: int) -> Array:
        """``count`` points from one generator, the same that it gives one by one."""
        if self.polytope.is_box:
            low, high = self.bounds
            return low + (high - low) * rng.random((count, len(low)))
        return self.draw([rng] * count)

    def draw(self, generators: Sequence[np.random.Generator], current: Array | None = None) -> Array:
        """One point ``(E, n)`` from each of ``E`` generators.

        Args:
            current: the points ``(E, n)`` that the same generators gave before, which hit-and-run
                walks on from; None at the start. The exact samplers do not look at it.

        Raises:
            ValueError: if the set is unbounded, or has no interior and is not a box.
        """
        low, high = self.bounds
        if self.polytope.is_box:
            return low + (high - low) * _stacked([g.random(len(low)) for g in generators], len(low))
        if self.acceptance >= _SMALLEST_ACCEPTANCE:
            return self._reject(generators)
        return self._walk(generators, current)

    def _reject(self, generators: Sequence[np.random.Generator]) -> Array:
        low, high = self.bounds
        points = np.empty((len(generators), len(low)))
        waiting = np.arange(len(generators))
        while waiting.size:
            proposals = np.stack([generators[i].random((_PROPOSALS, len(low))) for i in waiting.tolist()])
            proposals = low + (high - low) * proposals
            inside = self.polytope.contains(proposals)
            found = inside.any(axis=1)
            points[waiting[found]] = proposals[found, inside[found].argmax(axis=1)]
            waiting = waiting[~found]
        return points

    @cached_property
    def _shape(self) -> tuple[Array, Array]:
        """The maximiser of ``sum_i log slack_i``, and what maps a ball to Dikin's ellipsoid there ``(n, n)``.

        By Newton's method from the Chebyshev centre, each step kept inside the ellipsoid of its point.
        """
        x, radius = self.polytope.chebyshev
        if radius <= 1e-9 * max(1.0, self.polytope.radius):
            raise ValueError(
                f"{self.name} has no interior, so it has no uniform points; widen it, or write it as a box"
            )
        for _ in range(100):
            rows, factor = self._dikin(x)
            step = np.linalg.solve(factor.T, np.linalg.solve(factor, -rows.sum(axis=0)))
            decrement = np.linalg.norm(factor.T @ step)
            if decrement < 1e-6:
                break
            x = x + step / (1.0 + decrement)
        return x, np.asarray(np.linalg.inv(self._dikin(x)[1]).T, np.float64)

    def _dikin(self, x: Array) -> tuple[Array, Array]:
        """Rows over their slacks, and the Cholesky factor of their inner products ``(n, n)``."""
        rows = self.polytope.G / self.polytope.slack(x)[:, None]
        return rows, np.asarray(np.linalg.cholesky(rows.T @ rows), np.float64)

    def _walk(self, generators: Sequence[np.random.Generator], current: Array | None) -> Array:
        """Hit-and-run: a uniform point of the chord through the current one, again and again.

        Along ``x + s d`` row i holds for ``s (G d)_i <= slack_i``: the chord ends where the first row of
        either sign does.
        """
        centre, to_ball = self._shape
        n, E = len(centre), len(generators)
        x = np.tile(centre, (E, 1)) if current is None else np.array(current)
        steps = _WALK * n
        directions = _stacked([g.standard_normal((steps, n)) for g in generators], steps, n)
        positions = _stacked([g.random(steps) for g in generators], steps)
        slack = self.polytope.slack(x)
        for k in range(steps):
            d = row_product(directions[:, k], to_ball)
            rate = row_product(d, self.polytope.G)
            reach = np.maximum(slack, 0.0) / np.where(rate == 0.0, 1.0, rate)
            end = np.where(rate > 0, reach, np.inf).min(axis=1)
            start = np.where(rate < 0, reach, -np.inf).max(axis=1)
            s = (start + (end - start) * positions[:, k])[:, None]
            x += s * d
            slack -= s * rate
        return x


def disturbance_generators(system: str, rep: int, first: int, count: int) -> list[np.random.Generator]:
    """One generator for the disturbances of each of the episodes ``first .. first + count - 1``."""
    seeds = [seed_for("disturbance", system, rep, episode) for episode in range(first, first + count)]
    return [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]


def draw_disturbance(problem: ControlProblem, generators: Sequence[np.random.Generator], steps: int) -> Array:
    """Independent uniform disturbances ``w (E, steps, n)`` of ``problem.W``, a generator an episode.

    Raises:
        ValueError: if the problem has no disturbance set, or an unbounded one.
    """
    if problem.W is None:
        raise ValueError(
            "the problem has no disturbance set W; give one, as in problem.with_(W=Polytope(G, h))"
        )
    sampler = UniformSampler(problem.W, "the disturbance set W")
    w = np.empty((len(generators), steps, problem.n))
    current = None
    for t in range(steps):
        current = sampler.draw(generators, current)
        w[:, t] = current
    return w


def _stacked(draws: list[Array], *shape: int) -> Array:
    """Draws stacked on a leading axis, which may be empty."""
    return np.stack(draws) if draws else np.empty((0, *shape))
