"""Scientific questions: one module each, with ``experiments(size, seed)`` and ``verdicts(table)``."""
