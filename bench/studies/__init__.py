"""Scientific questions, a module each: ``experiments`` and ``verdicts`` of a sweep, or a whole ``study``."""
