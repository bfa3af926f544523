"""Tables of a report as HTML: sample complexity, summary, failed runs, settings."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.figures.regions import explicit_of
from bench.figures.results import Results
from bench.statistics import bootstrap, sample_complexity, slope

COST_TARGET, SUCCESS_TARGET, ERROR_SHARE = 1.1, 0.9, 0.05
# Column and heading; a column that the store does not hold is shown as not measured.
_SUMMARY = (
    ("imitation_error_median", "error, median"),
    ("imitation_error_q90", "error, 90 %"),
    ("growth_rate", "growth rate [1/step]"),
    ("cost_ratio_mean", "J/J* mean"),
    ("cost_ratio_median", "J/J* median"),
    ("expert_cost_ratio_mean", "expert's own J/J*"),
    ("success_rate", "success"),
    ("success_certificate", "certificate"),
    ("violation_rate", "violation"),
    ("action_error_ratio", "action error ratio"),
    ("traj_over_demo", "J_traj/J_demo"),
    ("loss_on_expert", "loss on expert"),
    ("unusable_share", "unusable labels"),
    ("imitation_left_out", "test states left out"),
    ("jacobian_max", "max ||Jac.||"),
    ("hessian_max", "max ||Hess.||"),
)


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell (escaped here, once), left-aligned if ``text``; ``swatch`` is a colour."""

    content: str
    text: bool = False
    swatch: str = ""
    bad: bool = False
    wrap: bool = False

    def html(self) -> str:
        classes = " ".join(name for name in ("text", "bad", "wrap") if getattr(self, name))
        mark = f'<span class="swatch" style="background:{self.swatch}"></span>' if self.swatch else ""
        return f'<td class="{classes}">{mark}{html.escape(self.content)}</td>'


def number(value: float) -> str:
    """Three significant digits; '∞' for a diverged value and '–' for one that was not measured."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.3g}")
    return f"{rounded:.6g}" if rounded == 0 or 1e-3 <= abs(rounded) < 1e5 else f"{rounded:.2e}"


def table_html(heads: Sequence[str], rows: Sequence[Sequence[Cell]], breaks: Sequence[int] = ()) -> str:
    """A table; headings are aligned like the cells beneath, and a rule stands above the rows ``breaks``."""
    aligned = [cell.text for cell in rows[0]] if rows else [True] * len(heads)
    head = "".join(
        f'<th class="{"text" if text else ""}">{html.escape(name)}</th>'
        for name, text in zip(heads, aligned, strict=True)
    )
    body = []
    for place, row in enumerate(rows):
        rule = ' class="first"' if place in breaks else ""
        body.append(f"<tr{rule}>{''.join(cell.html() for cell in row)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def complexity_table(results: Results, failed: pd.DataFrame) -> str:
    """Demonstrations needed for each target and the log-log slope of the error, one row per expert.

    Where exact MPC has few regions, also how many it has, and how many distinct first moves.
    ``failed`` are the failed rows of the same setting: a failed repetition misses every target.
    """
    targets = _targets(results)
    explicit = explicit_of(results)
    heads = ("expert", *(name for name, *_ in targets), "slope of log error over log n", "repetitions")
    heads += () if explicit is None else ("regions", "first moves")
    rows = []
    for label, style, mine in results.series():
        cells = [Cell(label, text=True, swatch=style.color)]
        both = pd.concat([mine, _same_series(failed, mine)])
        for _, metric, target in targets:
            cells.append(Cell(_complexity(both, metric, target)))
        cells += [Cell(_slope(mine)), Cell(str(mine["rep"].nunique()))]
        if explicit is not None:
            exact, told = mine["expert"].iloc[0] in ("online", "explicit"), explicit.complexity
            cells += [Cell(str(count) if exact else "–") for count in (told.regions, told.laws)]
        rows.append(cells)
    return table_html(heads, rows)


def _targets(results: Results) -> list[tuple[str, str, float]]:
    """Heading, column (smaller is better) and target."""
    targets = [
        (f"n for J/J* ≤ {COST_TARGET:g}", "cost_ratio_mean", COST_TARGET),
        (f"n for success ≥ {SUCCESS_TARGET:.0%}", "failure_rate", 1 - SUCCESS_TARGET),
    ]
    radius = results.problem.initial_set.radius if results.problem is not None else 0.0
    if radius:
        error = ERROR_SHARE * radius
        targets.insert(0, (f"n for error ≤ {number(error)}", "imitation_error_mean", error))
    return targets


def _complexity(rows: pd.DataFrame, metric: str, target: float) -> str:
    """'20 [10, 50]', with '> 50' where the target is not met at the largest number tried."""
    pivot = paired(rows, metric)
    if pivot.empty:
        return "–"
    found = sample_complexity(
        [int(n) for n in pivot.columns], pivot.to_numpy(float), target + 1e-12, resamples=500
    )
    largest = int(pivot.columns[-1])
    estimate = f"> {largest}" if found.censored else f"{found.demonstrations}"

    def end(value: float) -> str:
        return f"{value:g}" if np.isfinite(value) else f"> {largest}"

    return f"{estimate} [{end(found.low)}, {end(found.high)}]"


def paired(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Repetitions by numbers of demonstrations; a failed run is inf, an incomplete repetition is left out."""
    values = rows["success_rate"].rsub(1.0) if metric == "failure_rate" else rows[metric]
    values = values.where(rows["status"] == "ok", np.inf)
    pivot = rows.assign(value=values).pivot_table(
        index="rep", columns="demonstrations", values="value", aggfunc="first"
    )
    return pivot.dropna()


def _slope(rows: pd.DataFrame) -> str:
    pivot = paired(rows, "imitation_error_mean")
    finite = pivot.loc[np.isfinite(pivot).all(axis=1) & (pivot > 0).all(axis=1)]
    if finite.empty or finite.shape[1] < 2:
        return "–"
    found = slope(finite.columns.to_numpy(float), finite.to_numpy(float))
    dropped = len(pivot) - len(finite)
    return f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]" + (
        f", {dropped} infinite left out" if dropped else ""
    )


def _same_series(failed: pd.DataFrame, mine: pd.DataFrame) -> pd.DataFrame:
    first = mine.iloc[0]
    return failed.loc[failed["expert"].eq(first["expert"]) & failed["learner"].eq(first["learner"])]


def summary_table(results: Results, failed: pd.DataFrame, sizes: Sequence[int]) -> str:
    """Medians over repetitions for each expert and each of the given numbers of demonstrations."""
    heads = ("expert", "n", "ok / failed", "error, mean", *(head for _, head in _SUMMARY), "train [s]")
    rows, breaks = [], []
    for label, style, mine in results.series():
        lost = _same_series(failed, mine)
        breaks.append(len(rows))
        tried = set(mine["demonstrations"]) | set(lost["demonstrations"])
        for n in sorted(tried & set(sizes)):
            here, missing = mine.loc[mine["demonstrations"] == n], int((lost["demonstrations"] == n).sum())
            count = Cell(f"{len(here)} / {missing}", bad=missing > 0)
            first = [Cell(label, text=True, swatch=style.color), Cell(f"{n}"), count]
            rows.append([*first, *_summary_cells(here)])
    return table_html(heads, rows, breaks=breaks if len(sizes) > 1 else ())


def _summary_cells(rows: pd.DataFrame) -> list[Cell]:
    ratio = rows["j_traj"] / rows["j_demo"].where(rows["j_demo"] > 0)
    rows = rows.assign(traj_over_demo=ratio)
    values = [_median(rows[column]) if column in rows else np.nan for column, _ in _SUMMARY]
    cells = [_interval_cell(rows["imitation_error_mean"])]
    cells += [Cell(number(value), bad=bool(np.isposinf(value))) for value in values]
    return [*cells, Cell(number(_median(rows["seconds_learn"])))]


def _median(values: Any) -> float:
    measured = values.dropna()
    return float(np.median(measured)) if len(measured) else float("nan")


def _interval_cell(values: Any) -> Cell:
    measured = values.dropna().to_numpy(float)
    if not measured.size:
        return Cell("–")
    found = bootstrap(measured, resamples=500)
    text = f"{number(found.estimate)} [{number(found.low)}, {number(found.high)}]"
    return Cell(text, bad=bool(np.isposinf(found.estimate)))


def failed_table(failed: pd.DataFrame) -> str:
    """One row for each failed run with its error in full."""
    heads = ("system", "expert", "learner", "n", "repetition", "status", "error", "key")
    rows = [
        [
            Cell(str(row["system"]), text=True),
            Cell(str(row["expert"]), text=True),
            Cell(str(row["learner"]), text=True),
            Cell(f"{row['demonstrations']}"),
            Cell(f"{row['rep']}"),
            Cell(str(row["status"]), text=True, bad=True),
            Cell(str(row["error"]), text=True, wrap=True),
            Cell(str(row["key"])[:12], text=True),
        ]
        for _, row in failed.iterrows()
    ]
    return table_html(heads, rows)


def settings_table(records: Iterable[Mapping[str, Any]]) -> str:
    """Every field of the experiments: its one value, or the values that it takes."""
    fields: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in flattened(record):
            fields.setdefault(name, {})[value] = None
    rows = [
        [
            Cell(name, text=True),
            Cell("varied" if len(values) > 1 else ""),
            Cell(", ".join(values), text=True, wrap=True),
        ]
        for name, values in fields.items()
    ]
    return table_html(("setting", "", "value"), rows)


def flattened(record: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested dictionaries as dotted names with their values as text."""
    if not isinstance(record, Mapping):
        return [(prefix, str(record))]
    leaves = []
    for name, value in record.items():
        leaves += flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return leaves
