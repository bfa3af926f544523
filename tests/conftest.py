"""One thread a process for torch and BLAS: pytest-xdist and the sweeps under test bring more processes."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
