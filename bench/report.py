"""The report of a sweep: one self-contained HTML page, and its figures as PNG files beside it.

Everything in it comes from the store; it can be made while the sweep runs, and made again.
"""

import html
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from mpc.arrays import Array
from mpc.problem import ControlProblem

if TYPE_CHECKING:
    import pandas as pd

    from bench.figures import Figure, Results
    from bench.statistics import Claim

PAGE = "index.html"
# Arrays no figure draws; a chunk's parameters can be large.
_UNUSED = ("params.", "history.loss")
_VERDICT_CLASS = {"holds": "holds", "fails": "fails"}


def write_report(
    store_dir: str | os.PathLike[str], out_dir: str | os.PathLike[str] | None = None, *, regions: bool = True
) -> Path:
    """Write the report of the sweep in ``store_dir`` into ``out_dir``, by default ``store_dir/report``.

    Args:
        regions: list and draw the regions of exact MPC where they are few; kernels compile at first use.

    Returns:
        path of the page, ``index.html``; ``<figure>.png`` stand beside it. Older ones are replaced.

    Raises:
        ValueError: if ``store_dir`` is not a sweep's store or ``out_dir`` is a file.
    """
    from bench.figures import figures_of
    from bench.figures.matplotlib_render import to_png
    from bench.store import existing_store, read_table

    manifest = existing_store(store_dir).manifest
    out = Path(store_dir) / "report" if out_dir is None else Path(out_dir)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out_dir={str(out)!r} is a file; pass a directory")
    table = read_table(store_dir)
    failed = table.loc[table["status"] != "ok"]
    sections = [
        (slug, title, results, tuple(replace(f, name=f"{slug}-{f.name}") for f in figures_of(results)))
        for slug, title, results in _settings(Path(store_dir), table, regions)
    ]
    page = _page(manifest, table, failed, sections)
    out.mkdir(parents=True, exist_ok=True)
    for *_, figures in sections:
        for figure in figures:
            to_png(figure, out / f"{figure.name}.png")
    (out / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def _settings(store_dir: Path, table: "pd.DataFrame", regions: bool) -> Iterable[tuple[str, str, "Results"]]:
    """Slug, title and results of each system and episode length that has finished runs."""
    from bench.figures import Results
    from bench.figures.palette import expert_styles

    styles = expert_styles(table)
    arrays, problem_of = _reader(store_dir)
    done = table.loc[table["status"] == "ok"]
    for system, steps in dict.fromkeys(zip(done["system"], done["steps"], strict=True)):
        rows = done.loc[done["system"].eq(system) & done["steps"].eq(steps)]
        first = rows.iloc[0]
        slug = re.sub(r"[^a-z0-9]+", "-", f"{system}-{steps}".lower()).strip("-")
        problem = problem_of(str(first["chunk"]), str(first["key"]))
        yield slug, f"{system}, episodes of {steps} steps", Results(rows, arrays, problem, styles, regions)


def _reader(
    store_dir: Path,
) -> tuple[Callable[[str], Mapping[str, Array]], Callable[[str, str], ControlProblem | None]]:
    """Arrays of a chunk, and the problem of an experiment; both read a chunk's file once."""
    from bench.store import read_arrays

    @cache
    def read(chunk: str) -> tuple[dict[str, Array], dict[str, str]]:
        arrays, metadata = read_arrays(store_dir, chunk)
        drawn = {name: a for name, a in arrays.items() if not any(part in name for part in _UNUSED)}
        return drawn, metadata

    def problem_of(chunk: str, key: str) -> ControlProblem | None:
        text = read(chunk)[1].get("problem")
        if text is None:
            return None
        record = json.loads(text)
        return ControlProblem.from_record(record.get(key, record))

    return lambda chunk: read(chunk)[0], problem_of


def _page(
    manifest: Mapping[str, Any],
    table: "pd.DataFrame",
    failed: "pd.DataFrame",
    sections: list[tuple[str, str, "Results", "tuple[Figure, ...]"]],
) -> str:
    from plotly.offline import get_plotlyjs

    study = str(manifest["study"])
    template = Template(files("bench").joinpath("report.html").read_text(encoding="utf-8"))
    verdicts = _verdicts(study, table)
    return template.substitute(
        title=html.escape(f"centralpath: study “{study}”"),
        lead=_lead(manifest, table, failed),
        banner=_banner(manifest, table, failed),
        navigation=_navigation(sections, bool(verdicts), len(failed)),
        plotly=get_plotlyjs(),
        verdicts=verdicts,
        settings="\n".join(_section(*section, failed) for section in sections) or _nothing(),
        failed=_failed(failed),
        provenance=_provenance(manifest, table),
    )


def _lead(manifest: Mapping[str, Any], table: "pd.DataFrame", failed: "pd.DataFrame") -> str:
    planned = len(manifest["experiments"])
    facts = [
        f"{len(table) - len(failed)} of {planned} experiments finished",
        f"systems: {table['system'].nunique()}",
        f"experts: {table['expert'].nunique()}",
        f"repetitions: {table['rep'].nunique()}",
    ]
    return html.escape(" · ".join(facts))


def _banner(manifest: Mapping[str, Any], table: "pd.DataFrame", failed: "pd.DataFrame") -> str:
    missing = len(set(manifest["experiments"]) - set(table["key"]))
    notes = []
    if len(failed):
        runs = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
        notes.append(f'<a href="#failed">{runs} failed</a>; the figures are drawn without them.')
    if missing:
        waiting = "1 experiment has" if missing == 1 else f"{missing} experiments have"
        notes.append(f"{waiting} not run yet; run the same sweep again to resume it.")
    return f'<p class="banner">{" ".join(notes)}</p>' if notes else ""


def _navigation(sections: Iterable[tuple[Any, ...]], verdicts: bool, failed: int) -> str:
    links = [("verdicts", "Verdicts")] if verdicts else []
    links += [("metrics", "Metrics"), *((slug, title) for slug, title, *_ in sections)]
    links += [("failed", f"Failed runs ({failed})"), ("provenance", "Settings and versions")]
    return "".join(f'<a href="#{anchor}">{html.escape(title)}</a>' for anchor, title in links)


def _section(
    slug: str, title: str, results: "Results", figures: "tuple[Figure, ...]", failed: "pd.DataFrame"
) -> str:
    from bench.figures.plotly_render import to_html
    from bench.tables import complexity_table, summary_table

    first = results.table.iloc[0]
    lost = failed.loc[failed["system"].eq(first["system"]) & failed["steps"].eq(first["steps"])]
    sizes = sorted({*results.sizes, *lost["demonstrations"]})
    drawn = "".join(
        f'<div class="figure"><h3>{html.escape(figure.title)}</h3>'
        f'<p class="caption">{html.escape(figure.caption)} '
        f'<a href="{figure.name}.png">PNG</a></p>{to_html(figure)}</div>'
        for figure in figures
    )
    return (
        f'<section id="{slug}"><h2>{html.escape(title)}</h2><p>{_about(results)}</p>'
        f"<h3>Sample complexity</h3><p class='caption'>Demonstrations needed until the median over "
        f"repetitions stays within the target, with its 95 % bootstrap interval over repetitions.</p>"
        f"{complexity_table(results, lost)}"
        f"<h3>Summary with {results.sizes[-1]} demonstrations</h3><p class='caption'>Medians over "
        f"repetitions, the error's mean also with its 95 % bootstrap interval. ∞: diverged, –: not measured."
        f"</p>{summary_table(results, lost, results.sizes[-1:])}"
        f"<details><summary>The same for every number of demonstrations</summary>"
        f"{summary_table(results, lost, sizes)}</details>{drawn}</section>"
    )


def _about(results: "Results") -> str:
    problem = results.problem
    if problem is None:
        return ""
    tests = ", ".join(str(count) for count in sorted(results.table["test_episodes"].unique()))
    return html.escape(
        f"{problem.n} states, {problem.m} input(s), horizon N = {problem.N}, sampling time "
        f"{problem.system.dt:g} s; {len(problem.X.h)} rows bound the state, {len(problem.U.h)} the input. "
        f"{tests} test initial states. States: {', '.join(problem.state_labels)}; "
        f"inputs: {', '.join(problem.input_labels)}."
    )


def _verdicts(study: str, table: "pd.DataFrame") -> str:
    """Section with the study's verdicts; nothing where the study has none."""
    from bench.tables import Cell

    module = f"bench.studies.{study}"
    judge = (
        getattr(import_module(module), "verdicts", None)
        if study.isidentifier() and find_spec(module)
        else None
    )
    finished = table.loc[table["status"] == "ok"]
    found = list(judge(finished)) if judge is not None and len(finished) else []
    if not found:
        return ""
    rows = "".join(
        f"<tr>{Cell(item.claim, text=True, wrap=True).html()}"
        f'<td class="text"><span class="verdict {_VERDICT_CLASS.get(item.verdict, "open")}">'
        f"{html.escape(item.verdict)}</span></td>"
        f"{Cell(_evidence(item), text=True, wrap=True).html()}</tr>"
        for item in found
    )
    return (
        '<section id="verdicts"><h2>Verdicts</h2><div class="scroll"><table><thead><tr>'
        '<th class="text">claim</th><th class="text">verdict</th><th class="text">rests on</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _evidence(claim: "Claim") -> str:
    """The interval a verdict rests on, and the numbers beside it, one a line."""
    if not claim.interval.samples:
        return "no data"
    beside = [f"{name}: {interval}" for name, interval in claim.numbers.items()]
    return "\n".join([f"{claim.interval}, {claim.interval.samples} repetitions", *beside])


def _nothing() -> str:
    return "<section><h2>Results</h2><p>No experiment has finished yet.</p></section>"


def _failed(failed: "pd.DataFrame") -> str:
    from bench.tables import failed_table

    body = failed_table(failed) if len(failed) else "<p>None: every run that was started finished.</p>"
    return f'<section id="failed"><h2>Failed runs ({len(failed)})</h2>{body}</section>'


def _provenance(manifest: Mapping[str, Any], table: "pd.DataFrame") -> str:
    from bench.tables import settings_table

    command = str(manifest.get("command", "")) or "(the store does not hold the command)"
    versions = sorted({text for text in table["versions"] if text})
    shown = "\n".join(versions) or str(manifest.get("versions", ""))
    return (
        '<section id="provenance"><h2>Settings, versions, command</h2>'
        f"<h3>Command</h3><pre>{html.escape(command)}</pre>"
        f"<h3>Versions</h3><pre>{html.escape(shown)}</pre>"
        f"<h3>Settings of the experiments</h3>{settings_table(_records(manifest))}</section>"
    )


def _records(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    experiments = manifest["experiments"]
    return list(experiments.values()) if isinstance(experiments, Mapping) else list(experiments)
