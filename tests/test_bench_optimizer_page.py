"""docs/optimizers.md is what the docstrings say."""

from dataclasses import fields
from pathlib import Path

from bench.optimizer_page import page
from imitation.optim import SUITE

PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run: python -m bench.optimizer_page > docs/optimizers.md"


def test_every_rule_says_what_it_is_its_formula_when_to_use_it_and_what_its_options_mean():
    text = page()
    for config in SUITE:
        section = text.split(f"\n### {config.__name__}\n")[1].split("\n### ")[0]
        assert "\nWhen: " in section
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(fields(config))
        assert all(len(row.split(" | ")[2]) > 5 for row in rows)
