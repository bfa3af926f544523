"""Every system of the catalogue as a Gymnasium environment, single and vectorised, and Minari datasets.

``import envs`` registers the ids: Gymnasium 1.x looks at no entry points, so this import (or the id
``"envs:centralpath/DoubleIntegrator-v0"``, which makes Gymnasium do it) is what adds them.
"""

DISTRIBUTION = "centralpath"
"""Marks the folder as ours: other distributions own the same import name."""

from envs.registration import register_all  # noqa: E402

register_all()
