"""Figures: their numbers on tables whose answers are known, and that both renderers draw all of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from outcome_rows import loop_arrays, outcome_row, training_arrays

from bench.figures import Results, figures_of
from bench.figures.demonstrations import imitation_error, performance
from bench.figures.landscape import cut, landscape, law_grids, sharpest_kink
from bench.figures.matplotlib_render import static, to_png
from bench.figures.over_time import error_over_time, quantiles_over_time
from bench.figures.palette import expert_styles, ordered_experts
from bench.figures.plotly_render import interactive, to_html
from bench.figures.regions import Plane, borders_of, law, smoothed, value
from bench.figures.results import curve, selection
from bench.figures.smoothness import smoothness
from bench.figures.spec import DIVERGED, Figure, Line, Panel, Style, capped, log_ticks
from bench.figures.training import training
from bench.figures.trajectories import trajectories
from bench.tables import complexity_table, failed_table, flattened, number, paired, summary_table
from mpc import ControlProblem, ExplicitExpert, LinearSystem, Polytope, catalogue

EXPERTS = (
    ("online", "online", np.nan),
    ("barrier eta=1", "barrier", 1.0),
    ("barrier eta=0.1", "barrier", 0.1),
)
SIZES, REPS, T, EPISODES = (5, 20), 3, 6, 4
AXES = np.stack([np.linspace(-2.0, 2.0, 21)] * 2)


def problem(n: int = 2) -> ControlProblem:
    A = np.eye(n) + 0.1 * np.eye(n, k=1)
    B = np.eye(n)[:, -1:]
    return ControlProblem(
        system=LinearSystem(A, B, dt=0.5),
        X=Polytope.box([-2.0] * n, [2.0] * n),
        U=Polytope.box([-1.0], [1.0]),
        state_labels=tuple(f"s{i} [m]" for i in range(n)),
    )


def row(expert: tuple[str, str, float], n: int, rep: int) -> dict:
    label, kind, smoothing = expert
    metrics = dict.fromkeys(
        ("growth_rate", "loss_on_expert", "action_error_ratio", "j_traj", "j_demo", "seconds_learn"), 0.5
    )
    changes = {
        "study": "known",
        "chunk": f"chunk-{label}",
        "key": f"{label}/{n}/{rep}",
        "smoothing": smoothing,
        "learner": "bc",
        "test_episodes": EPISODES,
        "error": "",
        "imitation_error_mean": (rep + 1) * 10.0 / n,
        "imitation_error_median": 1.0 / n,
        "imitation_error_q90": 20.0 / n,
        "cost_ratio_mean": 1.0 + 1.0 / n,
        "cost_ratio_median": 1.0,
        "expert_cost_ratio_mean": 1.02,
        "success_rate": 0.5 if n == 5 else 1.0,
        "success_certificate": 0.3,
        "violation_rate": 0.0,
        "jacobian_max": 1.5,
        "hessian_max": np.nan if kind == "online" else 1.0 / smoothing,
        **metrics,
    }
    return outcome_row(label, kind, n, rep, steps=T, **changes)


def chunk_arrays(expert: tuple[str, str, float], n_states: int) -> dict[str, np.ndarray]:
    law = np.clip(-AXES[0], -1.0, 1.0)[:, None, None] * np.ones((1, 21, 1))
    arrays = {"landscape/online": law, f"landscape/{expert[0]}": 0.9 * law}
    for n in SIZES:
        for rep in range(REPS):
            key = f"{expert[0]}/{n}/{rep}"
            loops = np.linspace(1.0, 0.0, T + 1)[None, :, None] * np.ones((EPISODES, 1, n_states))
            error = np.outer(np.arange(1, EPISODES + 1), np.arange(T + 1)) / n
            arrays |= loop_arrays(key, error, loops * 1.1, loops)
            arrays |= training_arrays(key, [10, 20, 20], [0.2, 0.1, 0.1], [np.inf, 1.0 + rep, 1.0 + rep])
            arrays[f"{key}/landscape.axes"] = AXES
            arrays[f"{key}/landscape.learned"] = 0.8 * law
    return arrays


def results(table: pd.DataFrame | None = None, n_states: int = 2, **changes: object) -> Results:
    if table is None:
        table = pd.DataFrame([row(e, n, rep) for e in EXPERTS for n in SIZES for rep in range(REPS)])
    table = table.assign(**changes)
    stored = {f"chunk-{e[0]}": chunk_arrays(e, n_states) for e in EXPERTS}
    return Results(table, stored.__getitem__, problem(n_states), expert_styles(table))


def test_curve_is_the_median_over_repetitions_with_a_bootstrap_band() -> None:
    rows = results().table.query("expert == 'online'")
    line = curve("online", Style("#000000"), rows, "demonstrations", "imitation_error_mean")
    np.testing.assert_array_equal(line.x, [5, 20])
    np.testing.assert_allclose(line.y, [4.0, 1.0])  # median of 2, 4, 6 and of 0.5, 1, 1.5
    assert line.low is not None
    assert line.high is not None
    np.testing.assert_allclose(line.low, [2.0, 0.5])
    np.testing.assert_allclose(line.high, [6.0, 1.5])
    assert "3 repetitions" in line.hover[0]


def test_curve_leaves_out_what_was_not_measured_and_keeps_infinities() -> None:
    rows = pd.DataFrame({"n": [5, 5, 5, 9, 9, 7], "e": [1.0, np.nan, 3.0, np.inf, np.inf, np.nan]})
    line = curve("a", Style("#000000"), rows, "n", "e")
    np.testing.assert_array_equal(line.x, [5, 9])
    np.testing.assert_array_equal(line.y, [2.0, np.inf])


def test_infinite_values_become_triangles_above_the_largest_finite_one() -> None:
    style = Style("#123456", marker="circle")
    line = Line(
        np.arange(3.0), np.array([1.0, np.inf, 2.0]), style, "a", np.ones(3), np.array([3.0, np.inf, 4.0])
    )
    drawn = capped(Panel("p", "x", "y", (line,), log_y=True)).lines
    assert [item.label for item in drawn] == ["a", DIVERGED]
    assert drawn[1].style.marker == "triangle"
    np.testing.assert_array_equal(drawn[1].x, [1.0])
    assert drawn[1].y[0] == drawn[0].y[1] > 4.0
    assert all(np.isfinite(v).all() for v in (drawn[0].y, drawn[0].high))


def test_a_short_log_axis_has_ticks_at_1_2_5() -> None:
    def ticks(*y: float) -> tuple[float, ...]:
        line = Line(np.arange(len(y)), np.array(y), Style("#000000"))
        return log_ticks(Panel("p", "x", "y", (line,), log_y=True), "y")

    assert ticks(0.05, 1.5, np.inf) == (0.05, 0.1, 0.2, 0.5, 1.0)
    assert ticks(1e-3, 1.0) == ticks(1.0, 1.1) == ticks(np.nan) == ()


def test_a_line_refuses_arrays_of_other_lengths() -> None:
    with pytest.raises(ValueError, match=r"high of a line must be as long as x, got \(2,\)"):
        Line(np.arange(3.0), np.arange(3.0), Style("#000000"), high=np.ones(2), low=np.ones(3))


def test_error_quantiles_count_diverged_episodes_and_leave_out_those_without_a_reference() -> None:
    errors = np.array([[0.0, 1.0, np.inf], [0.0, 2.0, 5.0], [0.0, 3.0, np.nan], [0.0, np.nan, np.inf]])
    middle, high = quantiles_over_time(errors)
    np.testing.assert_array_equal(middle, [0.0, 2.0, np.inf])
    np.testing.assert_array_equal(high, [0.0, 3.0, np.inf])


def test_error_over_time_pools_repetitions_and_uses_seconds() -> None:
    figure = error_over_time(results())
    assert figure is not None
    assert [panel.title for panel in figure.panels] == ["5 demonstrations", "20 demonstrations"]
    line = figure.panels[1].lines[0]
    np.testing.assert_allclose(line.x, 0.5 * np.arange(1, T + 1))  # t = 0 has no error
    np.testing.assert_allclose(line.y, 2 * np.arange(1, T + 1) / 20)  # median of 1, 2, 3, 4 times t/n
    high = figure.panels[1].lines[1]
    np.testing.assert_allclose(high.y, 4 * np.arange(1, T + 1) / 20)  # their 90 % quantile
    assert (high.style.dash, high.style.color, high.label) == ("dot", line.style.color, "")


def test_the_axis_of_violations_follows_the_largest_share() -> None:
    for shares, top in ((0.0, 0.1), (0.4, 0.4)):
        low, high = performance(results(violation_rate=shares)).panels[2].y_range
        assert (low, high) == (pytest.approx(-0.03 * top), pytest.approx(1.05 * top))


def test_experts_are_ordered_and_coloured_the_same_everywhere() -> None:
    table = results().table
    assert ordered_experts(table) == ["online", "barrier eta=0.1", "barrier eta=1"]
    styles = expert_styles(table)
    assert len({style.color for style in styles.values()}) == 3
    some = imitation_error(results(table))
    other = performance(results(table))
    for panel in (*some.panels, *other.panels):
        for line in panel.lines:
            assert not line.label or line.style.color == styles[line.label].color


def test_queries_get_an_axis_of_their_own_only_where_they_are_no_multiple_of_demonstrations() -> None:
    assert len(imitation_error(results()).panels) == 2
    table = results().table
    uneven = results(expert_queries=table["expert_queries"] + np.where(table["expert"] == "online", 40, 0))
    labels = [panel.x_label for panel in imitation_error(uneven).panels]
    assert len(labels) == 4
    assert "expert queries" in labels[2]


def test_performance_shows_own_cost_of_each_expert() -> None:
    panel = performance(results()).panels[0]
    levels = {float(line.y[0]) for line in panel.lines if not line.label}
    assert levels == {1.0, 1.02}


def test_training_shows_held_out_loss_and_cost_at_each_point_once() -> None:
    figure = training(results())
    assert figure is not None
    loss, cost = figure.panels
    np.testing.assert_array_equal(loss.lines[0].x, [10, 20])
    np.testing.assert_array_equal(loss.lines[0].y, [0.2, 0.1])
    np.testing.assert_array_equal(cost.lines[0].y, [np.inf, 2.0])  # median of 1, 2, 3
    assert f"{REPS} repetitions" in cost.lines[0].hover[1]
    assert "20 demonstrations" in figure.caption


def test_training_is_left_out_where_a_store_holds_no_cost_along_it() -> None:
    known = results()

    def without(chunk: str) -> dict[str, np.ndarray]:
        return {name: a for name, a in known.arrays(chunk).items() if not name.endswith("history.cost")}

    assert training(replace(known, arrays=without)) is None


def test_smoothness_joins_a_kind_and_shows_a_law_without_hessian_as_a_level() -> None:
    figure = smoothness(results())
    assert figure is not None
    panel = figure.panels[1]
    joined = next(line for line in panel.lines if line.label == "barrier, increasing eta")
    np.testing.assert_allclose(joined.x, [10.0, 1.0])
    np.testing.assert_allclose(joined.y, [1.0, 1.0])
    level = next(line for line in panel.lines if line.label == "online")
    assert level.style.dash == "dot"
    np.testing.assert_allclose(level.y, [1.0, 1.0])


def test_landscape_shows_experts_and_learned_laws_with_first_axis_across() -> None:
    grids = law_grids(results())
    assert list(grids) == [
        "online",
        "barrier eta=0.1",
        "barrier eta=1",
        *(f"learned from {e}" for e in ("online", "barrier eta=0.1", "barrier eta=1")),
    ]
    figure = landscape(results())
    assert figure is not None
    heat = figure.panels[0].heat
    assert heat is not None
    assert heat.limit == 1.0
    assert heat.z[0, 10] > 0.8 > -0.8 > heat.z[-1, 10]


def test_cut_goes_through_the_kink() -> None:
    assert sharpest_kink(np.array([0.0, 0.0, 0.0, 1.0, 2.0, np.nan])) == 2
    figure = cut(results())
    assert figure is not None
    assert "kink at" in figure.panels[1].title
    kink = float(figure.panels[1].title.rsplit(maxsplit=1)[-1])
    assert abs(kink) == pytest.approx(1.0, abs=0.2)


def test_phase_plane_draws_the_polytope_and_states_over_time_draw_its_bounds() -> None:
    planar = trajectories(results())
    assert planar is not None
    outline = planar.panels[0].lines[0]
    assert outline.label == "state polytope X"
    corners = {(float(a), float(b)) for a, b in zip(outline.x, outline.y, strict=True)}
    assert corners == {(-2.0, -2.0), (-2.0, 2.0), (2.0, -2.0), (2.0, 2.0)}
    assert (outline.x[0], outline.y[0]) == (outline.x[-1], outline.y[-1])
    spatial = trajectories(results(n_states=3))
    assert spatial is not None
    assert [panel.y_label for panel in spatial.panels[:: spatial.columns]] == ["s0 [m]", "s1 [m]", "s2 [m]"]
    bounds = [float(line.y[0]) for line in spatial.panels[0].lines if line.label == "bound of X"]
    assert bounds == [-2.0, 2.0]


def test_selection_gives_every_kind_its_turn() -> None:
    kinds = {"on": "online", "b1": "barrier", "b2": "barrier", "b3": "barrier", "s1": "smoothed"}
    assert selection(kinds, 3) == ["on", "b2", "s1"]
    assert selection(kinds, 4) == ["on", "b1", "b3", "s1"]
    assert selection(kinds, 9) == list(kinds)


def test_several_learners_are_separate_lines_of_one_colour() -> None:
    table = pd.concat([results().table, results().table.assign(learner="dagger")])
    labelled = {label: style for label, style, _ in results(table).series()}
    assert labelled["online, bc"].color == labelled["online, dagger"].color
    assert labelled["online, bc"].dash != labelled["online, dagger"].dash


def test_panels_without_a_single_value_are_left_out() -> None:
    unmeasured = results(cost_ratio_mean=np.nan, hessian_max=np.nan, smoothing=np.nan)
    figures = {figure.name: figure for figure in figures_of(unmeasured)}
    assert [panel.title for panel in figures["performance"].panels] == [
        "suboptimality (dotted: the experts' own)",
        "success",
        "constraint violation",
    ]
    assert "smoothness" not in figures
    nothing = figures_of(results(imitation_error_mean=np.nan, imitation_error_q90=np.nan))
    assert "imitation-error" not in {figure.name for figure in nothing}


def test_both_renderers_draw_every_figure(tmp_path: Path) -> None:
    table = results().table
    table.loc[(table["expert"] == "online") & (table["demonstrations"] == 5), "imitation_error_mean"] = np.inf
    spatial = trajectories(results(n_states=3))
    assert spatial is not None
    for figure in (*figures_of(results(table)), spatial):
        assert to_png(figure, tmp_path / f"{figure.name}.png").stat().st_size > 5000
        drawn = json.loads(interactive(figure).to_json())
        titles = [note["text"] for note in drawn["layout"].get("annotations", [])]
        assert titles == [panel.title for panel in figure.panels if panel.title]
        shown = [trace["name"] for trace in drawn["data"] if trace.get("showlegend")]
        assert sorted(shown) == sorted({line.label for p in figure.panels for line in capped(p).lines} - {""})
        assert f'id="plot-{figure.name}"' in to_html(figure)
        assert all(panel.x_label and panel.y_label for panel in figure.panels)


def test_a_png_says_what_its_lines_and_bands_are() -> None:
    for figure in (performance(results()), landscape(results())):
        assert figure is not None
        canvas = static(figure)
        written = [legend.get_title().get_text() for legend in canvas.legends] or [canvas.get_supxlabel()]
        assert " ".join(written[0].split()) == figure.caption


def test_figure_counts_rows() -> None:
    assert Figure("a", "A", "", (Panel("p", "x", "y"),) * 5, 2).rows == 3


def test_numbers_have_three_digits_and_failures_are_visible() -> None:
    assert [number(v) for v in (1234.5, 0.123456, 2e-7, np.inf, np.nan, 0.0)] == [
        "1230",
        "0.123",
        "2.00e-07",
        "∞",
        "–",
        "0",
    ]


def test_sample_complexity_counts_a_failed_run_as_a_miss() -> None:
    table = results().table
    failed = table[(table["expert"] == "online") & (table["demonstrations"] == 20) & (table["rep"] == 0)]
    failed = failed.assign(status="failed", success_rate=np.nan, cost_ratio_mean=np.nan)
    kept = table.drop(failed.index)
    pivot = paired(pd.concat([kept[kept["expert"] == "online"], failed]), "cost_ratio_mean")
    np.testing.assert_allclose(pivot.to_numpy(), [[1.2, np.inf], [1.2, 1.05], [1.2, 1.05]])
    text = complexity_table(results(kept), failed)
    assert "20 [20, 20]" in text  # the barrier experts reach every target at 20
    assert "20 [20, &gt; 20]" in text  # the exact one may not


def test_summary_counts_failures() -> None:
    table = results().table
    lost = table.iloc[[0]].assign(status="failed")
    text = summary_table(results(table.drop(index=0)), lost, SIZES)
    assert '<td class="bad">2 / 1</td>' in text


def test_failed_runs_are_listed_with_their_error_escaped() -> None:
    failed = results().table.iloc[[0]].assign(status="failed", error="ValueError: <nan> at step 3")
    assert "ValueError: &lt;nan&gt; at step 3" in failed_table(failed)


def test_settings_are_flattened() -> None:
    assert flattened({"a": {"b": 1, "c": [2, 3]}, "d": "x"}) == [("a.b", "1"), ("a.c", "[2, 3]"), ("d", "x")]


# The regions of exact MPC.


def test_a_slice_of_polytopes_is_their_outline() -> None:
    cube = np.vstack([np.eye(3), -np.eye(3)]), np.ones(6), np.array([0, 6])
    plane = Plane((0, 2), np.array([0.0, 0.5, 0.0]), np.array([-2.0, -2.0]), np.array([2.0, 0.5]))
    line = plane.outline(cube, "cube")
    corners = {(round(x, 9), round(y, 9)) for x, y in zip(line.x[:-1], line.y[:-1], strict=True)}
    assert corners == {(-1, -1), (1, -1), (1, 0.5), (-1, 0.5)}
    assert np.isnan(line.x[-1])
    beyond = replace(plane, at=np.array([0.0, 1.5, 0.0]))
    with pytest.raises(ValueError, match="no state with a plan lies on the slice"):
        beyond.around(cube)
    np.testing.assert_allclose(plane.around(cube).high, [1.06, 0.545])


def test_the_law_is_drawn_over_its_regions_and_over_merged_ones() -> None:
    expert = ExplicitExpert(catalogue.cart_pole(N=2))
    low, high = expert.regions.within.bounds
    plane = Plane((0, 2), np.zeros(4), low[[0, 2]], high[[0, 2]]).around(borders_of(expert.regions))
    figure = law(expert, plane)
    assert [panel.title for panel in figure.panels] == ["59 regions", "55 polytopes, 25 first moves"]
    heat = figure.panels[0].heat
    assert heat is not None
    i, j = 90, 60
    state = np.array([[heat.x[i], 0.0, heat.y[j], 0.0]])
    np.testing.assert_allclose(heat.z[i, j], expert(state).u[0, 0])
    assert "Slice at cart velocity" in figure.caption
    values = value(expert, plane).panels[0].heat
    assert values is not None
    assert values.low == 0.0
    np.testing.assert_allclose(values.z[i, j], np.log10(1 + expert(state).value[0]))  # type: ignore[index]
    assert len(smoothed(expert, plane, (0.1,)).panels) == 2


def test_errors_of_learned_policies_are_drawn_over_the_regions() -> None:
    drawn = {figure.name: figure for figure in figures_of(results())}
    assert {"regions", "regions-value", "regions-error"} <= set(drawn)
    panel = drawn["regions-error"].panels[0]
    assert panel.title.startswith("learned from ")
    assert panel.heat is not None
    assert panel.heat.label == "learned - exact"
    assert not {"regions", "regions-error"} & {figure.name for figure in figures_of(results(n_states=3))}
