"""Curves against the number of demonstrations: imitation error, cost, success, violation."""

import numpy as np

from bench.figures.palette import GREY
from bench.figures.results import BAND, Results, curve
from bench.figures.spec import Figure, Line, Panel, reference
from mpc.arrays import Array

ERROR = "maxₜ ‖x*ₜ − xₜ‖ [state units]"
_X = {"demonstrations": "demonstrations [episodes]", "expert_queries": "expert queries [states labelled]"}


def imitation_error(results: Results) -> Figure:
    """Largest deviation from the expert over the episode, against the number of demonstrations."""
    across = _abscissae(results)
    panels = []
    for x in across:
        for column, title in (
            ("imitation_error_mean", "mean over test states"),
            ("imitation_error_q90", "90 % quantile over test states"),
        ):
            lines = _curves(results, x, column)
            panels.append(
                Panel(
                    title,
                    _X[x],
                    ERROR,
                    lines,
                    log_x=True,
                    log_y=True,
                    x_ticks=_ticks(results, x),
                )
            )
    caption = (
        f"How far the learned policy's closed loop strays from its expert's, from the same initial states; "
        f"{BAND}.{_queries(results, across)}"
    )
    return Figure("imitation-error", "Imitation error against demonstrations", caption, tuple(panels))


def performance(results: Results) -> Figure:
    """Closed-loop cost, success and constraint violation against the number of demonstrations."""
    panels = []
    across = _abscissae(results)
    for x in across:
        ticks = _ticks(results, x)
        violations = _curves(results, x, "violation_rate")
        panels += [
            Panel(
                "suboptimality (dotted: the experts' own)",
                _X[x],
                "mean(J) / mean(J*)",
                (*_curves(results, x, "cost_ratio_mean"), *_own_cost(results, x)),
                log_x=True,
                log_y=True,
                x_ticks=ticks,
            ),
            Panel(
                "success",
                _X[x],
                "share of test episodes",
                _curves(results, x, "success_rate"),
                log_x=True,
                y_range=(-0.03, 1.03),
                x_ticks=ticks,
            ),
            Panel(
                "constraint violation",
                _X[x],
                "share of steps",
                violations,
                log_x=True,
                y_range=_share_range(violations),
                x_ticks=ticks,
            ),
        ]
    caption = (
        f"Cost relative to the exact expert from the same initial states (1 is as good as exact MPC; a "
        f"diverged episode makes the mean infinite), share of episodes that succeed, and share of steps "
        f"outside the state or input polytope; {BAND}.{_queries(results, across)}"
    )
    return Figure("performance", "Closed-loop performance against demonstrations", caption, tuple(panels), 3)


def _curves(results: Results, x: str, y: str) -> tuple[Line, ...]:
    return tuple(curve(label, style, rows, x, y) for label, style, rows in results.series())


def _share_range(lines: tuple[Line, ...]) -> tuple[float, float]:
    """From 0 to the largest share there is, at least 0.1."""
    shares = np.concatenate([[0.1], *(line.y if line.high is None else line.high for line in lines)])
    top = float(np.nanmax(shares[np.isfinite(shares)]))
    return -0.03 * top, 1.05 * top


def _own_cost(results: Results, x: str) -> tuple[Line, ...]:
    """Where each cloned expert itself stands: what a perfect imitation of it would cost."""
    ends = results.table[x].astype(float)
    lines = [reference(1.0, ends, "", GREY)]
    for expert, rows in results.table.groupby("expert"):
        own = float(np.nanmedian(rows["expert_cost_ratio_mean"].to_numpy(float)))
        if np.isfinite(own):
            lines.append(reference(own, ends, "", results.styles[str(expert)].color))
    return tuple(lines)


def _abscissae(results: Results) -> list[str]:
    """Demonstrations; and expert queries where these are not simply a multiple of them."""
    ratio = _queries_each(results)
    proportional = ratio.max() <= 1.02 * ratio.min()
    return ["demonstrations"] if proportional else ["demonstrations", "expert_queries"]


def _queries(results: Results, across: list[str]) -> str:
    if len(across) > 1:
        return " Below, the same against the number of states that the expert labelled."
    return f" One demonstration is {np.median(_queries_each(results)):.3g} expert queries."


def _queries_each(results: Results) -> Array:
    """Expert queries for each demonstration, one number for each row."""
    return results.table["expert_queries"].to_numpy(float) / results.table["demonstrations"].to_numpy(float)


def _ticks(results: Results, x: str) -> tuple[float, ...]:
    sizes = results.sizes if x == "demonstrations" else []
    return tuple(float(n) for n in sizes) if len(sizes) <= 8 else ()
