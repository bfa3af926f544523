"""Experiments, sweeps, statistics, reports and the command line ``centralpath``."""

DISTRIBUTION = "centralpath"
"""Marks the folder as ours: other distributions own the same import name."""
