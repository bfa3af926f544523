"""Configs of the learners: frozen, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from imitation.optim.configs import AdamW, AnyOptimizer
from imitation.optim.schedules import SCHEDULES, Schedule
from imitation.policies.configs import BeliefState, Mlp, PolicyConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from imitation.learned import Learned
    from imitation.task import Pupil, Task
    from imitation.train import Observer, Progress

    Teach = Callable[[Any, Task, Sequence[Pupil], Progress | None, Observer | None], Learned]


class Teachable:
    """Gives a config its ``learn``."""

    def teacher(self) -> "Teach":
        """The function behind ``learn``: one file of ``imitation.learners``."""
        raise NotImplementedError

    def learn(
        self,
        task: "Task",
        pupils: "Sequence[Pupil]",
        progress: "Progress | None" = None,
        observe: "Observer | None" = None,
    ) -> "Learned":
        """Teach the pupils, all at once.

        Args:
            task: the expert, the system, and the length of an episode.
            pupils: one controller each; their repetitions name the seeds.
            progress: called with gradient steps done and to do.
            observe: asked about the policies as they are, along the training of those that are deployed by
                themselves.

        Raises:
            ValueError: where the expert cannot demonstrate, or the options do not fit.
        """
        return self.teacher()(self, task, pupils, progress, observe)


@dataclass(frozen=True)
class BehaviourCloning(Teachable):
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
    curvature_of: Literal["value", "loop"] = "value"
    """W: d2Q/du2 of the expert's value, later inputs re-optimised; or of the cost of its closed loop, its law
    held fixed (``imitation.sensitivity``)."""
    curvature_cap: float = 10.0
    """Largest eigenvalue of W, in parts of the median over the samples; inf for none."""
    jacobian: float = 0.0
    """Weight of the same loss of the policy's Jacobian (TaSIL of order 1: loss 'l1' and weight 1)."""
    hessian: float = 0.0
    """Weight of the same loss of its second derivatives (TaSIL of order 2: 10); for smooth experts."""
    stability: float = 0.0
    """Weight of a penalty ``max(e'We/2 - x'Qx/2, 0)`` on errors that cost more than half of the state: within
    that room the expert's value falls along the policy's loop too. In units of the l2 loss: W is scaled to a
    mean trace of 2, x'Qx with it (not beside the loss 'curvature')."""
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
    keep: Literal["last", "best"] = "last"
    """Deploy the last weights, or each policy's best at 20 points of its training, by held-out loss."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training and of the policy."""

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch", self.batch), ("epochs", self.epochs)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        weights = ("jacobian", self.jacobian), ("hessian", self.hessian), ("stability", self.stability)
        for name, value in weights:
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if (self.jacobian or self.hessian) and (
            self.uses_curvature or self.policy.history > 1 or self.policy.chunk > 1
        ):
            raise ValueError(
                f"jacobian = {self.jacobian} and hessian = {self.hessian} need a policy without history and "
                f"chunk, and loss and metric without curvature and stability = 0"
            )
        if self.uses_curvature and self.policy.chunk > 1:
            raise ValueError(
                f"the curvature is that of one input, policy.chunk must be 1, got {self.policy.chunk}"
            )
        if isinstance(self.policy, BeliefState) and (self.uses_curvature or self.jacobian or self.hessian):
            raise ValueError(
                "a belief state is trained by the cross-entropy of its tokens: it needs loss l2, l1 or huber "
                "(of held-out actions), metric loss, and jacobian, hessian and stability 0"
            )
        if not self.curvature_cap > 0:
            raise ValueError(f"curvature_cap must be positive, got {self.curvature_cap}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must be a share in [0, 1), got {self.validation}")
        choices = (
            ("loss", self.loss, ("l2", "l1", "huber", "curvature")),
            ("metric", self.metric, ("loss", "curvature")),
            ("curvature_of", self.curvature_of, ("value", "loop")),
            ("schedule", self.schedule, tuple(SCHEDULES)),
            ("keep", self.keep, ("last", "best")),
            ("dtype", self.dtype, ("float32", "float64")),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")

    @property
    def base(self) -> "BehaviourCloning":
        """How a policy is fitted: every learner has one."""
        return self

    def teacher(self) -> "Teach":
        from imitation.learners.cloning import clone

        return clone

    @property
    def uses_curvature(self) -> bool:
        """Whether the labels must have a curvature."""
        return "curvature" in (self.loss, self.metric) or self.stability > 0


@dataclass(frozen=True)
class NoiseInjection(Teachable):
    """Clone episodes of which a share has noise on the expert's inputs (arXiv 2507.09061)."""

    base: BehaviourCloning = field(default_factory=BehaviourCloning)
    """How the policy is fitted."""
    scale: float = 0.1
    """Radius of the ball that the noise is uniform in, in units of the input."""
    share: float = 0.5
    """Share of the episodes that are noisy."""
    labels: Literal["clean", "noisy"] = "clean"
    """What is imitated: the expert's input, or the one that was applied (for comparison)."""

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise ValueError(f"scale must not be negative, got {self.scale}")
        _require_share("share", self.share)
        if self.labels not in ("clean", "noisy"):
            raise ValueError(f"labels must be clean or noisy, got {self.labels!r}")

    def teacher(self) -> "Teach":
        from imitation.learners.cloning import clone_with_noise

        return clone_with_noise


@dataclass(frozen=True)
class Dagger(Teachable):
    """Label the states that the learner meets, in rounds (Ross, Gordon, Bagnell 2011)."""

    base: BehaviourCloning = field(default_factory=BehaviourCloning)
    """How each round's policy is fitted."""
    rounds: int = 5
    """Rounds, the expert's own demonstrations included; episodes divide evenly among them."""
    schedule: Literal["first", "exponential", "linear"] = "first"
    """Share of the expert's steps in round r: 1 at first and then 'first' 0, 'exponential' decay^r,
    'linear' 1 - r / rounds."""
    decay: float = 0.5
    """Of the exponential schedule."""

    def __post_init__(self) -> None:
        _require_rounds(self.rounds)
        _require_share("decay", self.decay)
        if self.schedule not in ("first", "exponential", "linear"):
            raise ValueError(f"schedule must be first, exponential or linear, got {self.schedule!r}")

    def share(self, r: int) -> float:
        """beta of round r: the probability that a step is the expert's."""
        match self.schedule:
            case "first":
                return float(r == 0)
            case "exponential":
                return self.decay**r
            case "linear":
                return 1 - r / self.rounds

    def teacher(self) -> "Teach":
        from imitation.learners.dagger import dagger

        return dagger


@dataclass(frozen=True)
class Dart(Teachable):
    """Clone the expert acting with noise like the learner's errors, in rounds (Laskey et al. 2017)."""

    base: BehaviourCloning = field(default_factory=BehaviourCloning)
    """How each round's policy is fitted."""
    rounds: int = 3
    """Rounds, the first without noise; episodes divide evenly among them."""
    alpha: float | None = None
    """Expected squared error that the noise of an episode stands for; None: that of the policy so far."""
    most: float = 0.25
    """Largest deviation of the noise, in parts of the half-widths of U: a policy that has hardly learned
    would ask for noise that no episode survives."""

    def __post_init__(self) -> None:
        _require_rounds(self.rounds)
        if not self.most > 0:
            raise ValueError(f"most must be positive, got {self.most}")
        if self.alpha is not None and not self.alpha >= 0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")

    def teacher(self) -> "Teach":
        from imitation.learners.dart import dart

        return dart


@dataclass(frozen=True)
class Forward(Teachable):
    """A policy for each time, fitted at the states that those before it reach (arXiv 2210.09206)."""

    base: BehaviourCloning = field(default_factory=BehaviourCloning)
    """How the policy of each time is fitted."""
    switch: bool = False
    """Hand over to LQR once all sampled states lie in its invariant level set."""

    def __post_init__(self) -> None:
        policy = self.base.policy
        if policy.history > 1 or policy.chunk > 1:
            raise ValueError(
                f"a policy for each time sees one state and plans one input, got history = {policy.history} "
                f"and chunk = {policy.chunk}"
            )

    def teacher(self) -> "Teach":
        from imitation.learners.forward import forward_training

        return forward_training


@dataclass(frozen=True)
class Cmile(Teachable):
    """Move from the expert to the learner in small steps (Tu, Robey, Zhang, Matni, arXiv 2102.09161)."""

    base: BehaviourCloning = field(default_factory=lambda: BehaviourCloning(stability=1.0))
    """How each round's policy is fitted: with a penalty where the expert's value would not fall, which needs
    labels with a curvature (stability = 0 does without)."""
    rounds: int = 5
    """Rounds; episodes divide evenly among them."""
    step: float = 0.3
    """Share a of the newest policy in the blend."""
    aggregate: bool = True
    """Fit each round's policy to all rounds so far, not to its own alone."""

    def __post_init__(self) -> None:
        _require_rounds(self.rounds)
        if not 0 < self.step <= 1:
            raise ValueError(f"step must lie in (0, 1], got {self.step}")

    def teacher(self) -> "Teach":
        from imitation.learners.cmile import cmile

        return cmile


LearnerConfig = BehaviourCloning | NoiseInjection | Dagger | Dart | Forward | Cmile
"""What the command line and an experiment see."""


def _require_rounds(rounds: int) -> None:
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
