"""Which accuracy barrier MPC delivers: the table of docs/solvers.md, measured and held.

``python -m pytest -m full -s tests/test_mpc_barrier_accuracy.py`` prints it, a minute or two.
"""

from collections.abc import Callable

import numpy as np
import pytest
from awkward_problems import rays
from extended_precision import labels_of, needs_extended_precision
from generators import VARIANTS, feasible_states

from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.condense import condense
from mpc.problem import ControlProblem

NAMES = ("double_integrator", "asymmetric", "random_4_2", "afti16", "quadrotor", "cart_pole", "triangular_5")
ETAS = (1e-6, 1e-3, 1.0, 1e3)
LABELS = ("u", "value", "gradient", "dudx", "curvature")
pytestmark = needs_extended_precision


def errors(problem: ControlProblem, x: Array, eta: float) -> Array:
    """The worst error over some states of each of ``LABELS``, as a part of the largest entry of the state's
    label (of u and dudx: of the largest of all these states, for a law may vanish at one)."""
    control = BarrierExpert(problem, eta)(x)
    exact = [labels_of(problem, state, eta) for state in x]
    worst = []
    for name in LABELS:
        there = np.array([getattr(label, name) for label in exact]).reshape(len(x), -1)
        apart = np.abs(control.arrays()[name].reshape(len(x), -1) - there).max(axis=1)
        size = np.abs(there).max(axis=1)
        worst.append((apart / (size.max() if name in ("u", "dudx") else size)).max())
    return np.array(worst)


def inside(problem: ControlProblem, count: int) -> Array:
    return feasible_states(problem, count, "accuracy")


def at_the_edge(problem: ControlProblem, count: int) -> Array:
    """States at a millionth of the way from the edge of the feasible set."""
    directions, reach = rays(problem, count)
    return ((1 - 1e-6) * reach)[:, None] * directions


def row(name: str, eta: float, count: int, where: Callable[..., Array] = inside) -> tuple[Array, str]:
    problem = VARIANTS[name]()
    found = errors(problem, where(problem, count), eta)
    title = name if where is inside else f"{name}, edge"
    condition = np.linalg.cond(condense(problem).H)
    numbers = " | ".join(f"{error:.0e}" for error in found)
    return found, f"| {title} | {condition:.1e} | {eta:g} | {numbers} |"


@pytest.mark.parametrize("eta", [1e-6, 1.0])
def test_the_accuracy_stated_in_the_docs_is_delivered(eta):
    for name in ("asymmetric", "cart_pole"):
        is_as_stated(row(name, eta, 4)[0], eta)


def is_as_stated(found: Array, eta: float) -> None:
    """What docs/solvers.md promises for the systems of the catalogue."""
    u, value, gradient, dudx, curvature = found
    assert u <= 1e-9, found
    assert value <= 1e-8, found
    assert max(gradient, curvature) <= 1e-6, found
    assert dudx <= (1e-7 if eta >= 1e-3 else 1e-4), found


@pytest.mark.full
def test_the_table_of_the_docs(capsys):
    head = f"| system | cond(H) | eta | {' | '.join(LABELS)} |\n{'|---' * (3 + len(LABELS))}|"
    with capsys.disabled():
        print(head)
        found = [(*row(name, eta, 20), eta) for name in NAMES for eta in ETAS]
        found += [(*row(name, eta, 10, at_the_edge), eta) for name in NAMES[:3] for eta in ETAS]
        print(*(line for _, line, _ in found), sep="\n", flush=True)
    for worst, _, eta in found:
        is_as_stated(worst, eta)
