"""What training returns: the deployed policies of a population and how they came about."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from imitation.learners.configs import BehaviourCloning
from imitation.policies.configs import PolicyConfig
from imitation.policies.contract import Tensors
from imitation.policies.network import PolicyNetwork
from imitation.population import forward
from mpc.arrays import Array
from mpc.controllers import Blend, Law, Planner, Staged
from mpc.lqr import LqrExpert
from mpc.problem import ControlProblem


@dataclass(frozen=True, eq=False)
class History:
    """Training seen at a few steps, each array ``(K, points)``.

    Args:
        steps: gradient steps taken at the point.
        loss: mean minibatch loss since the point before (the last minibatch's where none came between).
        validation: loss of the deployed actions over the held-out episodes; NaN where none are held out.
        observed: what the observer given to ``train`` made of the deployed policy ``(K, points, ...)``;
            None without one.
    """

    steps: np.ndarray
    loss: Array
    validation: Array
    observed: Array | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """The deployed weights of K members; everything carries the member axis first.

    Args:
        config: the learner that trained them.
        problem: the problem they were trained for (its sizes and input bounds shape the policies).
        params, buffers: tensors ``(K, ...)`` by name.
        history: the course of training so far.
    """

    config: BehaviourCloning
    problem: ControlProblem
    params: Tensors
    buffers: Tensors
    history: History

    @property
    def members(self) -> int:
        """K."""
        return len(next(iter(self.params.values())))

    @property
    def n(self) -> int:
        return self.problem.n

    @property
    def m(self) -> int:
        return self.problem.m

    @property
    def problem_key(self) -> str:
        return self.problem.key

    @property
    def inputs(self) -> int:
        """Entries of what a policy sees: L n."""
        return self.config.policy.history * self.n

    def policy(self, k: int) -> nn.Module:
        """Member ``k`` as a module of its own in ``eval()`` mode: ``(B, n) -> (B, m)`` tensors.

        Raises:
            ValueError: if there is no such member.
        """
        if not 0 <= k < self.members:
            raise ValueError(f"k must name one of {self.members} members, 0 to {self.members - 1}, got {k}")
        module = self.config.policy.build(self.n, self.m, self.problem.U).to(_dtype(self.params))
        module.load_state_dict({name: value[k] for name, value in (self.params | self.buffers).items()})
        return module.eval()

    @cached_property
    def policies(self) -> tuple[nn.Module, ...]:
        """All members as modules."""
        return tuple(self.policy(k) for k in range(self.members))

    @cached_property
    def _first(self) -> nn.Module:
        """Whose architecture all members act with, step after step of a loop."""
        return self.policy(0)

    @property
    def controllers(self) -> tuple[Planner, ...]:
        """All members as controllers."""
        return tuple(policy_controller(policy) for policy in self.policies)

    def together(self, E: int) -> Planner:
        """One controller of all members' loops, ``E`` each, member by member."""
        shape = self.config.policy
        return Planner(self.folded(E), shape.history, shape.chunk)

    def folded(self, E: int) -> Callable[[Array], Array]:
        """``(K E, L n)`` to ``(K E, l m)``: the policies' actions, each at its own rows."""
        return lambda x: np.concatenate(self.act(x.reshape(self.members, E, -1)))

    def act(self, x: ArrayLike) -> Array:
        """Deployed actions ``(K, B, m)`` in float64 at ``x (K, B, n)``, or at ``x (B, n)`` for all members.

        One batched program; a member's actions do not depend on the others', to rounding. Of policies with a
        history x holds windows ``(B, L n)``, of those that plan the answers are plans ``(K, B, l m)``.

        Raises:
            ValueError: if x has another shape.
        """
        x = np.asarray(x, float)
        if x.ndim == 2:
            x = np.broadcast_to(x, (self.members, *x.shape))
        if x.ndim != 3 or x.shape[0] != self.members or x.shape[2] != self.inputs:
            raise ValueError(
                f"x must have shape ({self.members}, B, {self.inputs}), or (B, {self.inputs}) for all "
                f"members, got {x.shape}"
            )
        module, tensors = self._first, self.params | self.buffers
        assert isinstance(module, PolicyNetwork)
        with torch.inference_mode():
            u = forward(module)(tensors, torch.from_numpy(np.array(x)).to(_dtype(self.params)))
            return module.bounded(u).double().numpy()


def policy_controller(policy: nn.Module) -> Planner:
    """A policy's module as a controller, with the window and the chunk of its config, in ``eval()`` mode."""
    module, config = policy.eval(), cast(PolicyConfig, policy.config)
    return Planner(lambda x: act(module, x), config.history, config.chunk)


@dataclass(frozen=True)
class Deployment:
    """How the fits of a pupil become its controller.

    Args:
        fits: how many of them are used, the first ones; None: all.
        weights: the blend of their actions; None: one for each time, or the only one.
        lqr: whether LQR takes over after the last one.
    """

    fits: int | None = None
    weights: tuple[float, ...] | None = None
    lqr: bool = False

    def controller(
        self, laws: Sequence[Callable[[Array], Array]], shape: PolicyConfig, problem: ControlProblem
    ) -> Law:
        """The controller that policies make, in order of their fits.

        Args:
            laws: what each of them does at windows ``(B, L n)``.
            shape: their config.
        """
        used = laws[: self.fits]
        if self.weights is not None:
            return Blend([Planner(law, shape.history, shape.chunk) for law in used], self.weights)
        if len(used) == 1 and not self.lqr:
            return Planner(used[0], shape.history, shape.chunk)
        return Staged([*used, LqrExpert(problem)] if self.lqr else used)


def act(policy: nn.Module, x: ArrayLike) -> Array:
    """Actions ``(B, m)`` of one policy at ``x (B, n)``, float64 to the policy's precision and back."""
    tensors = dict(policy.named_parameters())
    with torch.inference_mode():
        return policy(torch.as_tensor(np.array(x, float)).to(_dtype(tensors))).double().numpy()


def _dtype(tensors: dict[str, Tensor] | dict[str, nn.Parameter]) -> torch.dtype:
    return next(iter(tensors.values())).dtype
