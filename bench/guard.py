"""Start-up check that ``mpc``, ``envs``, ``imitation`` and ``bench`` are this project's packages.

PyPI holds other distributions with these import names. Installed together, one overwrites files of
the other, and what is then imported is a mixture.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module

DISTRIBUTION = "centralpath"
PACKAGES = ("mpc", "envs", "imitation", "bench")


def check_names() -> None:
    """Check the marker of each of our packages, and that no other distribution owns its name.

    Raises:
        ValueError: names the package, the other owner and the remedy.
    """
    from importlib.metadata import packages_distributions

    markers = {name: getattr(import_module(name), "DISTRIBUTION", None) for name in PACKAGES}
    complaints = conflicts(markers, packages_distributions())
    if complaints:
        raise ValueError("; ".join(complaints) + "; install centralpath in an environment of its own")


def conflicts(markers: Mapping[str, str | None], owners: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each import name that is not, or not only, ours.

    Args:
        markers: the attribute ``DISTRIBUTION`` of each imported package, None where it has none.
        owners: distributions that own each import name (``packages_distributions()``).
    """
    found = []
    for name, marker in markers.items():
        others = sorted({owner for owner in owners.get(name, ()) if owner.lower() != DISTRIBUTION})
        if others:
            found.append(f"the import name '{name}' is also owned by the distribution {', '.join(others)}")
        elif marker != DISTRIBUTION:
            found.append(f"the package '{name}' that Python finds is not the one of {DISTRIBUTION}")
    return found
