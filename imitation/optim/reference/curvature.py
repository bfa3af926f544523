"""Twins of rules that look at curvature: subspaces, escapes from sharp minima, Gauss-Newton steps."""

from collections.abc import Callable, Iterator

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def subspace_sgd(
    w: Vector,
    gradient: Gradient,
    hessian: Gradient,
    start: Vector,
    *,
    lr: float,
    momentum: float,
    keep: str,
    first: int,
) -> Path:
    """arXiv 2405.16002: momentum SGD, its step projected on a subspace that is followed from ``start``."""
    m, V, k = np.zeros_like(w), np.linalg.qr(start)[0], start.shape[1]
    rounds = first
    while True:
        for _ in range(rounds):
            H = hessian(w)
            S = np.linalg.qr(np.hstack([V, H @ V]))[0]
            V = S @ np.linalg.eigh(S.T @ H @ S)[1][:, ::-1][:, :k]
        rounds = 1
        m = momentum * m + gradient(w)
        P = V @ V.T
        step = -lr * m
        w = w + (P @ step if keep == "dominant" else step - P @ step)
        yield w, {"mean": m}


def escape_sgd(
    w: Vector,
    gradient: Gradient,
    nearby: Callable[[Vector], Callable[[Vector], Vector]],
    *,
    lr: float,
    small: float,
) -> Path:
    """arXiv 2305.15659; ``nearby(w)`` draws the gradient to lead away by."""
    while True:
        g, u = gradient(w), nearby(w)(w)
        v = u - (u @ g) / (g @ g) * g
        w = w - lr * (g + v if np.linalg.norm(g) <= small else g)
        yield w, {}


def gauss_newton(w: Vector, gradient: Gradient, matrix: Gradient, *, lr: float, damping: float) -> Path:
    """The step of the damped matrix, solved for."""
    while True:
        w = w - lr * np.linalg.solve(matrix(w) + damping * np.eye(len(w)), gradient(w))
        yield w, {}


def conversion(
    start: Vector,
    gradient: Gradient,
    *,
    lr: float,
    zeta: float,
    choice: str,
    scaling: str,
    output: str,
    discount: float,
    draws: Iterator[tuple[float, float]],
) -> Path:
    """arXiv 2411.07061, the learner ``zeta (d - lr g)``; ``draws`` are s and what chooses the output."""
    x, d, y = start, np.zeros_like(start), start
    seen: list[Vector] = []
    chosen = start
    while True:
        s, choose = next(draws)
        seen.append(y)
        t = len(seen)
        weights = discount ** np.arange(t - 1, -1, -1.0)
        mean = weights @ np.array(seen) / weights.sum()
        if choose * t < 1:
            chosen = mean
        w = y if scaling == "exponential" else x + d
        d = zeta * (d - lr * gradient(y))
        if choice == "last":
            x = w
        elif choice == "ahead":
            x = x + d / zeta
        y = x + s * d
        yield y, {"deployed": {"newest": y, "mean": mean, "random": chosen}[output]}
