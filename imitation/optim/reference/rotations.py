"""Twins of rules in turned coordinates."""

from collections.abc import Callable

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def rotated(w: Vector, gradient: Gradient, R: Vector, twin: Callable[[Vector, Gradient], Path]) -> Path:
    """arXiv 2410.19964: ``twin`` on ``f(R' v)`` from ``v = R w``; yields ``R' v``."""
    for v, _ in twin(R @ w, lambda v: R @ gradient(R.T @ v)):
        yield R.T @ v, {}


def singular(
    W: Vector,
    gradient: Gradient,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    every: int,
) -> Path:
    """AdamW on ``U' W V``, bases renewed from the gradient's singular vectors, moments left as they are.

    A vector keeps the direction of the one in its place before.
    """
    m, v, t = np.zeros_like(W), np.zeros_like(W), 0
    U, V = np.eye(len(W)), np.eye(W.shape[1])
    while True:
        G = gradient(W)
        if t % every == 0:
            before = U, V
            U, _, Vt = np.linalg.svd(G)
            U, V = (
                new * np.where(np.sum(new * old, axis=0) < 0, -1, 1)
                for new, old in zip((U, Vt.T), before, strict=True)
            )
        t, g = t + 1, U.T @ G @ V
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        turned = (1 - lr * weight_decay) * U.T @ W @ V
        turned = turned - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        W = U @ turned @ V.T
        yield W, {}
