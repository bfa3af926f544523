"""QPs of a control problem as a test set of the program qpbenchmark."""

import io

import pandas as pd

from mpc.arrays import Array
from mpc.condense import condense
from mpc.initial import test_states
from mpc.problem import ControlProblem

_SCRIPT = '''"""{title}: dense QPs in the inputs, as a test set of qpbenchmark."""

from pathlib import Path

import qpbenchmark


class {test_set}(qpbenchmark.ParquetTestSet):
    """{title}."""

    description = "{title}, condensed, at sampled initial states"
    title = "{title}"
    sparse_only = False

    def __init__(self):
        super().__init__(Path(__file__).with_name("{name}.parquet"))
'''


def benchmark_set(problem: ControlProblem, states: int, name: str = "mpc") -> dict[str, bytes]:
    """Contents of ``NAME.parquet`` and ``NAME.py``: a test set for the program qpbenchmark.

    Each QP is ``min 1/2 U'HU + (F'x)'U`` over ``G U <= w + E x`` at one of the test initial states of the
    problem. A row of the table holds ``P, q, G, h, A, b, lb, ub`` (matrices row by row, None where there is
    none) and a name, as qpbenchmark's ``ParquetTestSet`` reads them; the script beside it declares the set:
    ``qpbenchmark NAME.py run``.

    Raises:
        ValueError: if no initial states with a plan are found.
    """
    form, x = condense(problem), test_states(problem, problem.name, states)

    def row(place: int, state: Array) -> dict[str, object]:
        h = form.w + form.E @ state
        return {
            "P": form.H.ravel(), "q": form.F.T @ state, "G": form.G.ravel(), "h": h,
            "A": None, "b": None, "lb": None, "ub": None, "name": f"{problem.name}_{place}",
        }  # fmt: skip

    file = io.BytesIO()
    pd.DataFrame([row(place, state) for place, state in enumerate(x)]).to_parquet(file, index=False)
    title = f"MPC of {problem.name}, horizon {problem.N}"
    script = _SCRIPT.format(title=title, name=name, test_set=name.title().replace("_", ""))
    return {f"{name}.parquet": file.getvalue(), f"{name}.py": script.encode()}
