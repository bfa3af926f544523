"""Learning-rate schedules: the factor that multiplies the rate at step 0, 1, ..., steps - 1."""

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]


def constant(step: int, steps: int) -> float:
    """1."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """``(1 + cos(pi step / steps)) / 2``: 1 at the first step, towards 0 at the end, without warm-up."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """The factor of the schedule of that name."""
    return {"constant": constant, "cosine": cosine}[schedule](step, steps)
