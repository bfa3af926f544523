"""What ``sweep`` and ``quickstart`` share: run a study, print its table and verdicts, write its report."""

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import bench.studies
from bench.commands.progress import counting
from bench.statistics import bootstrap
from mpc.arrays import Array, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from bench.findings import Findings, Notify, Size
    from bench.statistics import Claim


def study_module(name: str) -> Any:
    """The study ``bench/studies/<name>.py`` that is a sweep.

    Raises:
        ValueError: names the studies there are.
    """
    module = _module(name)
    if not hasattr(module, "experiments"):
        raise ValueError(f"study {name!r} has no sweep; run: centralpath study {name}")
    return module


def small_study(name: str) -> "Callable[[Size, int, Notify], Findings]":
    """The function ``study`` of ``bench/studies/<name>.py``.

    Raises:
        ValueError: names the studies there are.
    """
    module = _module(name)
    if not hasattr(module, "study"):
        raise ValueError(f"study {name!r} is a sweep; run: centralpath sweep {name}")
    return module.study


def _module(name: str) -> Any:
    known = sorted(module.name for module in pkgutil.iter_modules(bench.studies.__path__))
    if name not in known:
        raise ValueError(f"unknown study {name!r}; there are: {', '.join(known)}")
    return import_module(f"bench.studies.{name}")


def run_study(name: str, size: str, seed: int, out: Path, *, workers: int | None, command: str) -> int:
    """Run what is missing, print the table and verdicts, write the report; 1 if an experiment failed.

    Raises:
        ValueError: if the seed is negative.
    """
    whole_number("seed", seed, 0)
    from bench.report import write_report
    from bench.store import read_table
    from bench.sweep import sweep

    study = study_module(name)
    with counting("experiments") as advance:
        summary = sweep(study.experiments(size, seed), out, workers, advance, command=command)
    table = read_table(out)
    console = Console(highlight=False)
    good = table.query("status == 'ok'")
    if len(good):
        console.print(results_table(good))
        console.print("n demonstrations; error: max_t ||x*_t - x_t||, mean over test states; J*: exact MPC")
        console.print(verdict_table(study.verdicts(good)))
    for error in table.loc[table["status"] != "ok", "error"].unique():
        console.print(f"failed: {error}", markup=False, soft_wrap=True)
    console.print(str(summary))
    if len(good):
        page = write_report(out, regions=size != "quick")  # a miniature does not wait for more kernels
        console.print(f"report: {page.resolve()}", soft_wrap=True)
    return 1 if summary.failed else 0


def results_table(table: "pd.DataFrame") -> Table:
    """One line for each system, expert and number of demonstrations: medians over repetitions."""
    groups = ["expert", "demonstrations"]
    if len(table["system"].unique()) > 1:
        groups.insert(0, "system")
    reps = sorted({len(rows) for _, rows in table.groupby(groups)})
    title = f"{table['study'].iloc[0]}: medians over {' or '.join(map(str, reps))} repetitions"
    out = Table(title=f"{title} [95 % bootstrap interval]", box=SIMPLE, padding=(0, 1, 0, 0))
    for name in (*groups[:-1], "n", "error", "J/J*", "success"):
        out.add_column(name, justify="left" if name in groups else "right", no_wrap=True)
    previous = None
    for _, rows in table.groupby(groups, sort=False):
        names = [str(rows[name].iloc[0]) for name in groups]
        if previous not in (None, names[:-1]):
            out.add_section()
        previous = names[:-1]
        cells = [_cell(rows[name].to_numpy(float)) for name in ("imitation_error_mean", "cost_ratio_mean")]
        out.add_row(*names, *cells, f"{rows['success_rate'].median():.2g}")
    return out


def verdict_table(claims: "list[Claim]") -> Table:
    """One line for each claim of the study."""
    out = Table("claim", "verdict", "interval", title="Verdicts", box=SIMPLE)
    out.columns[2].no_wrap = True
    for claim in claims:
        out.add_row(claim.claim, claim.verdict, str(claim.interval))
    return out


def _cell(values: Array) -> str:
    known = values[~np.isnan(values)]
    if not known.size:
        return "-"
    found = bootstrap(known, resamples=500)
    return f"{found.estimate:.2g} [{found.low:.2g}, {found.high:.2g}]"
