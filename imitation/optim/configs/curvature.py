"""The config of Gauss-Newton steps."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imitation.optim.configs.config import Buildable, positive

if TYPE_CHECKING:
    from imitation.optim.gauss_newton import GaussNewtonRule


@dataclass(frozen=True)
class GaussNewton(Buildable):
    """Damped Gauss-Newton steps by conjugate gradients; the objective sets the metric of the outputs.

    theta -= lr (J'MJ + damping I)^-1 g by conjugate gradients, J the Jacobian of the minibatch's outputs,
    M the loss's Hessian there, or the expert's curvature W (``BehaviourCloning(metric="curvature")``).

    When: small networks to high accuracy: few steps, each at 1 + 2 to 3 x iterations gradients; minibatches
    must be large, or the damping.
    """

    lr: float = 0.5
    """Share of the step to the minimum of the quadratic model."""
    damping: float = 0.1
    """Added to the diagonal of the Gauss-Newton matrix, in its units."""
    iterations: int = 10
    """Of conjugate gradients; each costs about two gradients."""

    def __post_init__(self) -> None:
        positive(lr=self.lr, damping=self.damping, iterations=self.iterations)

    def rule(self) -> "GaussNewtonRule":
        from imitation.optim.gauss_newton import GaussNewtonRule

        return GaussNewtonRule(self.damping, self.iterations)
