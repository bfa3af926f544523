"""Which of a model's weights are matrices."""

from imitation.optim.contract import Params


def divided(params: Params) -> tuple[Params, Params]:
    """The matrices ``(K, r, c)``, and the rest."""
    matrices = {name: p for name, p in params.items() if p.dim() == 3}
    return matrices, {name: p for name, p in params.items() if p.dim() != 3}
