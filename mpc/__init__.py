"""Linear systems inside polytopes and the model predictive controllers that are experts on them.

Public names are loaded on first use, so that ``import mpc`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpc import catalogue as catalogue
    from mpc.barrier import BarrierExpert as BarrierExpert
    from mpc.closed_loop import simulate as simulate
    from mpc.configs import Barrier as Barrier
    from mpc.configs import Explicit as Explicit
    from mpc.configs import Linear as Linear
    from mpc.configs import Lqr as Lqr
    from mpc.configs import Online as Online
    from mpc.configs import Smoothed as Smoothed
    from mpc.expert import Control as Control
    from mpc.expert import Expert as Expert
    from mpc.explicit import ExplicitExpert as ExplicitExpert
    from mpc.lqr import LinearExpert as LinearExpert
    from mpc.lqr import LqrExpert as LqrExpert
    from mpc.online import OnlineExpert as OnlineExpert
    from mpc.polytope import Polytope as Polytope
    from mpc.problem import ControlProblem as ControlProblem
    from mpc.rollouts import Rollouts as Rollouts
    from mpc.smoothing import SmoothedExpert as SmoothedExpert
    from mpc.status import Status as Status
    from mpc.system import LinearSystem as LinearSystem

DISTRIBUTION = "centralpath"
"""Marks the folder as ours: other distributions own the same import name."""

_HOME = {
    "Barrier": "mpc.configs",
    "BarrierExpert": "mpc.barrier",
    "Control": "mpc.expert",
    "ControlProblem": "mpc.problem",
    "Expert": "mpc.expert",
    "Explicit": "mpc.configs",
    "ExplicitExpert": "mpc.explicit",
    "LinearExpert": "mpc.lqr",
    "LinearSystem": "mpc.system",
    "Linear": "mpc.configs",
    "Lqr": "mpc.configs",
    "LqrExpert": "mpc.lqr",
    "Online": "mpc.configs",
    "OnlineExpert": "mpc.online",
    "Polytope": "mpc.polytope",
    "Rollouts": "mpc.rollouts",
    "Smoothed": "mpc.configs",
    "SmoothedExpert": "mpc.smoothing",
    "Status": "mpc.status",
    "simulate": "mpc.closed_loop",
}
__all__ = [*_HOME, "catalogue"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "catalogue":
        return import_module("mpc.catalogue")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mpc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
