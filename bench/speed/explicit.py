"""How fast are the regions of exact MPC listed, and states looked up in them?

Beside PPOPT, which lists regions in Python, and DAQP, the quickest solver online, on the same problems and
the same states crowded near the edge of the feasible set (``bench.speed.cases``).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from bench.speed.cases import boundary_states, case_of
from bench.speed.exact_peers import EXACT
from bench.speed.parametric_peer import ALGORITHMS, Listed, installed, timed
from bench.speed.peers import Task
from bench.speed.table import short, write_plain
from bench.speed.timing import Contestant, in_turn
from mpc.arrays import Array
from mpc.explicit import ExplicitExpert
from mpc.partition import partition

PROBLEMS = (
    *(f"double_integrator:N={N}" for N in (3, 5, 10, 20)),
    *(f"triangular:N={N},d=3" for N in (3, 5, 20)),
    *(f"cart_pole:N={N}" for N in (2, 3, 5)),
    "afti16:N=3",
    "random_system:N=8,facets=6,m=2,n=2,seed=5",
    "random_system:N=8,facets=8,m=1,n=3,seed=6",
)
_NAN = float("nan")


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long it may take.

    Args:
        problems: systems in text.
        states: states to look up.
        rounds: turns of each contestant, and lists of the regions.
        budget: seconds for one algorithm of the peer.
    """

    problems: tuple[str, ...] = PROBLEMS
    states: int = 5000
    rounds: int = 5
    budget: float = 60.0

    def __post_init__(self) -> None:
        for text in self.problems:
            case_of(text)


QUICK = Settings(("double_integrator:N=3", "cart_pole:N=3"), states=1000, rounds=2, budget=20.0)
"""A sketch in a minute."""


@dataclass(frozen=True)
class Row:
    """One problem.

    Args:
        regions, merged, laws, depth, bytes, operations: see ``mpc.explicit.Complexity``.
        listed: seconds to list the regions of a set of states that is given, median of the rounds.
        built: seconds for an expert: the states with a plan, their regions, and a tree to look them up in.
        ppopt, ppopt_regions, ppopt_seconds: the quickest of its algorithms within the budget, what it found
            on the same set of states.
        looked_up: microseconds a state in one batch, with all labels, on one thread.
        single: of one state from Python.
        naive: of a batch, each region tried in turn in NumPy, the input alone.
        daqp: of the solver, the input alone.
    """

    problem: str
    regions: int
    merged: int
    laws: int
    depth: int
    bytes: int
    operations: int
    listed: float
    built: float
    ppopt: str
    ppopt_regions: int
    ppopt_seconds: float
    looked_up: float
    single: float
    naive: float
    daqp: float


def run(settings: Settings, progress: Callable[[str], object]) -> Iterator[Row]:
    """One row after another."""
    for place, text in enumerate(settings.problems, 1):
        progress(f"problem {place} of {len(settings.problems)}: {text}")
        yield measure(text, settings)


def measure(text: str, settings: Settings) -> Row:
    """Everything about one problem."""
    problem = case_of(text).problem
    expert = ExplicitExpert(problem)
    within = expert.regions.within
    listed, built = (
        float(np.median([_seconds(make) for _ in range(settings.rounds)]))
        for make in (lambda: partition(problem, within), lambda: ExplicitExpert(problem))
    )
    peer = _quickest(text, settings.budget)
    times = _lookups(expert, boundary_states(problem, settings.states, text), settings.rounds)
    told = expert.complexity
    return Row(
        text, told.regions, told.merged, told.laws, told.depth, told.bytes, told.operations,
        listed, built, peer.algorithm, peer.regions, peer.seconds, *times,
    )  # fmt: skip


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _quickest(text: str, budget: float) -> Listed:
    if not installed():
        return Listed("not installed", 0, _NAN)
    ended = [timed(text, algorithm, budget) for algorithm in ALGORITHMS]
    return min(ended, key=lambda one: np.inf if np.isnan(one.seconds) else one.seconds)


def _lookups(expert: ExplicitExpert, x: Array, rounds: int) -> tuple[float, float, float, float]:
    """Microseconds a state: batch, one state, naively, DAQP."""
    regions, few = expert.regions, x[:200]
    laws = [regions[r] for r in range(len(regions))]
    K, k = np.array([law.K for law in laws]), np.array([law.k for law in laws])

    def naive() -> object:
        r = regions.find(x)
        return np.einsum("bij,bj->bi", K[r], x) + k[r]

    contestants = [
        Contestant(lambda: expert(x), len(x)),
        Contestant(lambda: [expert(state[None]) for state in few], len(few)),
        Contestant(naive, len(x)),
    ]
    daqp = next(peer for peer in EXACT if peer.name == "daqp")
    if not daqp.missing:
        label = daqp.build(expert.problem, daqp.ladder[-1], Task("exact"))
        contestants.append(Contestant(lambda: label(x), len(x)))
    measured = [times.microseconds()[1] for times in in_turn(contestants, rounds, 0.05)]
    batch, single, slow, *online = measured
    return batch, single, slow, online[0] if online else _NAN


HEADS = (
    "problem", "regions", "merged", "laws", "depth", "bytes", "operations", "listed s", "built s",
    "ppopt s", "its regions", "ppopt / listed", "looked up us", "one state us", "naive us", "daqp us",
    "daqp / ours",
)  # fmt: skip
LEGEND = (
    "listed: seconds to find all regions of a given set of states; built: seconds for an expert, with the "
    "set of states that have a plan and the tree; ppopt: the quickest of its graph, geometric and "
    "combinatorial graph algorithms on the same set, '-' where none ended in time; looked up: microseconds "
    "a state in a batch on one thread, all labels; one state: a call from Python; naive: every region tried "
    "in turn, in NumPy, input alone; daqp: the solver online, input alone."
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADS``."""
    counts = row.regions, row.merged, row.laws, row.depth, row.bytes, row.operations
    seconds = row.listed, row.built, row.ppopt_seconds
    times = row.looked_up, row.single, row.naive, row.daqp, row.daqp / row.looked_up
    return (
        row.problem, *map(str, counts), *map(short, seconds), str(row.ppopt_regions or "-"),
        short(row.ppopt_seconds / row.listed), *map(short, times),
    )  # fmt: skip


def write(rows: list[Row], out: Path, command: str) -> None:
    """``explicit.md``, ``explicit.csv`` and ``explicit.parquet`` in the folder ``out``."""
    import pandas as pd

    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
    write_plain("explicit", HEADS, [cells(row) for row in rows], LEGEND, table, out, command)
