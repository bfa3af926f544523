"""Optimizers: frozen configs here, one file per update rule beside them.

``AdamW(lr=1e-3).build(model.parameters())`` is a ``torch.optim.Optimizer`` for any PyTorch loop;
``AdamW(lr=1e-3).rule()`` is the pure update rule that acts on a whole population of models at once.
This package imports nothing else of the project, and torch only when something is built.
"""

from imitation.optim.configs import *  # noqa: F403
from imitation.optim.configs import __all__ as __all__
