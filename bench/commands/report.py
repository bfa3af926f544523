"""``centralpath report``: figures and tables from a store alone."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Report:
    """Write the HTML report and the figures of a sweep, from its store alone."""

    store: Positional[Path]
    """Directory that a sweep wrote."""
    out: Path | None = None
    """Directory for the report (default: inside the store)."""

    def run(self) -> int:
        """Write the report and print its path."""
        from bench.report import write_report

        print(write_report(self.store, self.out))
        return 0
