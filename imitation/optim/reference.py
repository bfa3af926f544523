"""Naive twins of the update rules: one model, one vector of weights, NumPy, the paper's lines."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def adamw(
    theta: Vector,
    gradient: Callable[[Vector], Vector],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Vector]:
    """Weights after step 1, 2, ... of arXiv 1711.05101, algorithm 2 (decay lr * wd)."""
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
    while True:
        t = t + 1
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps) - lr * weight_decay * theta
        yield theta
