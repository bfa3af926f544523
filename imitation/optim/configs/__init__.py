"""Configs of the optimizers: frozen, without torch, so that ``--help`` is quick.

Adding a rule adds one class here, one member of ``PLAIN`` and its union in ``rules`` or of ``WRAPPERS`` and
``OptimizerConfig``, and one module beside this package.
"""

from typing import TYPE_CHECKING

from imitation.optim.configs.adam import Adafactor, Adam, AdamMini, AdamW, SlimAdam, Sm3
from imitation.optim.configs.averages import Conversion, Ema, ScheduleFree
from imitation.optim.configs.clipping import Clipped
from imitation.optim.configs.config import Config
from imitation.optim.configs.curvature import GaussNewton
from imitation.optim.configs.foreign import Foreign
from imitation.optim.configs.geometry import Escape, Rotated, Sam, Subspace, SvdRotated
from imitation.optim.configs.online import ClippedAdam, Ftrl
from imitation.optim.configs.plain import Lion, Muon, Sgd, SignSgd, Soap
from imitation.optim.configs.rules import PLAIN, PlainConfig

WRAPPERS = ScheduleFree, Ema, Conversion, Sam, Escape, Clipped, Rotated, SvdRotated, Subspace
"""Rules that are made of another rule, their ``base``."""
SUITE = *PLAIN, *WRAPPERS

OptimizerConfig = (
    PlainConfig | ScheduleFree | Ema | Conversion | Sam | Escape | Clipped | Rotated | SvdRotated | Subspace
)
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
    "Conversion",
    "Ema",
    "Escape",
    "Foreign",
    "Ftrl",
    "GaussNewton",
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
    "Subspace",
    "SvdRotated",
]
