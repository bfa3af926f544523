"""Random problems: a family for tests and studies that must not depend on one plant's symmetry."""

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import whole_number
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.seeds import seed_for
from mpc.system import LinearSystem


def random_system(
    n: int = 3, m: int = 1, facets: int = 8, seed: int = 0, *, N: int = 10, Qf: str | ArrayLike = "dare"
) -> ControlProblem:
    """A random controllable system inside general, asymmetric polytopes with the origin off-centre.

    A has Gaussian entries scaled to a spectral radius uniform in [0.8, 1.1], B Gaussian columns of unit
    length, Q = R = I. X has exactly ``facets`` facets, all tangent to a random ellipsoid whose centre is
    half-way between the origin and the ellipsoid's surface (half-axes 3 to 6); U the same with
    2m + 1 facets (2 for m = 1) and half-axes 1 to 2. So both are bounded, no row is redundant and the
    origin is strictly inside. About half of X has a plan in the median over seeds for n <= 6 (a tenth at
    worst). The whole problem is a function of (n, m, facets, seed).

    Raises:
        ValueError: if facets < n + 1 (fewer half-spaces bound nothing), or a size is not a whole number.
    """
    n, m, seed = whole_number("n", n, 1), whole_number("m", m, 1), whole_number("seed", seed, 0)
    facets = whole_number("facets", facets, n + 1)
    if n == 1 and facets > 2:
        raise ValueError(f"facets must be 2 for n=1 (an interval), got {facets}")
    rng = np.random.default_rng(seed_for("random_system", n, m, facets, seed))
    A, B = rng.standard_normal((n, n)), rng.standard_normal((n, m))
    A *= rng.uniform(0.8, 1.1) / np.abs(np.linalg.eigvals(A)).max()
    B /= np.linalg.norm(B, axis=0)
    return ControlProblem(
        system=LinearSystem(A, B),
        X=_off_centre(rng, n, facets, 3.0),
        U=_off_centre(rng, m, 2 if m == 1 else 2 * m + 1, 1.0),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        name=f"random_system_{n}_{m}_{facets}_{seed}",
    )


def _off_centre(rng: np.random.Generator, dimension: int, facets: int, scale: float) -> Polytope:
    """``facets`` half-spaces tangent to the ellipsoid ``c + T ball``, with ``|T^-1 c| = 1/2``.

    The support of the ellipsoid is ``h(g) = |T'g| + g'c >= |T'g|/2 > 0``. The first normals are those of
    a simplex, turned at random: they sum to zero, so the set is bounded whatever the others are.
    """
    rotation = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    simplex = np.vstack([np.eye(dimension), -np.full(dimension, 1.0)]) @ rotation.T
    others = rng.standard_normal((facets - dimension - 1, dimension))
    G = np.vstack([simplex, others])
    G /= np.linalg.norm(G, axis=1, keepdims=True)
    T = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0] * rng.uniform(
        scale, 2 * scale, dimension
    )
    direction = rng.standard_normal(dimension)
    centre = 0.5 * T @ direction / np.linalg.norm(direction)
    return Polytope(G, np.linalg.norm(G @ T, axis=1) + G @ centre)
