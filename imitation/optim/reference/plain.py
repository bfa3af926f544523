"""Twins of SGD, sign-SGD, Lion, and of Muon and SOAP on one matrix."""

import numpy as np

from imitation.optim.reference import Gradient, Path, Vector


def sgd(
    theta: Vector, gradient: Gradient, *, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> Path:
    """Sutskever, Martens, Dahl, Hinton (ICML 2013), in the form of ``torch.optim.SGD``."""
    m = np.zeros_like(theta)
    while True:
        g = gradient(theta) + weight_decay * theta
        m = momentum * m + g
        theta = theta - lr * (g + momentum * m if nesterov else m)
        yield theta, {"mean": m} if momentum else {}


def sign_sgd(theta: Vector, gradient: Gradient, *, lr: float, momentum: float, weight_decay: float) -> Path:
    """arXiv 1802.04434, algorithms 1 and 2 (Signum)."""
    m = np.zeros_like(theta)
    while True:
        m = momentum * m + (1 - momentum) * gradient(theta)
        theta = theta - lr * (np.sign(m) + weight_decay * theta)
        yield theta, {"mean": m} if momentum else {}


def lion(
    theta: Vector, gradient: Gradient, *, lr: float, beta1: float, beta2: float, weight_decay: float
) -> Path:
    """arXiv 2302.06675, program 1."""
    m = np.zeros_like(theta)
    while True:
        g = gradient(theta)
        c = beta1 * m + (1 - beta1) * g
        theta = theta - lr * (np.sign(c) + weight_decay * theta)
        m = beta2 * m + (1 - beta2) * g
        yield theta, {"mean": m}


def muon(
    theta: Vector,
    gradient: Gradient,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    scale: str,
) -> Path:
    """One matrix; Newton and Schulz act on singular values, so here they do: ``s <- a s + b s^3 + c s^5``."""
    B = np.zeros_like(theta)
    rows, columns = theta.shape
    size = np.sqrt(max(1, rows / columns)) if scale == "shape" else 0.2 * np.sqrt(max(rows, columns))
    while True:
        g = gradient(theta)
        B = momentum * B + (1 - momentum) * g
        M = momentum * B + (1 - momentum) * g if nesterov else B
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
        s = s / (np.sqrt(np.sum(s**2)) + 1e-7)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        theta = (1 - lr * weight_decay) * theta - lr * size * (U * s) @ Vt
        yield theta, {"mean": B}


def soap(
    theta: Vector,
    gradient: Gradient,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    shampoo: float,
    eps: float,
    weight_decay: float,
    every: int,
) -> Path:
    """arXiv 2409.11321, algorithm 3, with Adam's bias corrections and the factors renewed before the step."""
    rows, columns = theta.shape
    M, V = np.zeros_like(theta), np.zeros_like(theta)
    L, R, t = np.zeros((rows, rows)), np.zeros((columns, columns)), 0
    QL, QR = np.eye(rows), np.eye(columns)
    while True:
        t, G = t + 1, gradient(theta)
        L, R = shampoo * L + (1 - shampoo) * G @ G.T, shampoo * R + (1 - shampoo) * G.T @ G
        if t == 1:
            QL, QR = np.linalg.eigh(L)[1][:, ::-1], np.linalg.eigh(R)[1][:, ::-1]
        elif t % every == 0:
            QL, QR = np.linalg.qr(L @ QL)[0], np.linalg.qr(R @ QR)[0]
        M = beta1 * M + (1 - beta1) * G
        V = beta2 * V + (1 - beta2) * (QL.T @ G @ QR) ** 2
        N = (QL.T @ M @ QR) / (1 - beta1**t) / (np.sqrt(V / (1 - beta2**t)) + eps)
        theta = (1 - lr * weight_decay) * theta - lr * QL @ N @ QR.T
        yield theta, {"mean": M, "left": L, "right": R}
