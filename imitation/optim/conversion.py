"""The online-to-nonconvex conversion (Cutkosky, Mehta, Orabona, arXiv 2302.03775; Ahn et al., 2411.07061).

At step t an online learner gives d_t; a point x_t is chosen; ``w_t = x_t + d_t``; the gradient g_t is taken
at a random ``y_t = x_t + s_t d_t``; the learner sees ``<g_t, .>``. The learner is the base: d_{t+1} is its
step. ``d' = b/(1 + lr mu) (d - lr g)``, discounted descent on ``<g, .> + mu/2 ||.||^2``, is SGD with
``momentum = zeta`` at the rate ``zeta lr``, zeta = b/(1 + lr mu).
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from imitation.optim.algebra import Scalar, minus, mixed, picked, plus, size, zeros
from imitation.optim.contract import Draw, Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.wrapper import Wrapper


@dataclass(frozen=True, eq=False)
class ConversionState:
    """Steps, x, d, what is deployed where the output rule keeps it, and the base's state."""

    step: int
    x: Params
    d: Params
    mean: Params
    chosen: Params
    base: Any


@dataclass(frozen=True)
class ConversionRule(Wrapper):
    """Args:
    choice: of x_t: 'last' is ``w_{t-1}`` (momentum SGD, Adam), 'anchor' is the start, 'ahead' is
        ``x_{t-1} + d_t / zeta`` (schedule-free SGD).
    zeta: of 'ahead'.
    scaling: of s_t: 'uniform' on [0, 1], 'exponential' with mean 1 (then y_t stands for w_t), or 'one'.
    output: what is deployed: y_t as it is; its b-weighted 'mean'; or that mean at a 'random' step so far,
        which the theory bounds.
    discount: b of the mean.

    The weights that are trained are y.
    """

    base: Rule
    choice: Literal["last", "anchor", "ahead"]
    zeta: float
    scaling: Literal["uniform", "exponential", "one"]
    output: Literal["newest", "mean", "random"]
    discount: float

    def asks(self, params: Params) -> dict[str, Draw]:
        own: dict[str, Draw] = {}
        if self.scaling != "one":
            own["scale"] = Draw(self.scaling)
        if self.output == "random":
            own["choose"] = Draw("uniform")
        return own | super().asks(params)

    def init(self, params: Params, draws: Draws) -> ConversionState:
        mean = {} if self.output == "newest" else zeros(params)
        chosen = dict(params) if self.output == "random" else {}
        base = self.base.init(params, of_base(draws))
        return ConversionState(0, dict(params), zeros(params), mean, chosen, base)

    def update(
        self, state: ConversionState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, ConversionState, dict[str, Tensor]]:
        step = state.step + 1
        mean, chosen = self._outputs(state, params, step, draws)
        moved, base, info = self.base.update(state.base, params, objective, lr, of_base(draws))
        d = minus(moved, params)
        x = state.x
        if self.choice == "last":
            x = plus(state.x, 1.0, state.d) if self.scaling == "uniform" else params
        elif self.choice == "ahead":
            x = plus(state.x, 1 / self.zeta, d)
        y = plus(x, 1.0 if self.scaling == "one" else draws["scale"], d)
        return y, ConversionState(step, x, d, mean, chosen, base), info

    def _outputs(self, state: ConversionState, y: Params, step: int, draws: Draws) -> tuple[Params, Params]:
        """The mean of y_1 .. y_t with weights b^(t-s), and the mean at a random step among 1 .. t."""
        if self.output == "newest":
            return state.mean, state.chosen
        share = (1 - self.discount) / (1 - self.discount**step)
        mean = mixed(state.mean, y, share)
        if self.output == "mean":
            return mean, state.chosen
        taken = draws["choose"] * step < 1
        return mean, picked(taken, mean, state.chosen)

    def deployed(self, state: ConversionState, params: Params) -> Params:
        if self.output == "newest" or not state.step:
            return params
        return state.mean if self.output == "mean" else state.chosen

    def state_bytes(self, params: Params) -> int:
        copies = {"newest": 2, "mean": 3, "random": 4}[self.output]
        return copies * size(params) + self.base.state_bytes(params)
