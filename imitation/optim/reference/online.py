"""Twins of online learners of updates: sums written out, no recursion."""

from collections.abc import Iterator

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def clipped_adam(
    x: Vector,
    gradient: Gradient,
    *,
    D: float,
    b: float,
    clip: float,
    by: str,
    scales: Iterator[float] | None = None,
) -> Path:
    """arXiv 2405.18199, algorithm 2 with betas (b, b^2); ``clip`` in parts of D."""
    seen: list[Vector] = []
    while True:
        seen.append(gradient(x))
        t = len(seen)
        m = sum((b ** (t - s) * g for s, g in enumerate(seen, start=1)), np.zeros_like(x))
        squares = [g**2 if by == "weight" else np.sum(g**2) for g in seen]
        v = sum((b ** (2 * (t - s)) * q for s, q in enumerate(squares, start=1)), 0.0 * squares[0])
        z = -D * m / np.sqrt(v)
        if by == "weight":
            z = np.clip(z, -clip * D, clip * D)
        elif np.linalg.norm(z) > clip * D:
            z = clip * D * z / np.linalg.norm(z)
        x = x + (1.0 if scales is None else next(scales)) * z
        yield x, {"total": m, "square": np.asarray(v)}
