"""Loss and closed-loop cost along training: how far the one tells the other."""

import numpy as np
import pandas as pd

from bench.figures.palette import GREY
from bench.figures.results import BAND, Results, curve
from bench.figures.spec import Figure, Panel, reference
from mpc.metrics import suboptimality

_EXPERTS = 7


def training(results: Results) -> Figure | None:
    """Held-out cloning loss and mean(J)/mean(J*) of the deployed policy at points of its training."""
    series, others = results.few_series(_EXPERTS)
    most = results.sizes[-1]
    courses = [
        (label, style, _course(results, rows.loc[rows["demonstrations"] == most]))
        for label, style, rows in series
    ]
    courses = [(label, style, course) for label, style, course in courses if len(course)]
    if not courses:
        return None
    losses, costs = (
        tuple(curve(label, style, course, "step", column) for label, style, course in courses)
        for column in ("loss", "cost_ratio")
    )
    steps = pd.concat([course["step"] for *_, course in courses])
    x_label = "gradient steps"
    panels = (
        Panel("loss over held-out episodes", x_label, "cloning loss", losses, log_y=True),
        Panel(
            "closed-loop cost (dotted: exact MPC)",
            x_label,
            "mean(J) / mean(J*)",
            (*costs, reference(1.0, steps, "", GREY)),
            log_y=True,
        ),
    )
    caption = (
        f"The policy as it would be deployed at each point of its training on {most} demonstrations: its "
        f"error on demonstrations held out, and the cost of its test loops relative to exact MPC from the "
        f"same initial states (a diverged episode makes the mean infinite); {BAND}.{others}"
    )
    return Figure("training", "Along training", caption, panels)


def _course(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each point of each experiment's training: step, held-out loss and cost ratio."""
    points = []
    for _, row in rows.iterrows():
        steps, loss, cost, exact = (
            results.array(row, name)
            for name in ("history.steps", "history.validation", "history.cost", "exact_cost")
        )
        if steps is None or loss is None or cost is None or exact is None:
            continue
        _, first = np.unique(steps, return_index=True)  # a short training repeats points
        points += [(steps[i], loss[i], suboptimality(cost[i], exact).ratio_of_means) for i in first]
    return pd.DataFrame(points, columns=["step", "loss", "cost_ratio"], dtype=float)
