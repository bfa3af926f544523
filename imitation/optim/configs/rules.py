"""The rules of their own, that a wrapper may hold on the command line."""

from typing import TYPE_CHECKING

from imitation.optim.configs.adam import Adafactor, Adam, AdamMini, AdamW, SlimAdam, Sm3
from imitation.optim.configs.config import Config
from imitation.optim.configs.curvature import GaussNewton
from imitation.optim.configs.online import ClippedAdam, Ftrl
from imitation.optim.configs.plain import Lion, Muon, Sgd, SignSgd, Soap

PLAIN = (
    AdamW, Adam, Sgd, SignSgd, Lion, AdamMini, SlimAdam, Adafactor, Sm3, Muon, Soap, ClippedAdam, Ftrl,
    GaussNewton,
)  # fmt: skip
PlainConfig = (
    AdamW | Adam | Sgd | SignSgd | Lion | AdamMini | SlimAdam | Adafactor | Sm3 | Muon | Soap
    | ClippedAdam | Ftrl | GaussNewton
)  # fmt: skip

if TYPE_CHECKING:
    Base = Config
else:
    Base = PlainConfig  # the command line reads annotations at run time; in Python any config is a base
