"""Learners: configs without torch."""

from imitation.learners.configs import BehaviourCloning, LearnerConfig

__all__ = ["BehaviourCloning", "LearnerConfig"]
