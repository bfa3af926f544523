"""The catalogue: every system is well posed, its numbers are the source's, and its name reads back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import catalogue, plants
from mpc.arrays import whole_number
from mpc.catalogue import SYSTEMS, SystemSpec, system_function
from mpc.configs import Online
from mpc.invariant import feasible_set, positively_invariant
from mpc.problem import ControlProblem, stage_rows
from mpc.random_problems import random_system
from mpc.sampling import UniformSampler
from mpc.seeds import seed_for
from mpc.status import Status

SPECS = [
    *(function.__name__ for function in SYSTEMS),
    "triangular:d=5",
    "pitfall_plant:which=2",
    "random_system:facets=12,m=2,n=4,seed=3",
    "random_system:facets=5,m=3,n=2,seed=1",
]
# Variants of the collection that are no regulation problem of the project's form, and why.
TRACKING = {
    *(f"aircraft_{i}" for i in range(1, 5)),
    *(f"ballOnPlate_{i}" for i in range(1, 4)),
    *(f"dcMotor_{i}" for i in range(1, 7)),
    *(f"forcesExample_{i}" for i in range(3, 5)),
    *(f"nonlinearChain_{i}" for i in range(1, 5)),
    *(f"nonlinearCstr_{i}" for i in range(1, 4)),
    *(f"polytopicTerminal_{i}" for i in range(1, 3)),
    *(f"quadcopter_{i}" for i in range(1, 4)),
}
BLOCKED = {"binaryDistillationColumn_2", "spacecraft_1"}


def build(spec: str) -> ControlProblem:
    return SystemSpec.parse(spec).build()


@pytest.mark.parametrize("spec", SPECS)
def test_origin_is_strictly_inside_every_set(spec: str) -> None:
    problem = build(spec)
    for polytope in (problem.X, problem.U, problem.Xf, problem.XU):
        if polytope is not None:
            assert (polytope.h > 0).all()
    for k in range(problem.N + 1):
        assert (stage_rows(problem, k)[2] > 0).all()


@pytest.mark.parametrize("spec", SPECS)
def test_initial_set_is_bounded_and_has_an_interior(spec: str) -> None:
    initial = build(spec).initial_set
    assert np.isfinite(initial.bounds).all()
    assert initial.chebyshev[1] > 0
    assert np.isfinite(build(spec).divergence_limit)


@pytest.mark.parametrize("spec", SPECS)
def test_is_stabilisable(spec: str) -> None:
    """Hautus: [A - lambda I, B] has full row rank for every eigenvalue outside the open unit disc."""
    system = build(spec).system
    for value in np.linalg.eigvals(system.A):
        if abs(value) >= 1 - 1e-9:
            pencil = np.hstack([system.A - value * np.eye(system.n), system.B])
            assert np.linalg.svd(pencil, compute_uv=False)[-1] > 1e-6


@pytest.mark.parametrize("spec", SPECS)
def test_a_fair_share_of_initial_states_has_plans(spec: str) -> None:
    problem = build(spec)
    sampler, count = UniformSampler(problem.initial_set), 2 if problem.N > 100 else 40
    seeds = seed_for("catalogue test", spec).spawn(count)
    x0 = sampler.draw([np.random.default_rng(seed) for seed in seeds])
    control = Online().build(problem)(np.vstack([np.zeros(problem.n), x0]))
    assert control.status[0] == Status.optimal
    np.testing.assert_array_equal(control.u[0], 0)
    assert set(control.status) <= {Status.optimal, Status.infeasible}
    assert (control.status[1:] > 0).mean() > 0.05


@pytest.mark.parametrize("spec", SPECS)
def test_weights_and_horizon_can_be_chosen(spec: str) -> None:
    problem = build(spec)
    arguments = dict(SystemSpec.parse(spec).arguments)
    function = system_function(problem_name := SystemSpec.parse(spec).name)
    weighted = function(**arguments, N=3, Qf="Q")
    assert weighted.N == 3
    np.testing.assert_array_equal(weighted.Qf, problem.Q)
    A, B, P = problem.system.A, problem.system.B, function(**arguments, Qf="dare").Qf
    gain = np.linalg.solve(problem.R + B.T @ P @ B, B.T @ P @ A)
    residual = problem.Q + A.T @ P @ (A - B @ gain) - P
    assert np.abs(residual).max() <= 1e-7 * np.abs(P).max(), problem_name
    assert np.abs(np.linalg.eigvals(A - B @ gain)).max() < 1


@pytest.mark.parametrize("spec", SPECS)
def test_record_round_trip_gives_the_same_bits(spec: str, tmp_path: Path) -> None:
    problem = build(spec)
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem.record()))
    assert SystemSpec.parse(str(path)).build().key == problem.key
    longer = SystemSpec.parse(f"{path}:N={problem.N + 1}").build()
    assert longer.N == problem.N + 1
    np.testing.assert_array_equal(longer.Qf, problem.Qf)


@pytest.mark.parametrize("spec", SPECS)
def test_spec_round_trip(spec: str) -> None:
    parsed = SystemSpec.parse(spec)
    assert str(parsed) == spec
    assert SystemSpec.parse(str(parsed)) == parsed
    assert hash(SystemSpec.parse(spec)) == hash(parsed)


def test_sets_are_asked_for_by_name() -> None:
    problem = build("double_integrator:N=4,Xf=invariant,initial=feasible")
    terminal = positively_invariant(build("double_integrator:N=4"))
    assert problem.Xf is not None
    assert problem.initial is not None
    np.testing.assert_array_equal(problem.Xf.G, terminal.G)
    np.testing.assert_array_equal(problem.initial.h, feasible_set(problem).h)
    assert build("double_integrator:initial=invariant").initial_set.volume < problem.initial.volume
    origin = build("double_integrator:N=4,Xf=origin")
    assert origin.Xf is not None
    assert origin.Xf.radius == 0
    control = Online().build(origin)(np.array([[1.0, 0.2], [9.0, 3.0]]))
    assert control.status.tolist() == [Status.optimal, Status.infeasible]
    with pytest.raises(ValueError, match="initial must be one of feasible, invariant, control_invariant"):
        SystemSpec.parse("triangular:initial=feasable")


@given(
    st.dictionaries(
        st.sampled_from(["n", "m", "facets", "seed", "N", "Qf"]),
        st.integers() | st.floats(allow_nan=False) | st.sampled_from(["Q", "dare"]),
    )
)
def test_spec_is_the_inverse_of_its_text(arguments: dict) -> None:
    spec = SystemSpec("random_system", tuple(arguments.items()))
    again = SystemSpec.parse(str(spec))
    assert again == spec
    assert [type(value) for _, value in again.arguments] == [type(value) for _, value in spec.arguments]


def test_names_are_unique_and_documented() -> None:
    names = [function.__name__ for function in SYSTEMS]
    assert len(set(names)) == len(names)
    for function in SYSTEMS:
        assert "Source:" in (function.__doc__ or "") or function is random_system


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "triangluar",
            r"unknown system 'triangluar'; did you mean triangular\? Known are double_integrator,",
        ),
        ("zzz", r"unknown system 'zzz'\. Known are .*spring_mass_4"),
        ("triangular:D=5", r"'triangular' has no argument 'D'.* It takes d, N, Qf"),
        ("random_system:facet=5", r"no argument 'facet'; did you mean facets\?"),
        ("triangular:d=5,d=6", r"arguments given more than once: d"),
        ("triangular:d", r"cannot read 'd' in 'triangular:d'; write name:argument=value"),
        ("triangular:d=0", r"d must be a whole number of at least 1, got 0"),
        ("triangular:d=nan", r"d must be a whole number of at least 1, got nan"),
        ("triangular:N=ten", r"N, the horizon, must be a whole number of at least 1, got 'ten'"),
        ("triangular:Qf=P", r"Qf must be 'Q', 'dare' or an array, got 'P'"),
        ("pitfall_plant:which=3", r"which must be 1 or 2, got 3"),
        ("random_system:n=4,facets=4", r"facets must be a whole number of at least 5, got 4"),
        ("random_system:n=1", r"facets must be 2 for n=1 \(an interval\), got 8"),
        ("absent.json", r"cannot read the problem's record absent\.json: No such file"),
        ("absent.json:d=3", r"'absent\.json' has no argument 'd'\. It takes N, Qf"),
    ],
)
def test_wrong_specs_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SystemSpec.parse(text).build()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list, not the record of a ControlProblem"),
        ('{"A": 1}', "not the record of a ControlProblem: missing"),
    ],
)
def test_foreign_files_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        SystemSpec.parse(str(path)).build()


def test_whole_numbers() -> None:
    assert whole_number("d", 3.0, 1) == 3
    for wrong in (True, 2.5, "3", np.inf, None):
        with pytest.raises(ValueError, match="d must be a whole number of at least 1"):
            whole_number("d", wrong, 1)


def test_import_is_light() -> None:
    heavy = "[name for name in ('scipy', 'numba', 'torch', 'cvxpy', 'osqp') if name in sys.modules]"
    code = f"import sys, mpc.catalogue; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the sources' numbers


def test_double_integrator_is_the_papers() -> None:
    problem = catalogue.double_integrator()
    np.testing.assert_array_equal(problem.system.A, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(problem.system.B, [[0], [1]])
    np.testing.assert_array_equal(problem.Qf, np.eye(2))
    np.testing.assert_array_equal(problem.R, [[0.01]])
    assert (problem.N, list(problem.X.h), list(problem.U.h)) == (10, [10] * 4, [1] * 2)


@pytest.mark.parametrize("d", [3, 5])
def test_triangular_is_the_papers(d: int) -> None:
    problem = catalogue.triangular(d)
    row = np.random.RandomState(0).uniform(-2, 2, d)
    for i in range(d):
        for j in range(d):
            expected = 1.1 if i == j else row[j] if j > i else 0.0
            assert problem.system.A[i, j] == expected
    np.testing.assert_array_equal(problem.system.B[:, 0], [0] * (d - 1) + [1])
    np.testing.assert_array_equal(problem.initial_set.bounds, [[8] * d, [10] * d])
    assert (problem.N, set(problem.X.h), set(problem.U.h)) == (20, {100}, {10})
    assert problem.system.A[0, 1] == pytest.approx(4 * 0.7151893663724195 - 2)


@pytest.mark.parametrize("which", [1, 2])
def test_pitfall_plants_are_stable_and_agree_on_the_second_axis(which: int) -> None:
    A, K = catalogue.pitfall_plant(which).system.A, catalogue.pitfall_gain(which)
    assert np.abs(np.linalg.eigvals(A)).max() < 1
    np.testing.assert_allclose(A + K, [[0, 0], [0, 0.5]], atol=1e-15)
    assert abs(A[0, 0]) == 1.25  # without the gain along e1, an error there grows like 1.25^t
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert catalogue.pitfall_plant(which).U.contains(corners @ K.T).all()


def test_chain_of_masses_conserves_energy_and_momentum() -> None:
    """Undamped springs: x'Ex is constant; tensions are pairs of opposite forces."""
    problem = catalogue.chain_of_masses()
    stiffness = 2 * np.eye(6) - np.eye(6, k=1) - np.eye(6, k=-1)
    energy = np.block([[stiffness, np.zeros((6, 6))], [np.zeros((6, 6)), np.eye(6)]])
    A, B = problem.system.A, problem.system.B
    np.testing.assert_allclose(A.T @ energy @ A, energy, atol=1e-12)
    assert (problem.n, problem.m, problem.system.dt, len(problem.X.h)) == (12, 3, 0.5, 12)
    # Zero-order hold in modes: x'' + w^2 x = f u gives (1 - cos w dt)/w^2 and sin(w dt)/w.
    eigenvalues, modes = np.linalg.eigh(stiffness)
    frequency = np.sqrt(eigenvalues)
    force = np.zeros((6, 3))
    for column, (one, other) in enumerate(((0, 1), (2, 4), (3, 5))):
        force[one, column], force[other, column] = 1, -1
    displacement = modes @ np.diag((1 - np.cos(frequency * 0.5)) / eigenvalues) @ modes.T @ force
    velocity = modes @ np.diag(np.sin(frequency * 0.5) / frequency) @ modes.T @ force
    np.testing.assert_allclose(B, np.vstack([displacement, velocity]), atol=1e-13)


def test_quadrotor_is_the_example_of_the_collection_too() -> None:
    """The OSQP example prints four digits of the plant that the collection has in full."""
    ours, theirs = catalogue.quadrotor(), system_function("quadcopter_6")()
    np.testing.assert_allclose(ours.system.A, theirs.system.A, atol=6e-5)
    np.testing.assert_allclose(ours.system.B, theirs.system.B, atol=6e-5)
    np.testing.assert_allclose(ours.U.h, theirs.U.h)
    np.testing.assert_allclose(ours.X.h, theirs.X.h)


def test_cart_pole_hold_matches_its_closed_form() -> None:
    """The pole alone is theta'' = a theta + b F: cosh and sinh; the cart follows from the momentum."""
    problem = catalogue.cart_pole()
    dt, inertia = problem.system.dt, 0.5 * (4 / 3 - 0.1 / 1.1)
    a, b = 9.8 / inertia, -1 / (1.1 * inertia)
    w = np.sqrt(a)
    np.testing.assert_allclose(problem.system.A[2, 2:], [np.cosh(w * dt), np.sinh(w * dt) / w], rtol=1e-12)
    np.testing.assert_allclose(problem.system.A[3, 2:], [w * np.sinh(w * dt), np.cosh(w * dt)], rtol=1e-12)
    np.testing.assert_allclose(
        problem.system.B[2:, 0], [b * (np.cosh(w * dt) - 1) / a, b * np.sinh(w * dt) / w], rtol=1e-12
    )
    # M p'' + pole l theta'' = F exactly, integrated twice over the step.
    momentum = 1.1 * problem.system.B[1, 0] + 0.05 * problem.system.B[3, 0]
    assert momentum == pytest.approx(dt, rel=1e-12)


def test_afti16_has_the_published_poles() -> None:
    poles = np.log(np.linalg.eigvals(catalogue.afti16().system.A)) / 0.05
    assert sorted(poles.real)[0] == pytest.approx(-7.6636, abs=1e-3)
    assert sorted(poles.real)[-1] == pytest.approx(5.4530, abs=1e-3)
    assert np.abs(poles.imag).max() == pytest.approx(0.0556, abs=1e-3)


# --- the random family


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 5), m=st.integers(1, 3), extra=st.integers(0, 6), seed=st.integers(0, 10**6))
def test_random_polytopes_are_bounded_irredundant_and_asymmetric(
    n: int, m: int, extra: int, seed: int
) -> None:
    problem = random_system(n, m, n + 1 + extra, seed)
    for polytope, facets in ((problem.X, n + 1 + extra), (problem.U, 2 if m == 1 else 2 * m + 1)):
        low, high = polytope.bounds
        assert np.isfinite([low, high]).all()
        assert len(polytope.reduced().h) == len(polytope.h) == facets
        assert (polytope.h > 0).all()
        assert np.abs(low + high).max() > 1e-3 * polytope.radius
        assert not np.allclose(polytope.G.T @ (1 / polytope.h), 0, atol=1e-6)  # the recentring d is not zero


def test_random_polytopes_are_not_boxes() -> None:
    assert (np.count_nonzero(np.abs(random_system().X.G) > 1e-9, axis=1) > 1).any()


def test_random_system_is_a_function_of_its_arguments() -> None:
    assert random_system(3, 2, 9, 7).key == random_system(3, 2, 9, 7).key
    others = [random_system(3, 2, 9, 8), random_system(3, 2, 10, 7), random_system(4, 2, 9, 7)]
    keys = {random_system(3, 2, 9, 7).key, *(other.key for other in others)}
    assert len(keys) == 4
    assert not np.array_equal(random_system(seed=0).system.A, random_system(seed=1).system.A)


# --- the plants of the literature

SCALAR = {
    "name": "scalar",
    "ni": 4,
    "Ts": 0.5,
    "A": [[2.0]],
    "B": [[1.0]],
    "Q": [[3.0]],
    "R": [[1.0]],
    "umin": [-1.0],
    "umax": [None],
}


def test_rules_of_a_plant_file() -> None:
    """y = (x, x + u): the row of y without u bounds the state, the one with u is a mixed constraint."""
    data = SCALAR | {
        "C": [[2.0], [1.0]],
        "D": [[0.0], [1.0]],
        "Q": [[3.0, 0.0], [0.0, 5.0]],
        "ymin": [-4.0, None],
        "ymax": [6.0, 7.0],
        "M": [[1.0, 0.0]],
        "N": [[2.0]],
        "dmax": [8.0],
        "T": [[1.0]],
        "dNmin": [-0.5],
        "initial": {"low": [-1.0], "high": [2.0]},
    }
    with pytest.raises(ValueError, match="scalar: D must be zero where Q weights the output"):
        plants.problem_from(data)
    problem = plants.problem_from(data | {"Q": [[3.0, 0.0], [0.0, 0.0]]})
    np.testing.assert_array_equal(problem.Q, [[12.0]])
    np.testing.assert_array_equal(problem.Qf, [[12.0]])
    np.testing.assert_array_equal(problem.X.G, [[2], [-2]])
    np.testing.assert_array_equal(problem.X.h, [6, 4])
    np.testing.assert_array_equal(problem.U.G, [[-1]])
    assert problem.XU is not None
    assert problem.Xf is not None
    np.testing.assert_array_equal(problem.XU.G, [[1, 1], [2, 2]])
    np.testing.assert_array_equal(problem.XU.h, [7, 8])
    np.testing.assert_array_equal(problem.Xf.G, [[-1]])
    np.testing.assert_array_equal(problem.initial_set.bounds, [[-1], [2]])
    assert (problem.N, problem.system.dt) == (4, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"S": [[0.1]]}, "scalar: S, a cross weight, must be zero"),
        ({"yr": [[[0.0]], [[1.0]]]}, "scalar: yr, a reference of the outputs, must be zero"),
        ({"ur": [[[1.0]]]}, "scalar: ur, a reference of the inputs, must be zero"),
        ({"f": [[1.0]]}, "scalar: f, an offset of the dynamics, must be zero"),
        ({"uIdx": [1, 3]}, "scalar: uIdx blocks moves of the input"),
        ({"R": [[0.0]]}, "R must be positive definite"),
        ({"umin": [1.0], "umax": [0.5]}, "the polytope G z <= h is empty"),
    ],
)
def test_what_a_plant_file_may_not_hold(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plants.problem_from(SCALAR | change)


def test_missing_terminal_weight_can_destabilise_as_documented() -> None:
    """Qf = C'QC on quadcopter 4 and 5: the unconstrained receding-horizon law is unstable, DARE's is not."""
    for name in ("quadcopter_4", "quadcopter_5"):
        assert "1.021" in " ".join(plants.read(name)["notes"])
        radius = [_unconstrained_radius(plants.load(name, Qf=Qf)) for Qf in (None, "dare")]
        np.testing.assert_allclose(radius, [1.0214, 0.9902], atol=1e-4)


def _unconstrained_radius(problem: ControlProblem) -> float:
    A, B, S = problem.system.A, problem.system.B, problem.Qf
    gain = np.zeros((problem.m, problem.n))
    for _ in range(problem.N):
        gain = np.linalg.solve(problem.R + B.T @ S @ B, B.T @ S @ A)
        S = problem.Q + A.T @ S @ (A - B @ gain)
    return float(np.abs(np.linalg.eigvals(A - B @ gain)).max())


@pytest.mark.parametrize("name", plants.names())
def test_plant_file_has_its_citation(name: str) -> None:
    data = plants.read(name)
    assert data["name"] == name
    assert len(data["citation"]) > 40
    assert len(data["description"]) > 10
    assert data["citation"] in (system_function(name).__doc__ or "")
    assert plants.load(name).n <= 12


@pytest.fixture
def collection() -> dict:
    path = os.environ.get("CENTRALPATH_COLLECTION")
    if not path:
        pytest.skip("set CENTRALPATH_COLLECTION to the path of mpc_benchmarking_collection.json to run this")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _own_form(name: str, variant: dict) -> dict:
    """A variant of the collection with vectors as lists and infinite bounds as null."""
    data = {key: value for key, value in variant.items() if not key.startswith("_") and value is not None}
    for key in ("umin", "umax", "ymin", "ymax", "dmin", "dmax", "dNmin", "dNmax"):
        if key in data:
            values = np.array(data[key], float).ravel().tolist()
            data[key] = [value if np.isfinite(value) else None for value in values]
    for key in ("ni", "Ts"):
        if key in data:
            data[key] = np.ravel(data[key])[0]
    if "uIdx" in data:
        data["uIdx"] = np.ravel(data["uIdx"]).tolist()
    return data | {"name": name}


def test_plants_are_all_the_usable_ones_of_the_collection(collection: dict) -> None:
    kept = {plants.read(name)["collection_name"]: name for name in plants.names()}
    assert set(kept) == set(collection) - TRACKING - BLOCKED
    for variant in sorted(TRACKING):
        with pytest.raises(ValueError, match="yr, a reference of the outputs"):
            plants.problem_from(_own_form(variant, collection[variant]))
    for variant in sorted(BLOCKED):
        with pytest.raises(ValueError, match="uIdx blocks moves"):
            plants.problem_from(_own_form(variant, collection[variant]))


def test_plants_have_the_numbers_of_the_collection(collection: dict) -> None:
    for name in plants.names():
        ours = plants.load(name)
        theirs = plants.problem_from(_own_form(name, collection[plants.read(name)["collection_name"]]))
        same = {"initial": ours.initial, "state_labels": ours.state_labels, "input_labels": ours.input_labels}
        if ours.system.dt != theirs.system.dt:
            assert name.startswith(("helicopter", "pendulum"))  # their sampling times are missing there
            same["system"] = ours.system
            np.testing.assert_array_equal(ours.system.A, theirs.system.A)
            np.testing.assert_array_equal(ours.system.B, theirs.system.B)
        assert ours.key == theirs.with_(**same).key
