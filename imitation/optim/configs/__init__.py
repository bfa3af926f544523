"""Configs of the optimizers: frozen, without torch, so that ``--help`` is quick.

Adding a rule adds one class here, one member of ``PLAIN`` and its union in ``rules`` or of ``WRAPPERS`` and
``OptimizerConfig``, and one module beside this package.
"""

from typing import TYPE_CHECKING

from imitation.optim.configs.adam import Adafactor, Adam, AdamMini, AdamW, SlimAdam, Sm3
from imitation.optim.configs.config import Config
from imitation.optim.configs.foreign import Foreign
from imitation.optim.configs.online import ClippedAdam, Ftrl
from imitation.optim.configs.plain import Lion, Muon, Sgd, SignSgd, Soap
from imitation.optim.configs.rules import PLAIN, PlainConfig
from imitation.optim.configs.wrappers import Clipped, Ema, Rotated, Sam, ScheduleFree, SvdRotated

WRAPPERS = ScheduleFree, Ema, Sam, Clipped, Rotated, SvdRotated
"""Rules that are made of another rule, their ``base``."""
SUITE = *PLAIN, *WRAPPERS

OptimizerConfig = PlainConfig | ScheduleFree | Ema | Sam | Clipped | Rotated | SvdRotated
"""What the command line offers."""

if TYPE_CHECKING:
    AnyOptimizer = Config | Foreign
else:
    AnyOptimizer = OptimizerConfig  # the command line reads annotations at run time: the suite only

__all__ = [
    "PLAIN",
    "SUITE",
    "WRAPPERS",
    "Adafactor",
    "Adam",
    "AdamMini",
    "AdamW",
    "AnyOptimizer",
    "Clipped",
    "ClippedAdam",
    "Config",
    "Ema",
    "Foreign",
    "Ftrl",
    "Lion",
    "Muon",
    "OptimizerConfig",
    "Rotated",
    "Sam",
    "ScheduleFree",
    "Sgd",
    "SignSgd",
    "SlimAdam",
    "Sm3",
    "Soap",
    "SvdRotated",
]
