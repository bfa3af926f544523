"""The rules of their own, that a wrapper may hold on the command line."""

from imitation.optim.configs.adam import Adafactor, Adam, AdamMini, AdamW, SlimAdam, Sm3
from imitation.optim.configs.online import ClippedAdam, Ftrl
from imitation.optim.configs.plain import Lion, Muon, Sgd, SignSgd, Soap

PLAIN = AdamW, Adam, Sgd, SignSgd, Lion, AdamMini, SlimAdam, Adafactor, Sm3, Muon, Soap, ClippedAdam, Ftrl
PlainConfig = (
    AdamW | Adam | Sgd | SignSgd | Lion | AdamMini | SlimAdam | Adafactor | Sm3 | Muon | Soap
    | ClippedAdam | Ftrl
)  # fmt: skip
