"""Twins of averages of weights."""

from collections.abc import Iterator

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def ema(start: Vector, path: Path, *, law: str, decay: float, gamma: float) -> Path:
    """The averages of a path of weights, under ``deployed``."""
    mean = np.zeros_like(start) if law == "corrected" else start
    for t, (theta, _) in enumerate(path, start=1):
        if law in ("constant", "corrected"):
            mean = decay * mean + (1 - decay) * theta
        elif law == "polynomial":
            mean = (1 - (gamma + 1) / (t + gamma)) * mean + (gamma + 1) / (t + gamma) * theta
        else:
            beta = (1 - 1 / t) ** (gamma + 1)
            mean = beta * mean + (1 - beta) * theta
        yield theta, {"mean": mean, "deployed": mean / (1 - decay**t) if law == "corrected" else mean}


def schedule_free(
    start: Vector,
    gradient: Gradient,
    *,
    lr: float,
    interpolation: float,
    law: str,
    power: float = 0.0,
    weight: float = 0.0,
    places: Iterator[float] | None = None,
    beta2: float | None = None,
    eps: float = 0.0,
    weight_decay: float = 0.0,
) -> Path:
    """arXiv 2405.15682 as three sequences, SGD or (with ``beta2``) its algorithm 1, AdamW; yields y.

    ``places`` are the random interpolations, one after each step (arXiv 2411.07061).
    """
    x, z, y, t, total, v = start, start, start, 0, 0.0, np.zeros_like(start)
    while True:
        t = t + 1
        g = gradient(y)
        if beta2 is None:
            z = z - lr * g
        else:
            v = beta2 * v + (1 - beta2) * g**2
            z = z - lr * (g / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * y)
        if law == "polynomial":
            total = total + t**power * lr**2
            c = t**power * lr**2 / total
        elif law == "refined":
            total = total + lr**2
            c = min(1.0, lr**2 / total * (1 - interpolation) * weight)
        else:
            c = weight
        x = (1 - c) * x + c * z
        k = interpolation if places is None else next(places)
        y = (1 - k) * z + k * x
        yield y, {"deployed": x, "z": z}
