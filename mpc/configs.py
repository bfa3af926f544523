"""Configs of the experts: frozen, without a problem, cheap to import.

``config.build(problem)`` makes the expert. The union ``ExpertConfig`` is what the command line and
an experiment see; adding an expert adds one class here and one module beside this one.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mpc.barrier import BarrierExpert
    from mpc.explicit import ExplicitExpert
    from mpc.lqr import LinearExpert, LqrExpert
    from mpc.online import OnlineExpert
    from mpc.problem import ControlProblem
    from mpc.smoothing import SmoothedExpert


def _expert(module: str, name: str) -> Any:
    """The expert's class, imported only when an expert is built (kernels compile then)."""
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Lqr:
    """Infinite-horizon LQR, its action projected onto the input polytope."""

    def build(self, problem: "ControlProblem") -> "LqrExpert":
        return _expert("mpc.lqr", "LqrExpert")(problem)


@dataclass(frozen=True)
class Linear:
    """A given gain: u = K x, never saturated."""

    K: tuple[tuple[float, ...], ...]
    """Rows of the gain, one for each input."""

    def build(self, problem: "ControlProblem") -> "LinearExpert":
        return _expert("mpc.lqr", "LinearExpert")(problem, self.K)


@dataclass(frozen=True)
class Online:
    """Exact MPC: the optimal plan is computed for each state."""

    solver: Literal["auto", "osqp", "cvxpy"] = "auto"
    """'auto' is the project's own active-set kernel; 'osqp' and 'cvxpy' (CLARABEL) are references."""
    soft: float | None = None
    """Weight of an exact L1 penalty on the state rows; None keeps them hard."""

    def build(self, problem: "ControlProblem") -> "OnlineExpert":
        return _expert("mpc.online", "OnlineExpert")(problem, solver=self.solver, soft=self.soft)


@dataclass(frozen=True)
class Explicit:
    """Exact MPC looked up: all regions of the law are listed when the expert is built."""

    max_regions: int = 50_000
    """Regions after which it is refused; most systems with more than four states have more."""
    max_seconds: float | None = None
    """Seconds after which it is refused; None for no limit."""

    def build(self, problem: "ControlProblem") -> "ExplicitExpert":
        return _expert("mpc.explicit", "ExplicitExpert")(
            problem, max_regions=self.max_regions, max_seconds=self.max_seconds
        )


@dataclass(frozen=True)
class Barrier:
    """MPC smoothed by a recentred log-barrier of fixed weight."""

    eta: float = 0.1
    """Barrier weight, in the units of the cost; the exact law is the limit of small eta."""

    def build(self, problem: "ControlProblem") -> "BarrierExpert":
        return _expert("mpc.barrier", "BarrierExpert")(problem, eta=self.eta)


@dataclass(frozen=True)
class Smoothed:
    """Exact MPC averaged over random shifts of the state."""

    sigma: float = 1.0
    """Radius of the shifts, in the units of the state."""
    samples: int = 64
    """Number of shifts, drawn once and shared by all states."""
    law: Literal["gaussian", "ball"] = "gaussian"
    """Law of a shift: standard normal, or uniform in the unit ball, times sigma."""
    infeasible: Literal["input_only", "drop", "refuse"] = "input_only"
    """At a shifted state without a plan: MPC with the input constraints only; leave the shift out;
    or call the state infeasible."""
    seed: int = 0
    """Seed of the shifts."""

    def build(self, problem: "ControlProblem") -> "SmoothedExpert":
        return _expert("mpc.smoothing", "SmoothedExpert")(
            problem,
            sigma=self.sigma,
            samples=self.samples,
            law=self.law,
            infeasible=self.infeasible,
            seed=self.seed,
        )


ExpertConfig = Lqr | Linear | Online | Explicit | Barrier | Smoothed
