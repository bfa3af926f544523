"""Are our experts faster than what a Python user could pick, at the same accuracy of the first input?

For every problem, three tasks: exact labels of states crowded near the feasible boundary, exact labels
along closed loops, and barrier labels with their Jacobian. Our experts and the peers label the same
states; errors are measured against audited truths (``bench.speed.truth``), tolerances are the loosest
that keep 99 % of the labels within 1e-6, and contestants are timed in turn.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context

import numpy as np

from bench.speed.barrier_peers import BARRIER
from bench.speed.cases import GROWING, NAMED, Case, boundary_states, case_of, closed_loop_states
from bench.speed.exact_peers import EXACT
from bench.speed.peers import Label, Peer, Task
from bench.speed.rows import Accuracy, Row, Sheet
from bench.speed.timing import Contestant, affordable, in_turn
from bench.speed.truth import barrier_truth, exact_truth
from bench.sweep import ONE_THREAD
from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.closed_loop import simulate
from mpc.online import OnlineExpert

COLD, LOOP = Task("exact"), Task("exact, closed loop", warm=True)
BARRIERS = (Task("barrier 0.01", eta=0.01), Task("barrier 1", eta=1.0))
OURS = "centralpath"


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long it may take.

    Args:
        problems: letters of ``bench.speed.cases.NAMED``, or systems in text.
        peers: names, or beginnings of names, of the peers; empty for all.
        states: states of a problem for the solvers that get through them; closed loops start from the
            first eighth.
        steps: length of the closed loops.
        rounds: turns of each contestant.
        budget: seconds of one turn of a slow peer; it labels as many states as fit.
        least: seconds of one turn of a fast contestant; it labels its states again and again.
    """

    problems: tuple[str, ...] = (*NAMED, *GROWING)
    peers: tuple[str, ...] = ()
    states: int = 2000
    steps: int = 30
    rounds: int = 5
    budget: float = 0.5
    least: float = 0.1

    def __post_init__(self) -> None:
        for name in ("states", "steps", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        known = sorted({peer.name for peer in (*EXACT, *BARRIER)})
        for text in self.peers:
            if not any(name.startswith(text) for name in known):
                raise ValueError(f"unknown peer {text!r}; there are: {', '.join(known)}")
        for text in self.problems:
            case_of(text)


QUICK = Settings(("a", "c10"), states=200, rounds=3, budget=0.1, least=0.02)
"""A sketch in a minute or two."""


def run(settings: Settings, progress: Callable[[str], object]) -> Iterator[list[Row]]:
    """The rows of one problem after another, each measured in a process of its own.

    A fresh process keeps NumPy's own threads at one and confines a solver that crashes.
    """
    for place, text in enumerate(settings.problems, 1):
        progress(f"problem {place} of {len(settings.problems)}: {text}")
        with _one_thread(), ProcessPoolExecutor(1, get_context("spawn"), initializer=_hush) as pool:
            try:
                yield pool.submit(measure, text, settings).result()
            except BrokenProcessPool:
                yield [Sheet(case_of(text), COLD).empty("all", "failed: a solver killed the process")]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries of processes that are started meanwhile run on one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _hush() -> None:
    """Drop what solvers say: some print from C whatever one asks of them."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def measure(text: str, settings: Settings) -> list[Row]:
    """All rows of one problem, in this process."""
    case = case_of(text)
    x = boundary_states(case.problem, settings.states, case.name)
    rows = _exact(case, settings, x)
    loops = closed_loop_states(case.problem, x[: max(1, settings.states // 8)], settings.steps)
    if len(loops):
        rows += _closed_loop(case, settings, loops)
    for task in BARRIERS:
        rows += _barrier(case, settings, task, x)
    return rows


def _exact(case: Case, settings: Settings, x: Array) -> list[Row]:
    """Exact labels of the states ``x``, our batch against peers that start afresh for each."""
    expert = OnlineExpert(case.problem)
    truth = exact_truth(case.problem, x)
    own = Accuracy.of(expert(x).u, truth)
    return _compare(Sheet(case, COLD), settings, EXACT, _Question(x, truth), lambda: expert(x), own)


def _closed_loop(case: Case, settings: Settings, loops: Array) -> list[Row]:
    """Exact labels along the loops ``(E, T, n)``: ours by simulation, the plant's steps included.

    Peers are given the states, loop after loop, and may start from the solution before.
    """
    expert, x = OnlineExpert(case.problem), loops.reshape(-1, case.problem.n)
    truth = exact_truth(case.problem, x)
    own = Accuracy.of(expert(x).u, truth)

    def ours() -> object:
        return simulate(case.problem, expert, loops[:, 0], loops.shape[1])

    return _compare(Sheet(case, LOOP), settings, EXACT, _Question(x, truth), ours, own)


def _barrier(case: Case, settings: Settings, task: Task, x: Array) -> list[Row]:
    """Barrier labels of the states ``x``; ours come with Jacobian, value, gradient and curvature."""
    expert = BarrierExpert(case.problem, task.eta or 0.0)
    truth, slope = barrier_truth(case.problem, x, expert.eta)
    control = expert(x)
    own = Accuracy.of(control.u, truth)
    if control.dudx is not None:
        own = replace(own, jacobian=float(np.nanmax(np.abs(control.dudx - slope))))
    return _compare(Sheet(case, task), settings, BARRIER, _Question(x, truth), lambda: expert(x), own)


@dataclass(frozen=True, eq=False)
class _Question:
    """States ``x (B, n)`` and the first inputs that are right, ``truth (B, m)``."""

    x: Array
    truth: Array


@dataclass(frozen=True, eq=False)
class _Entry:
    """A peer at one tolerance: its labels, their accuracy, and how many states it gets."""

    peer: Peer
    line: str
    tolerance: float | None
    label: Label
    accuracy: Accuracy
    count: int


def _compare(
    sheet: Sheet, settings: Settings, peers: Sequence[Peer], question: _Question,
    ours: Callable[[], object], own: Accuracy,
) -> list[Row]:  # fmt: skip
    """Our rows on one thread and on two, one or two rows for each peer, and those that are out."""
    entries, out = _entered(sheet, settings, peers, question)
    x = question.x
    contestants = [Contestant(ours, len(x), threads) for threads in (1, 2)]
    contestants += [Contestant(_labelling(entry, x), entry.count) for entry in entries]
    first, second, *others = in_turn(contestants, settings.rounds, settings.least)
    rows = [
        sheet.timed(OURS, version(OURS), "", own, times, first, threads=threads)
        for threads, times in ((1, first), (2, second))
    ]
    for entry, times in zip(entries, others, strict=True):
        name, release, tolerance = entry.peer.name, entry.peer.version, entry.tolerance
        rows.append(sheet.timed(name, release, entry.line, entry.accuracy, times, first, tolerance=tolerance))
    return rows + out


def _labelling(entry: _Entry, x: Array) -> Callable[[], object]:
    return lambda: entry.label(x[: entry.count])


def _entered(
    sheet: Sheet, settings: Settings, peers: Sequence[Peer], question: _Question
) -> tuple[list[_Entry], list[Row]]:
    """The peers that are asked for and work, and rows for those that are missing or break."""
    entries: list[_Entry] = []
    out: list[Row] = []
    for peer in peers:
        if settings.peers and not peer.name.startswith(settings.peers):
            continue
        if peer.missing:
            out.append(sheet.empty(peer.name, f"not installed: pip install {' '.join(peer.missing)}"))
            continue
        try:
            entries += _climbed(peer, sheet, settings, question)
        except Exception as error:  # whatever breaks in a peer is a row, and the others go on
            out.append(sheet.empty(peer.name, f"failed: {type(error).__name__}: {error}"))
    return entries, out


def _climbed(peer: Peer, sheet: Sheet, settings: Settings, question: _Question) -> list[_Entry]:
    """The peer at the loosest tolerance that reaches the target, and at the one with the smallest error.

    One entry where these are within a factor of ten, or where none reaches it.
    """
    entries = []
    for tolerance in peer.ladder:
        label = peer.build(sheet.case.problem, tolerance, sheet.task)
        count = _affordable(label, question.x, settings.budget)
        accuracy = Accuracy.of(label(question.x[:count]), question.truth[:count])
        entries.append(_Entry(peer, "best", tolerance, label, accuracy, count))
    best = min(entries, key=lambda entry: (entry.accuracy.largest, entry.accuracy.q99))
    matched = next((entry for entry in entries if entry.accuracy.reached), None)
    if matched is None:
        return [best]
    same = matched.accuracy.largest <= 10 * best.accuracy.largest
    return [replace(matched, line="matched"), *([] if same else [best])]


def _affordable(label: Label, x: Array, budget: float) -> int:
    return affordable(lambda count: label(x[:count]), len(x), budget)
