"""The multi-parametric QP of a control problem as arrays, for tools that read NumPy's files."""

import io
import json

import numpy as np

from mpc.condense import condense
from mpc.problem import ControlProblem


def parametric_qp(problem: ControlProblem, name: str = "mpqp") -> dict[str, bytes]:
    """Contents of ``NAME.npz`` and ``NAME.json`` by file name.

    The arrays are those of ``min_U 1/2 U'HU + x'F U + x'Y x`` over ``G U <= w + E x``, where U stacks the
    inputs of the horizon: ``H (N m, N m)``, ``F (n, N m)``, ``Y (n, n)``, ``G (c, N m)``, ``w (c,)``,
    ``E (c, n)``; and ``A, B, Q, R, Qf`` of the plant. The other file is the problem's record, from which
    ``ControlProblem.from_record`` makes it again.
    """
    form, system = condense(problem), problem.system
    arrays = {key: np.asarray(getattr(form, key)) for key in ("H", "F", "Y", "G", "w", "E")}
    arrays |= {"A": system.A, "B": system.B, "Q": problem.Q, "R": problem.R, "Qf": problem.Qf}
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    record = json.dumps(problem.record(), indent=1)
    return {f"{name}.npz": file.getvalue(), f"{name}.json": record.encode()}
