"""Compiled kernels: one module for each algorithm, plain loops over one state at a time."""
