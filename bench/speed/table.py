"""The table of solvers: on the screen, as Markdown, and as files that other programs read."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.speed.rows import TARGET, Row

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

HEADS = (
    "problem", "task", "solver", "line", "threads", "tolerance", "states", "failed", "err max", "err 99 %",
    "err Jac.", "cpu us", "wall us", "cpu / ours", "wall / ours", "note",
)  # fmt: skip
LEGEND = (
    f"us: microseconds a label, medians over rounds; / ours: medians of the rounds' ratios to centralpath on "
    f"one thread; err: max |du_0| against audited labels. matched: the loosest tolerance with 99 % of labels "
    f"within {TARGET:g}; best: the one with the smallest error."
)


def machine() -> str:
    """Processor, cores, system and the versions of what the numbers come from."""
    packages = ("centralpath", "numpy", "scipy", "numba")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores; {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    """The processor's name with what tells unnamed virtual ones apart (family, model), where Linux says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in reversed(lines))  # the first processor's lines last
    found = {key.strip(): value.strip() for key, _, value in pairs}
    name = found.get("model name", platform.machine())
    detail = ", ".join(f"{key} {found[key]}" for key in ("cpu family", "model") if key in found)
    return f"{name} ({detail})" if detail else name


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADS``."""
    return (
        row.problem, row.task, f"{row.solver} {row.version}".strip(), row.line, str(row.threads),
        _number(row.tolerance, ".0e"), str(row.states) if row.states else "", str(row.failed or ""),
        _number(row.error_max, ".0e"), _number(row.error_q99, ".0e"), _number(row.error_jacobian, ".0e"),
        _number(row.cpu_us, ".3g"), _number(row.wall_us, ".3g"), _number(row.cpu_ratio, ".3g"),
        _number(row.wall_ratio, ".3g"), row.note,
    )  # fmt: skip


def _number(value: float, form: str) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if form == ".3g" and abs(value) >= 1000 else format(value, form)


def rich_table(rows: Sequence[Row]) -> "Table":
    """For the screen; a rule between problems and tasks."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for head in HEADS:
        text = head in {"problem", "task", "solver", "line", "note"}
        table.add_column(head, justify="left" if text else "right", no_wrap=head != "note")
    previous = None
    for row in rows:
        if previous not in (None, (row.problem, row.task)):
            table.add_section()
        previous = (row.problem, row.task)
        table.add_row(*cells(row))
    return table


def plain_table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> "Table":
    """For the screen: text on the left, then numbers."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for line in body:
        table.add_row(*line)
    return table


def markdown(rows: Sequence[Row], command: str) -> str:
    """The overview and the whole table, with the machine and the command that made them."""
    lines = [f"`{command}` on {machine()}.", ""]
    for task in dict.fromkeys(row.task for row in rows):
        lines += [f"### {task}: microseconds a label", "", *_overview([r for r in rows if r.task == task])]
    lines += ["### In full", "", LEGEND, "", *grid(HEADS, [cells(row) for row in rows])]
    return "\n".join(lines)


def _overview(rows: Sequence[Row]) -> list[str]:
    """Solvers by problems: processor time on one thread, wall time on two; bracketed: misses the target."""
    problems = list(dict.fromkeys(row.problem for row in rows))
    solvers = list(dict.fromkeys((row.solver, row.threads) for row in rows))
    body = []
    for solver, threads in solvers:
        mine = {row.problem: row for row in reversed(rows) if (row.solver, row.threads) == (solver, threads)}
        name = f"{solver}, {threads} threads" if threads > 1 else solver
        body.append((name, *(_brief(mine.get(problem)) for problem in problems)))
    return [*grid(("", *problems), body), ""]


def _brief(row: Row | None) -> str:
    if row is None or np.isnan(row.wall_us):
        return "-"
    text = _number(row.cpu_us if row.threads == 1 else row.wall_us, ".3g")
    return text if row.error_q99 <= TARGET else f"({text})"


def short(value: float) -> str:
    """Three digits, '-' for NaN."""
    return "-" if np.isnan(value) else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def write_plain(
    name: str,
    heads: Sequence[str],
    body: Sequence[Sequence[str]],
    legend: str,
    rows: "pd.DataFrame",
    out: Path,
    command: str,
) -> None:
    """``name.md`` with command and legend, ``name.csv`` and ``name.parquet`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    text = [f"`{command}` on {machine()}.", "", legend, "", *grid(heads, body)]
    (out / f"{name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    rows.to_csv(out / f"{name}.csv", index=False)
    rows.to_parquet(out / f"{name}.parquet", index=False)


def grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *body]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """The table with a column for each field of ``Row``."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows])


def write(rows: Sequence[Row], out: Path, command: str) -> None:
    """``solvers.md``, ``solvers.csv`` and ``solvers.parquet`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "solvers.md").write_text(markdown(rows, command) + "\n", encoding="utf-8")
    table = frame(rows)
    table.to_csv(out / "solvers.csv", index=False)
    table.to_parquet(out / "solvers.parquet", index=False)
