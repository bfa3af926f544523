"""Configs of the learners: frozen, without torch."""

from dataclasses import dataclass, field
from typing import Literal

from imitation.optim.configs import AdamW, AnyOptimizer
from imitation.optim.schedules import SCHEDULES, Schedule
from imitation.policies.configs import Mlp, PolicyConfig


@dataclass(frozen=True)
class BehaviourCloning:
    """Regress the expert's action on the states of its demonstrations.

    Targets are the actions in their own units, not scaled. The budget is a fixed number of gradient
    steps whatever the number of demonstrations, minibatches drawn with replacement.
    """

    policy: PolicyConfig = field(default_factory=Mlp)
    """Architecture."""
    optimizer: AnyOptimizer = field(default_factory=AdamW)
    """Update rule and its hyper-parameters."""
    loss: Literal["l2", "l1", "huber", "curvature"] = "l2"
    """Of an error e: 'l2' mean of e_i^2, 'l1' mean of ||e||_2, 'huber' mean of Huber(e_i) with knee 1,
    'curvature' e'We/2 with W = d2Q/du2 of the expert, in units of cost."""
    metric: Literal["loss", "curvature"] = "loss"
    """Of the action in Gauss-Newton steps: the Hessian of the loss, or the expert's curvature W."""
    curvature_cap: float = 10.0
    """Largest eigenvalue of W, in parts of the median over the samples; inf for none."""
    jacobian: float = 0.0
    """Weight of the same loss of the policy's Jacobian (TaSIL of order 1: loss 'l1' and weight 1)."""
    steps: int = 2000
    """Gradient steps."""
    batch: int = 256
    """Samples in a minibatch."""
    epochs: int | None = None
    """Passes over the data, without replacement, instead of a fixed number of steps."""
    schedule: Schedule = "constant"
    """Factor on the learning rate over the steps."""
    validation: float = 0.1
    """Share of the episodes held out, the last ones, at least one of two or more; 0 for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training and of the policy."""

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch", self.batch), ("epochs", self.epochs)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.jacobian >= 0:
            raise ValueError(f"jacobian must not be negative, got {self.jacobian}")
        if self.jacobian and (self.uses_curvature or self.policy.history > 1 or self.policy.chunk > 1):
            raise ValueError(
                f"jacobian = {self.jacobian} needs a policy without history and chunk, and loss and metric "
                f"without curvature"
            )
        if self.uses_curvature and self.policy.chunk > 1:
            raise ValueError(
                f"the curvature is that of one input, policy.chunk must be 1, got {self.policy.chunk}"
            )
        if not self.curvature_cap > 0:
            raise ValueError(f"curvature_cap must be positive, got {self.curvature_cap}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must be a share in [0, 1), got {self.validation}")
        choices = (
            ("loss", self.loss, ("l2", "l1", "huber", "curvature")),
            ("metric", self.metric, ("loss", "curvature")),
            ("schedule", self.schedule, tuple(SCHEDULES)),
            ("dtype", self.dtype, ("float32", "float64")),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")

    @property
    def uses_curvature(self) -> bool:
        """Whether the labels must have a curvature."""
        return "curvature" in (self.loss, self.metric)


LearnerConfig = BehaviourCloning
"""What the command line and an experiment see."""
