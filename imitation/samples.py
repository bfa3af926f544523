"""From rollouts to training samples: rows, the validation split, and minibatch indices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpc.arrays import Array
from mpc.rollouts import Rollouts
from mpc.seeds import seed_for

_BLOCK = 256  # steps whose indices are drawn at once


@dataclass(frozen=True, eq=False)
class Samples:
    """What a policy sees, ``x (S, L n)``, and what it should do there, ``u (S, l m)``, episode by episode.

    Windows of L states, oldest first, and plans of l inputs, next first; L = l = 1 is state and action.
    ``curvature (S, m, m)`` is that of the expert's value in its action and ``dudx (S, m, n)`` the Jacobian of
    that action; None where the labels have none. ``d2udx2 (S, m, n, n)`` is its Hessian, which no label
    holds: an expert is asked for it. ``room (S,)`` is what an error may cost before it is penalised.
    """

    x: Array
    u: Array
    curvature: Array | None = None
    dudx: Array | None = None
    d2udx2: Array | None = None
    room: Array | None = None

    def __len__(self) -> int:
        return len(self.x)


def samples(rollouts: Rollouts, history: int = 1, chunk: int = 1) -> Samples:
    """Every step of every episode: the label where labels exist and are usable, else the applied input.

    With labels, a step whose label is not usable is left out (its input may be noisy or made up), and so is
    one that a plan of ``chunk`` inputs from it on would need and lacks. Before the first state of an episode
    there were others like it, as ``mpc.controllers.Planner`` has it.
    """
    steps = _Steps.of(rollouts, history, chunk)
    keep, labels = steps.keep, rollouts.labels
    if labels is None:
        return Samples(steps.windows[keep], steps.plans[keep])
    kept = (None if value is None else value[keep] for value in (labels.curvature, labels.dudx))
    return Samples(steps.windows[keep], steps.plans[keep], *kept)


def foreseen(rollouts: Rollouts, history: int = 1, chunk: int = 1) -> Samples:
    """The steps of ``samples``, once for each piece of the future 1, 2, 4, ... steps ahead, and for the end.

    ``x (S, 2 L n)``: the window of the past, and the L states from that step on, the last one repeated beyond
    the end of the episode. ``u (S, (l + 1) m)``: the plan, and the input that led to that step.
    """
    steps, length = _Steps.of(rollouts, history, chunk), rollouts.length
    episode, t = np.nonzero(steps.keep)
    left = length[episode] - t
    x, u = [], []
    for ahead in (*(2 ** np.arange(int(rollouts.steps).bit_length())), left):
        there = np.broadcast_to(ahead, left.shape) <= left
        e, now, then = episode[there], t[there], (t + ahead)[there]
        future = np.minimum(then[:, None] + np.arange(history), length[e, None])
        x.append(np.hstack([steps.windows[e, now], rollouts.x[e[:, None], future].reshape(len(e), -1)]))
        u.append(np.hstack([steps.plans[e, now], rollouts.u[e, then - 1]]))
    return Samples(np.concatenate(x), np.concatenate(u))


@dataclass(frozen=True, eq=False)
class _Steps:
    """Of every step of every episode: states seen ``(E, T, L n)``, the next l inputs ``(E, T, l m)``, and
    whether all of these are to be imitated ``(E, T)``."""

    windows: Array
    plans: Array
    keep: np.ndarray

    @classmethod
    def of(cls, rollouts: Rollouts, history: int, chunk: int) -> "_Steps":
        E, T, labels = rollouts.episodes, rollouts.steps, rollouts.labels
        past = np.maximum(np.arange(T)[:, None] + np.arange(1 - history, 1), 0)
        windows = rollouts.x[:, past].reshape(E, T, history * rollouts.x.shape[2])
        if labels is None:
            inputs, known = rollouts.u, np.arange(T) < rollouts.length[:, None]
        else:
            inputs, known = labels.u, labels.usable
        ahead = np.arange(T)[:, None] + np.arange(chunk)
        inside = np.minimum(ahead, T - 1)
        keep = np.asarray(known[:, inside].all(axis=2) & (ahead < T).all(axis=1))
        return cls(windows, inputs[:, inside].reshape(E, T, chunk * inputs.shape[2]), keep)


def with_capped_curvature(training: Samples, validation: Samples, cap: float) -> tuple[Samples, Samples]:
    """No eigenvalue of a curvature above ``cap`` times the median of the largest over training samples.

    A barrier's curvature grows like 1/eta where an input constraint is active: a few samples would
    outweigh all others.

    Raises:
        ValueError: where the samples have no curvature.
    """
    if training.curvature is None or validation.curvature is None:
        raise ValueError(
            "rollouts hold no label.curvature, which this learner weighs errors by; demonstrate with an "
            "expert that has one (Online, Barrier, Explicit, Lqr), and keep its labels, or take a loss and a "
            "metric without curvature and stability = 0"
        )
    most = cap * float(np.median(np.linalg.eigvalsh(training.curvature)[:, -1]))
    return (
        replace(training, curvature=_capped(training.curvature, most)),
        replace(validation, curvature=_capped(validation.curvature, most)),
    )


def _capped(matrices: Array, most: float) -> Array:
    """Symmetric matrices ``(S, m, m)`` with no eigenvalue above ``most``."""
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * np.minimum(values, most)[:, None, :]) @ np.swapaxes(vectors, 1, 2)


def split(
    rollouts: Rollouts,
    share: float,
    history: int = 1,
    chunk: int = 1,
    seen: Callable[[Rollouts, int, int], Samples] = samples,
) -> tuple[Samples, Samples]:
    """Training samples, as ``seen`` makes them, and validation samples; the last episodes are held out.

    Of n episodes ``round(share n)`` are held out, at least 1 and at most n - 1; none where n = 1 or
    share = 0.

    Raises:
        ValueError: if no sample is left to train on.
    """
    n = rollouts.episodes
    inside = n - min(max(1, round(share * n)), n - 1) if share > 0 else n
    training, validation = seen(rollouts[:inside], history, chunk), samples(rollouts[inside:], history, chunk)
    if not len(training):
        raise ValueError(
            f"rollouts hold no usable label in the {inside} of {n} episodes to train on (plans take "
            f"{chunk} in a row); look at rollouts.labels.status, or demonstrate from feasible states"
        )
    if not (np.isfinite(training.x).all() and np.isfinite(training.u).all()):
        raise ValueError("rollouts hold NaN or infinity where a usable label stands; generate them again")
    return training, validation


def minibatches(sizes: Sequence[int], reps: Sequence[int], batch: int, epochs: bool) -> Iterator[np.ndarray]:
    """Blocks of minibatch indices ``(steps of the block, K, batch)`` without end.

    Member k draws from ``seed_for('batches', reps[k])`` alone, so its indices depend on nobody else.
    With replacement: ``floor(size U)``, so members that differ in size only take the same relative
    places. ``epochs``: consecutive permutations cut into batches.
    """
    draw = _permuted if epochs else _with_replacement
    members = [
        draw(size, batch, np.random.default_rng(seed_for("batches", rep)))
        for size, rep in zip(sizes, reps, strict=True)
    ]
    while True:
        yield np.stack([next(member) for member in members], axis=1)


def _with_replacement(size: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield (rng.random((_BLOCK, batch)) * size).astype(np.int64)


def _permuted(size: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    rest = np.zeros(0, np.int64)
    while True:
        parts = [rest]
        missing = _BLOCK * batch - len(rest)
        while missing > 0:
            parts.append(rng.permutation(size))
            missing -= size
        stream = np.concatenate(parts)
        yield stream[: _BLOCK * batch].reshape(_BLOCK, batch)
        rest = stream[_BLOCK * batch :]
