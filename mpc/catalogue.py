"""The catalogue of systems: functions that return a ``ControlProblem``, and how they are named in text.

A new system is one function here and one entry of ``SYSTEMS``. Every function takes ``N`` (the
horizon) and ``Qf`` (the terminal weight: 'Q', 'dare' or an array). States, inputs and the sampling
time carry their units in the labels; where a source is silent, the docstring says what was chosen.
"""

import difflib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpc import plants
from mpc.arrays import Array, whole_number
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.random_problems import random_system
from mpc.system import LinearSystem

Weight = str | ArrayLike
Argument = float | int | str


def double_integrator(N: int = 10, Qf: Weight = "Q") -> ControlProblem:
    """Double integrator: ``A = [[1, 1], [0, 1]]``, ``B = [0, 1]'``, Q = I, R = 0.01, |x_i| <= 10, |u| <= 1.

    Source: Pfrommer et al., "On the Sample Complexity of Imitation Learning for Smoothed Model
    Predictive Control", arXiv 2306.01914, section 5. Its terminal weight is Q. The law of x_0 is not
    stated there; here it is uniform on the feasible part of X.
    """
    return ControlProblem(
        system=LinearSystem([[1, 1], [0, 1]], [[0], [1]], dt=1.0),  # type: ignore[arg-type]
        X=_cube(2, 10),
        U=_cube(1, 1),
        Q=np.eye(2),
        R=0.01 * np.eye(1),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        name="double_integrator",
        state_labels=("position [m]", "velocity [m/s]"),
        input_labels=("acceleration [m/s^2]",),
    )


def triangular(d: int = 3, N: int = 20, Qf: Weight = "dare") -> ControlProblem:
    """Open-loop unstable triangular system of ``d`` states (all eigenvalues 1.1) with one input.

    ``A = triu(tile(RandomState(0).uniform(-2, 2, d), (d, 1)), 1) + 1.1 I``, ``B = e_d``, Q = R = I,
    |x_i| <= 100, |u| <= 10, x_0 uniform on the feasible part of [8, 10]^d.

    Source: Ahn, Mhammedi, Mania, Hong, Jadbabaie, "Model Predictive Control via On-Policy Imitation
    Learning", arXiv 2210.09206 (d = 3 and 5). The terminal weight is not stated there; here DARE.
    """
    d = whole_number("d", d, 1)
    row = np.random.RandomState(0).uniform(-2, 2, d)
    A = np.triu(np.tile(row, (d, 1)), 1) + 1.1 * np.eye(d)
    return ControlProblem(
        system=LinearSystem(A, np.eye(d)[:, -1:]),
        X=_cube(d, 100),
        U=_cube(1, 10),
        Q=np.eye(d),
        R=np.eye(1),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=Polytope.box(np.full(d, 8.0), np.full(d, 10.0)),
        name=f"triangular_{d}",
    )


_PITFALL_PLANTS = {
    1: ([[1.25, 0.375], [-0.375, 0.5]], [[-1.25, -0.375], [0.375, 0]]),
    2: ([[-1.25, 0.375], [-1.5, 0.5]], [[1.25, -0.375], [1.5, 0]]),
}


def pitfall_gain(which: int = 1) -> Array:
    """The gain ``K (2, 2)`` of ``u = K x`` that comes with ``pitfall_plant(which)``: A + K has radius 0.5.

    For ``LinearExpert(pitfall_plant(which), pitfall_gain(which))``.
    """
    return np.array(_pitfall(which)[1])


def pitfall_plant(which: int = 1, N: int = 10, Qf: Weight = "dare") -> ControlProblem:
    """One of a pair of stable plants on which behaviour cloning is undetermined (``which`` is 1 or 2).

    B = I; both closed loops ``A + K`` (``pitfall_gain``) agree on span(e2), so data on that axis leave
    the slope along e1 free, and on one of the two plants the error then grows like 1.25^t. The plants
    come with gains, not costs: Q = R = I, |x_i| <= 100, |u_i| <= 100 (never active) and x_0 uniform on
    [-1, 1]^2 are choices made here.

    Source: after "The Pitfalls of Imitation Learning when Actions are Continuous", arXiv 2503.09722.
    """
    return ControlProblem(
        system=LinearSystem(_pitfall(which)[0], np.eye(2)),  # type: ignore[arg-type]
        X=_cube(2, 100),
        U=_cube(2, 100),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=_cube(2, 1),
        name=f"pitfall_plant_{which}",
    )


def _pitfall(which: int) -> tuple[list[list[float]], list[list[float]]]:
    if which not in _PITFALL_PLANTS:
        raise ValueError(f"which must be 1 or 2, got {which!r}")
    return _PITFALL_PLANTS[which]


def chain_of_masses(N: int = 30, Qf: Weight = "dare") -> ControlProblem:
    """Six unit masses in a row, joined to each other and to two walls by springs of constant 1, undamped.

    States: six displacements, then six velocities. Inputs: tensions between masses 1 and 2, 3 and 5,
    4 and 6 (``+u`` on the first, ``-u`` on the second), |u_i| <= 0.5, |displacement| <= 4, Q = R = I,
    zero-order hold of 0.5 s. Velocities have no bound; x_0 is uniform on the feasible part of
    |displacement| <= 1.2, |velocity| <= 1.2, a choice made here.

    Source: Wang and Boyd, "Fast Model Predictive Control Using Online Optimization", IEEE Transactions
    on Control Systems Technology 18(2), 2010, section V-A, and the authors' example program.
    """
    stiffness = -2 * np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1)
    A = np.block([[np.zeros((6, 6)), np.eye(6)], [stiffness, np.zeros((6, 6))]])
    B = np.zeros((12, 3))
    for column, (pulled, pulled_back) in enumerate(((0, 1), (2, 4), (3, 5))):
        B[6 + pulled, column], B[6 + pulled_back, column] = 1.0, -1.0
    return ControlProblem(
        system=LinearSystem.from_continuous(A, B, 0.5),
        X=_bounded(np.r_[np.full(6, 4.0), np.full(6, np.inf)]),
        U=_cube(3, 0.5),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=_cube(12, 1.2),
        name="chain_of_masses",
        state_labels=(
            *(f"displacement {i} [m]" for i in range(1, 7)),
            *(f"velocity {i} [m/s]" for i in range(1, 7)),
        ),
        input_labels=("tension 1-2 [N]", "tension 3-5 [N]", "tension 4-6 [N]"),
    )


_QUADROTOR_B = [
    [0, -0.0726, 0, 0.0726],
    [-0.0726, 0, 0.0726, 0],
    [-0.0152, 0.0152, -0.0152, 0.0152],
    [0, -0.0006, 0, 0.0006],
    [0.0006, 0, -0.0006, 0],
    [0.0106, 0.0106, 0.0106, 0.0106],
    [0, -1.4512, 0, 1.4512],
    [-1.4512, 0, 1.4512, 0],
    [-0.3049, 0.3049, -0.3049, 0.3049],
    [0, -0.0236, 0, 0.0236],
    [0.0236, 0, -0.0236, 0],
    [0.2107, 0.2107, 0.2107, 0.2107],
]


def quadrotor(N: int = 10, Qf: Weight = "dare") -> ControlProblem:
    """Linearised quadrotor, sampled at 0.1 s: 12 states, 4 rotor inputs, regulation to hover at the origin.

    States: roll, pitch, yaw, x, y, z, and their rates. Inputs: rotor commands relative to the hover
    command 10.5916, which range over [9.6, 13], so U = [-0.9916, 2.4084]^4 is not symmetric. |roll| and
    |pitch| <= pi/6, z >= -1; Q = diag(0, 0, 10, 10, 10, 10, 0, 0, 0, 5, 5, 5), R = 0.1 I.

    Source: the model predictive control example of the OSQP documentation, where the terminal weight
    is Q (pass Qf='Q') and the reference is z = 1. x_0 uniform on the feasible part of a box (|angles|
    <= pi/6, positions and rates as in the code) is a choice made here.
    """
    A = np.eye(12)
    A[[0, 1, 2], [6, 7, 8]] = 0.1
    A[[3, 4, 5], [9, 10, 11]] = 0.0992
    A[[9, 10, 11], [9, 10, 11]] = 0.9846
    for position, velocity, angle, sign in ((3, 9, 0, 1.0), (4, 10, 1, -1.0)):
        A[position, [angle, angle + 6]] = sign * 0.0488, sign * 0.0016
        A[velocity, [angle, angle + 6]] = sign * 0.9734, sign * 0.0488
    hover, tilt, free = 10.5916, np.pi / 6, np.inf
    start = np.r_[np.full(3, tilt), np.full(3, 1.0), np.full(6, 0.5)]
    return ControlProblem(
        system=LinearSystem(A, _QUADROTOR_B, dt=0.1),  # type: ignore[arg-type]
        X=Polytope.box(np.r_[-tilt, -tilt, [-free] * 3, -1, [-free] * 6], np.r_[tilt, tilt, [free] * 10]),
        U=Polytope.box(np.full(4, 9.6 - hover), np.full(4, 13.0 - hover)),
        Q=np.diag([0, 0, 10.0, 10, 10, 10, 0, 0, 0, 5, 5, 5]),
        R=0.1 * np.eye(4),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=_bounded(start),
        name="quadrotor",
        state_labels=(
            *(f"{angle} [rad]" for angle in ("roll", "pitch", "yaw")),
            *(f"{axis} [m]" for axis in "xyz"),
            *(f"{angle} rate [rad/s]" for angle in ("roll", "pitch", "yaw")),
            *(f"d{axis}/dt [m/s]" for axis in "xyz"),
        ),
        input_labels=tuple(f"rotor {i} above hover [-]" for i in range(1, 5)),
    )


def cart_pole(N: int = 30, Qf: Weight = "dare") -> ControlProblem:
    """Cart-pole linearised about the upright pole, zero-order hold of 0.05 s: 4 states, 1 input.

    With g = 9.8 m/s^2, cart 1 kg, pole 0.1 kg of half-length l = 0.5 m, total mass M = 1.1 kg and
    small angles: ``theta'' = (g theta - F/M) / (l (4/3 - 0.1/M))``, ``p'' = (F - 0.1 l theta'')/M``.
    |p| <= 2.4 m, |theta| <= 12 degrees, |F| <= 10 N.

    Source: Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning
    control problems", IEEE Transactions on Systems, Man, and Cybernetics 13(5), 1983 (friction left
    out). Sampling time, Q = diag(1, 0.1, 10, 0.1), R = 0.01, and x_0 uniform on the feasible part of X
    with |p'| <= 2 m/s and |theta'| <= 1 rad/s are choices made here.
    """
    g, pole, l, M = 9.8, 0.1, 0.5, 1.1
    inertia = l * (4 / 3 - pole / M)
    A, B = np.zeros((4, 4)), np.zeros((4, 1))
    A[0, 1] = A[2, 3] = 1.0
    A[3, 2], B[3, 0] = g / inertia, -1 / (M * inertia)
    A[1, 2], B[1, 0] = -pole * l / M * A[3, 2], 1 / M - pole * l / M * B[3, 0]
    tilt = np.deg2rad(12)
    return ControlProblem(
        system=LinearSystem.from_continuous(A, B, 0.05),
        X=_bounded([2.4, np.inf, tilt, np.inf]),
        U=_cube(1, 10),
        Q=np.diag([1, 0.1, 10, 0.1]),
        R=0.01 * np.eye(1),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=_bounded([2.4, 2.0, tilt, 1.0]),
        name="cart_pole",
        state_labels=(
            "cart position [m]",
            "cart velocity [m/s]",
            "pole angle [rad]",
            "pole rate [rad/s]",
        ),
        input_labels=("force [N]",),
    )


def afti16(N: int = 10, Qf: Weight = "dare") -> ControlProblem:
    """AFTI-16 aircraft, longitudinal dynamics with an unstable pole, zero-order hold of 0.05 s.

    States: forward speed, angle of attack, pitch rate, pitch angle; inputs: elevator and flaperon,
    |u_i| <= 25 degrees; |angle of attack| <= 0.5 degrees, |pitch angle| <= 100 degrees. Angles are in
    degrees, so the forward speed, coupled to them in radians, counts in units of pi/180 ft/s.
    Q = diag(1e-4, 1e2, 1e-3, 1e2), R = 0.01 I, regulation to the origin.

    Source: Kapasouris, Athans and Stein, "Design of feedback control systems for unstable plants with
    saturating actuators", IFAC Nonlinear Control Systems Design, 1990, in the numbers of Bemporad,
    Casavola and Mosca, IEEE Transactions on Automatic Control 42(3), 1997; weights as in the collection
    mpcBenchmarking (Kouzoupis et al., ECC 2015), variants 12 to 14. x_0 uniform on the feasible part of
    |speed| <= 10, |attack| <= 0.5, |pitch rate| <= 5, |pitch| <= 10 is a choice made here.
    """
    A = [[-0.0151, -60.5651, 0, -32.174], [-0.0001, -1.3411, 0.9929, 0], [0.00018, 43.2541, -0.86939, 0]]
    B = [[-2.516, -13.136], [-0.1689, -0.2514], [-17.251, -1.5766], [0, 0]]
    return ControlProblem(
        system=LinearSystem.from_continuous([*A, [0, 0, 1, 0]], B, 0.05),
        X=_bounded([np.inf, 0.5, np.inf, 100]),
        U=_cube(2, 25),
        Q=np.diag([1e-4, 1e2, 1e-3, 1e2]),
        R=0.01 * np.eye(2),
        Qf=Qf,  # type: ignore[arg-type]
        N=N,
        initial=_bounded([10, 0.5, 5, 10]),
        name="afti16",
        state_labels=(
            "forward speed [pi/180 ft/s]",
            "angle of attack [deg]",
            "pitch rate [deg/s]",
            "pitch angle [deg]",
        ),
        input_labels=("elevator [deg]", "flaperon [deg]"),
    )


def _cube(dimension: int, half_width: float) -> Polytope:
    return Polytope.box(np.full(dimension, -half_width), np.full(dimension, half_width))


def _bounded(half_widths: ArrayLike) -> Polytope:
    """The box ``|z_i| <= half_widths_i``; infinite ones bound nothing."""
    widths = np.asarray(half_widths, float)
    return Polytope.box(-widths, widths)


SYSTEMS: tuple[Callable[..., ControlProblem], ...] = (
    double_integrator,
    triangular,
    pitfall_plant,
    chain_of_masses,
    quadrotor,
    cart_pole,
    afti16,
    random_system,
    *plants.FUNCTIONS,
)
"""Every system by function; its name is ``function.__name__``. Gym ids, CLI and tests enrol from here."""


def system_function(name: str) -> Callable[..., ControlProblem]:
    """The catalogue's function called ``name``.

    Raises:
        ValueError: for an unknown name, with near matches and all names.
    """
    known = {function.__name__: function for function in SYSTEMS}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(
            f"unknown system {name!r}{hint} Known are {', '.join(known)}, "
            f"or the path of a problem's record ending in .json"
        )
    return known[name]


_SETS = {"Xf": ("invariant", "origin"), "initial": ("feasible", "invariant", "control_invariant")}


@dataclass(frozen=True)
class SystemSpec:
    """A system in text: a catalogue name, or the path of a ``.json`` record, with arguments by name.

    ``str(SystemSpec.parse("triangular:N=20,d=5"))`` is ``"triangular:N=20,d=5"``: arguments are kept in
    alphabetical order, so that equal systems are equal specs.
    """

    name: str
    """A function of the catalogue, or a path ending in .json (the JSON of ``ControlProblem.record()``)."""
    arguments: tuple[tuple[str, Argument], ...] = ()
    """Pairs (argument, value); a record file takes N and Qf.

    Every system takes two sets by name (``mpc.invariant``): ``Xf``, 'invariant' (under LQR) or 'origin', and
    ``initial``, the law of initial states, 'feasible' (a plan exists), 'invariant' (under LQR) or
    'control_invariant'.
    """

    def __post_init__(self) -> None:
        pairs = tuple(sorted(((str(key), value) for key, value in self.arguments), key=lambda pair: pair[0]))
        names = [key for key, _ in pairs]
        repeated = sorted({key for key in names if names.count(key) > 1})
        if repeated:
            raise ValueError(f"system {self.name!r}: arguments given more than once: {', '.join(repeated)}")
        object.__setattr__(self, "arguments", pairs)

    @classmethod
    def parse(cls, text: str) -> "SystemSpec":
        """Read ``name`` or ``name:argument=value,...``; values are whole numbers, numbers, else text.

        Raises:
            ValueError: for an unknown system or argument, or a pair that is not ``argument=value``.
        """
        if text.endswith(".json"):
            return cls(text)
        name, _, rest = text.rpartition(":") if ".json:" in text else text.partition(":")
        pairs = tuple(_pair(text, item) for item in rest.split(",")) if rest else ()
        spec = cls(name.strip(), pairs)
        spec._check()
        return spec

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        return self.name + ":" + ",".join(f"{key}={value}" for key, value in self.arguments)

    def build(self) -> ControlProblem:
        """The control problem.

        Raises:
            ValueError: for an unknown system or argument, or a file that is no problem's record.
        """
        self._check()
        arguments: dict[str, Any] = {key: value for key, value in self.arguments if key not in _SETS}
        if self._is_file:
            problem = _read_record(Path(self.name)).with_(**arguments)
        else:
            problem = system_function(self.name)(**arguments)
        for key in _SETS:  # the terminal set first: it bounds the feasible set
            named = dict(self.arguments).get(key)
            problem = problem if named is None else problem.with_(**{key: _set(problem, named)})
        return problem

    @property
    def _is_file(self) -> bool:
        return self.name.endswith(".json")

    def _check(self) -> None:
        known = (
            ["N", "Qf"] if self._is_file else list(inspect.signature(system_function(self.name)).parameters)
        )
        known += _SETS
        for key, value in self.arguments:
            if key in _SETS and value not in _SETS[key]:
                raise ValueError(f"{key} must be one of {', '.join(_SETS[key])}, got {value!r}")
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else "."
                raise ValueError(
                    f"system {self.name!r} has no argument {key!r}{hint} It takes {', '.join(known)}"
                )


def _set(problem: ControlProblem, name: Argument) -> Polytope:
    """A set of ``_SETS``, computed for the problem."""
    from mpc import invariant

    if name == "origin":
        rows = np.vstack([np.eye(problem.n), -np.eye(problem.n)])
        return Polytope(rows, np.zeros(len(rows)))
    if name == "invariant":
        return invariant.positively_invariant(problem)
    return invariant.feasible_set(problem) if name == "feasible" else invariant.control_invariant(problem)


def _pair(text: str, item: str) -> tuple[str, Argument]:
    key, equals, value = (part.strip() for part in item.partition("="))
    if not (key and equals and value):
        raise ValueError(f"cannot read {item!r} in {text!r}; write name:argument=value,argument=value")
    for number in (int, float):
        try:
            return key, number(value)
        except ValueError:
            continue
    return key, value


def _read_record(path: Path) -> ControlProblem:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the problem's record {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; write json.dumps(problem.record()) there") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds a {type(record).__name__}, not the record of a ControlProblem")
    return ControlProblem.from_record(record)
