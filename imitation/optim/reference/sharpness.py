"""Twins of sharpness-aware minimisation."""

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def sam(
    w: Vector, gradient: Gradient, *, lr: float, rho: float, normalised: float, adaptive: bool = False
) -> Path:
    """arXiv 2010.01412 (normalised 1), unnormalised (0), adaptive (arXiv 2102.11600), with plain descent."""
    while True:
        g = gradient(w)
        T = np.abs(w) if adaptive else np.ones_like(w)
        e = rho * ((1 - normalised) + normalised / np.linalg.norm(T * g)) * T**2 * g
        w = w - lr * gradient(w + e)
        yield w, {}
