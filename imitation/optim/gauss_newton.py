"""Damped generalised Gauss-Newton steps, ``theta -= lr (G + damping I)^-1 g``, by conjugate gradients.

``G = J'MJ`` with J the Jacobian of the model's outputs on the minibatch. With M the Hessian of the loss it is
the plain one (Schraudolph, Neural Computation 2002); with M the expert's curvature d2Q/du2 it is a natural
gradient whose metric is what errors cost the closed loop. One gradient and ``iterations`` products a step, a
product at the cost of about two gradients.
"""

from dataclasses import dataclass

from torch import Tensor

from imitation.optim.algebra import Scalar, dot, over, plus, times, zeros
from imitation.optim.contract import Draws, Elementwise, Objective, Params


@dataclass(frozen=True, eq=False)
class NoState:
    """Nothing is kept."""


@dataclass(frozen=True)
class GaussNewtonRule(Elementwise):
    """Args:
    damping: added to the diagonal of G, in the units of G.
    iterations: of conjugate gradients, from 0.

    ``info["residual"]`` is ``||g - (G + damping I) d|| / ||g||`` at the end ``(K,)``.
    """

    damping: float
    iterations: int

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"grad", "ggn"})

    def init(self, params: Params, draws: Draws) -> NoState:
        return NoState()

    def update(
        self, state: NoState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, NoState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        way, rest = zeros(params), grads
        direction, square = grads, dot(grads, grads)
        start = square
        for _ in range(self.iterations):
            image = plus(objective.ggn(params, direction), self.damping, direction)
            length = over(square, dot(direction, image))
            way, rest = plus(way, length, direction), plus(rest, -length, image)
            new = dot(rest, rest)
            direction, square = plus(rest, over(new, square), direction), new
        residual = over(square, start).sqrt()
        return plus(params, -1.0, times(lr, way)), state, {"loss": loss, "residual": residual}

    def state_bytes(self, params: Params) -> int:
        return 0
