"""Learners: configs without torch, one module for each way to learn."""

from imitation.learners.configs import (
    BehaviourCloning,
    Cmile,
    Dagger,
    Dart,
    Forward,
    LearnerConfig,
    NoiseInjection,
)

__all__ = ["BehaviourCloning", "Cmile", "Dagger", "Dart", "Forward", "LearnerConfig", "NoiseInjection"]
