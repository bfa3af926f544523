"""Gymnasium ids of the catalogue: ``centralpath/<CamelCase of the function's name>-v0``."""

import gymnasium

from mpc.catalogue import SYSTEMS

NAMESPACE = "centralpath"
ENTRY_POINT = "envs.regulation:RegulationEnv"
VECTOR_ENTRY_POINT = "envs.vector:VectorRegulationEnv"
OWN_PROBLEM = f"{NAMESPACE}/Regulation-v0"
"""The id for a problem of one's own: ``gymnasium.make(OWN_PROBLEM, problem=...)``."""


def environment_id(system: str) -> str:
    """``"double_integrator" -> "centralpath/DoubleIntegrator-v0"``."""
    return f"{NAMESPACE}/{''.join(word.capitalize() for word in system.split('_'))}-v0"


def register_all() -> None:
    """Register every catalogue system and ``OWN_PROBLEM`` with Gymnasium; what is there already stays.

    No limit of steps is registered: the environment itself truncates after ``steps``.
    """
    _register(OWN_PROBLEM, {})
    for function in SYSTEMS:
        _register(environment_id(function.__name__), {"problem": function.__name__})


def _register(name: str, arguments: dict[str, str]) -> None:
    if name not in gymnasium.registry:
        gymnasium.register(
            name, entry_point=ENTRY_POINT, vector_entry_point=VECTOR_ENTRY_POINT, kwargs=arguments
        )
