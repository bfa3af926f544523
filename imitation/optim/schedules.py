"""Learning-rate schedules: the factor that multiplies the rate at step 0, 1, ..., steps - 1."""

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["constant", "cosine", "linear", "warmup", "warmup_stable_decay"]

WARM, DECAY = 0.05, 0.2
"""Shares of the steps over which a rate rises, and over which it falls where it was stable before."""


def constant(step: int, steps: int) -> float:
    """1."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """``(1 + cos(pi step / steps)) / 2``: 1 at the first step, towards 0 at the end, without warm-up."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def linear(step: int, steps: int) -> float:
    """``1 - step / steps``."""
    return 1 - step / steps


def warmup(step: int, steps: int) -> float:
    """Rises in equal parts over the first twentieth of the steps, 1 from then on."""
    return min(1.0, (step + 1) / max(1, round(WARM * steps)))


def warmup_stable_decay(step: int, steps: int) -> float:
    """``warmup``, and over the last fifth of the steps straight towards 0."""
    return min(warmup(step, steps), (steps - step) / max(1, round(DECAY * steps)))


SCHEDULES: dict[Schedule, Callable[[int, int], float]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "warmup": warmup,
    "warmup_stable_decay": warmup_stable_decay,
}


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """The factor of the schedule of that name."""
    return SCHEDULES[schedule](step, steps)
