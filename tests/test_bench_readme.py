"""What the README shows must run: its Python blocks, one after the other, and the names in its tables."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from bench import commands
from mpc import plants
from mpc.catalogue import SYSTEMS
from mpc.configs import ExpertConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text below a heading of the second level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_python_blocks_run_in_order(tmp_path, monkeypatch):
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")), encoding="utf-8")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "(2, 31, 2) (2, 30, 1)" in done.stdout
    assert "my/servo/barrier-v0 10" in done.stdout


def test_the_table_of_systems_has_their_sizes():
    rows = re.findall(r"^\| `(\w+)` \| (?:d = )?(\d+) \| (\d+) \| (\d+) \|", section("Systems"), re.MULTILINE)
    listed = {name: tuple(map(int, sizes)) for name, *sizes in rows}
    own = {f.__name__: f() for f in SYSTEMS if f not in plants.FUNCTIONS}
    assert listed == {name: (p.n, p.m, p.N) for name, p in own.items()}
    assert f"and {len(plants.FUNCTIONS)} plants of the literature" in section("Systems")


def test_the_table_of_experts_names_every_config():
    named = set(re.findall(r"\| `(\w+)(?:\(.*?\))?` \| [^|]+ \|$", section("Experts"), re.MULTILINE))
    assert named == {config.__name__ for config in get_args(ExpertConfig)}


def test_the_commands_are_those_of_the_program():
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    shown = set(re.findall(r"centralpath ([a-z]+)", "\n".join(blocks("sh"))))
    assert shown == modules - {"__init__", "progress", "studying"}
