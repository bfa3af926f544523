"""Twins of Adam's kin."""

from collections.abc import Collection

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def adamw(
    theta: Vector,
    gradient: Gradient,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    restarts: Collection[int] = (),
) -> Path:
    """arXiv 1711.05101, algorithm 2 (decay lr * wd); t begins again after ``restarts`` (arXiv 2412.17113)."""
    m, v, t, taken = np.zeros_like(theta), np.zeros_like(theta), 0, 0
    while True:
        t, taken = t + 1, taken + 1
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps) - lr * weight_decay * theta
        yield theta, {"mean": m, "square": v}
        t = 0 if taken in restarts else t


def shared_adam(
    theta: Vector,
    gradient: Gradient,
    *,
    axes: tuple[int, ...],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Path:
    """arXiv 2406.16793 and 2503.01843: AdamW with the mean of g^2 over ``axes`` in place of g^2."""
    m, t = np.zeros_like(theta), 0
    v = np.zeros_like(theta.mean(axis=axes, keepdims=True)) if axes else np.zeros_like(theta)
    while True:
        t = t + 1
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * ((g**2).mean(axis=axes, keepdims=True) if axes else g**2)
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = (1 - lr * weight_decay) * theta - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield theta, {"mean": m, "square": v}


def adafactor(
    theta: Vector, gradient: Gradient, *, lr: float, beta2: float, eps: float, largest: float
) -> Path:
    """arXiv 1804.04235, algorithm 4 with a constant discount, bias corrected; a vector is not factored."""
    t, square = 0, np.zeros_like(theta)
    rows, columns = np.zeros(theta.shape[0]), np.zeros(theta.shape[-1])
    while True:
        t = t + 1
        g = gradient(theta)
        if theta.ndim == 2:
            rows = beta2 * rows + (1 - beta2) * (g**2 + eps).mean(axis=1)
            columns = beta2 * columns + (1 - beta2) * (g**2 + eps).mean(axis=0)
            V = np.outer(rows, columns) / rows.mean()
        else:
            V = square = beta2 * square + (1 - beta2) * (g**2 + eps)
        U = g / np.sqrt(V / (1 - beta2**t))
        U = U / max(1.0, np.sqrt(np.mean(U**2)) / largest)
        theta = theta - lr * U
        yield theta, {"rows": rows, "columns": columns} if theta.ndim == 2 else {"rows": square}


def sm3(theta: Vector, gradient: Gradient, *, lr: float, momentum: float) -> Path:
    """arXiv 1901.11150, algorithm SM3-II with the sets of rows and of columns, entry by entry."""
    mu = [np.zeros(length) for length in theta.shape]
    m = np.zeros_like(theta)
    while True:
        g, nu = gradient(theta), np.zeros_like(theta)
        following = [np.zeros(length) for length in theta.shape]
        for place in np.ndindex(theta.shape):
            nu[place] = min(mu[r][i] for r, i in enumerate(place)) + g[place] ** 2
            for r, i in enumerate(place):
                following[r][i] = max(following[r][i], nu[place])
        mu = following
        m = momentum * m + (1 - momentum) * np.where(nu > 0, g / np.sqrt(np.where(nu > 0, nu, 1)), 0.0)
        theta = theta - lr * m
        yield theta, {f"covers.{r}": mu[r] for r in range(theta.ndim)} | ({"mean": m} if momentum else {})
