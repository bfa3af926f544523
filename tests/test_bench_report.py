"""The report: a self-contained page and PNG files, made from a store alone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from outcome_rows import loop_arrays, outcome_row

import bench.report
from bench.report import write_report
from bench.statistics import Claim, Interval
from bench.store import commit, open_store
from mpc import ControlProblem, LinearSystem, Polytope

SIZES, REPS, T, EPISODES = (2, 8), 2, 4, 3


def problem() -> ControlProblem:
    system = LinearSystem([[1.0, 1.0], [0.0, 1.0]], [[0.0], [1.0]])
    box = Polytope.box([-5.0, -5.0], [5.0, 5.0])
    return ControlProblem(system=system, X=box, U=Polytope.box([-1.0], [1.0]), name="plant")


def rows_of(chunk: str, expert: str, kind: str) -> list[dict]:
    return [
        outcome_row(
            expert,
            kind,
            n,
            rep,
            steps=T,
            study="small",
            chunk=chunk,
            key=f"{chunk}{n}{rep}",
            smoothing=0.1 if kind == "barrier" else float("nan"),
            learner="BehaviourCloning 1a2b3c",
            test_episodes=EPISODES,
            imitation_error_mean=float("inf") if (kind, n) == ("barrier", 2) else (1 + rep) / n,
            cost_ratio_mean=1.1,
            expert_cost_ratio_mean=1.0,
            versions=json.dumps({"numpy": "9.9.9"}),
        )
        for n in SIZES
        for rep in range(REPS)
    ]


def arrays_of(rows: list[dict]) -> dict[str, np.ndarray]:
    loops = np.ones((EPISODES, T + 1, 2)) * np.linspace(2.0, 0.0, T + 1)[:, None]
    error = np.ones((EPISODES, 1)) * np.arange(T + 1.0)
    arrays: dict[str, np.ndarray] = {}
    for row in rows:
        arrays |= loop_arrays(row["key"], error, loops, 0.9 * loops)
    return arrays


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two experts, four experiments each; one more that failed and one that has not run."""
    chunks = {"aa": ("online", "online"), "bb": ("barrier eta=0.1", "barrier")}
    rows = {chunk: rows_of(chunk, *expert) for chunk, expert in chunks.items()}
    lost = {**rows["aa"][0], "chunk": "cc", "key": "cc00", "rep": 7, "status": "failed"}
    rows["cc"] = [{**lost, "error": "ValueError: loss is <NaN>"}]
    keys = [row["key"] for chunk in rows.values() for row in chunk] + ["not-run"]
    records = {key: {"learner": {"lr": 3e-4}, "rep": place} for place, key in enumerate(keys)}
    manifest = {
        "study": "small",
        "chunks": {chunk: [row["key"] for row in part] for chunk, part in rows.items()},
        "experiments": records,
        "command": "centralpath sweep small --out <dir>",
    }
    opened = open_store(tmp_path / "store", manifest)
    metadata = {"problem": json.dumps(problem().record())}
    for chunk in chunks:
        commit(opened, chunk, rows[chunk], arrays_of(rows[chunk]), metadata)
    commit(opened, "cc", rows["cc"], {}, {})
    return opened.path


class Loads(HTMLParser):
    """Addresses that a browser would load, and the ids of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.inside = tag
        self.ids += [named["id"] or ""] if "id" in named else []
        loaded = "href" if tag == "link" else "src"
        self.loads += [named[loaded] or ""] if loaded in named else []

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text.append(data)


def parsed(page: Path) -> tuple[Loads, str]:
    reader = Loads()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader, " ".join(" ".join(reader.text).split())


def test_page_has_every_section_and_loads_nothing(store: Path) -> None:
    page = write_report(store)
    assert page == store / "report" / "index.html"
    reader, text = parsed(page)
    assert reader.loads == []
    assert not re.search(r"@import|url\(\s*['\"]?http", page.read_text(encoding="utf-8").split("<script>")[0])
    assert {"metrics", "plant-4", "failed", "provenance"} <= set(reader.ids)
    for words in (
        "Sample complexity",
        "Imitation error against demonstrations",
        "Error along the episode",
        "Closed-loop trajectories",
        "Closed-loop performance",
        "8 of 10 experiments finished",
        "centralpath sweep small --out <dir>",
        '{"numpy": "9.9.9"}',
        "learner.lr",
        "bootstrap interval",
    ):
        assert words in text


def test_plotly_is_embedded_once_and_every_figure_has_its_png(store: Path) -> None:
    page = write_report(store)
    reader, _ = parsed(page)
    plots = sorted(name.removeprefix("plot-") for name in reader.ids if name.startswith("plot-"))
    assert plots == sorted(path.stem for path in page.parent.glob("*.png"))
    assert len(plots) >= 4
    assert page.read_text(encoding="utf-8").count("plotly.js v") == 1


def test_failed_missing_and_diverged_runs_are_shown(store: Path) -> None:
    _, text = parsed(write_report(store))
    assert "1 run failed" in text
    assert "ValueError: loss is <NaN>" in text
    assert "1 experiment has not run yet" in text
    assert "∞" in text
    assert "infinite: diverged" in write_report(store).read_text(encoding="utf-8")


def test_report_is_the_same_again_and_goes_where_it_is_asked(store: Path, tmp_path: Path) -> None:
    first = write_report(store, tmp_path / "here")
    again = write_report(str(store), str(tmp_path / "there"))
    assert first == tmp_path / "here" / "index.html"
    assert first.read_bytes() == again.read_bytes()


def test_a_file_in_the_way_is_refused_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ValueError, match=r"out_dir='.*taken' is a file; pass a directory"):
        write_report(store, tmp_path / "taken")
    with pytest.raises(ValueError, match="not a sweep's store"):
        write_report(tmp_path)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_store_in_which_everything_failed_still_has_a_report(tmp_path: Path) -> None:
    row = {**rows_of("aa", "online", "online")[0], "status": "failed", "error": "out of memory"}
    manifest = {"study": "small", "chunks": {"aa": [row["key"]]}, "experiments": {row["key"]: {}}}
    opened = open_store(tmp_path / "store", manifest)
    commit(opened, "aa", [row], {}, {})
    _, text = parsed(write_report(opened.path))
    assert "No experiment has finished yet" in text
    assert "out of memory" in text
    assert "the store does not hold the command" in text


def test_verdicts_of_the_study_are_shown(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []

    def verdicts(table):
        judged.append(len(table))
        beside = {"sigma=1": Interval(0.4, 0.2, 0.6, 9)}
        return [Claim("barrier is easier to imitate", "holds", Interval(0.3, 0.1, 0.5, 8), beside)]

    monkeypatch.setattr(bench.report, "find_spec", lambda name: name == "bench.studies.small")
    monkeypatch.setattr(bench.report, "import_module", lambda name: SimpleNamespace(verdicts=verdicts))
    page = write_report(store)
    _, text = parsed(page)
    assert judged == [8]  # finished runs only
    assert "barrier is easier to imitate holds 0.3 [0.1, 0.5], 8 repetitions sigma=1: 0.4 [0.2, 0.6]" in text
    assert '<span class="verdict holds">holds</span>' in page.read_text(encoding="utf-8")
