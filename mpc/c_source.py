"""C99 as text: names, comments, tables of constants."""

import re
from collections.abc import Sequence

import numpy as np

from mpc.problem import ControlProblem

_WIDTH = 100  # of a line of numbers
_RESERVED = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "main", "register", "restrict", "return", "short",
    "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile",
    "while",
}  # fmt: skip


def check(name: str, states: int) -> None:
    """Refuse a name that is no identifier, and a self-test without states.

    Raises:
        ValueError: names the argument.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED:
        raise ValueError(f"name must be a C identifier in lower case, as in pendulum_law, got {name!r}")
    if states < 1:
        raise ValueError(f"states, of the self-test, must be at least 1, got {states}")


def labels_of(problem: ControlProblem) -> str:
    """Lines of a comment: what the entries of x and u are."""
    lines = [f" *   x[{i}]  {label}" for i, label in enumerate(problem.state_labels)]
    return "\n".join([*lines, *(f" *   u[{i}]  {label}" for i, label in enumerate(problem.input_labels))])


def table(kind: str, name: str, values: np.ndarray, comment: str) -> str:
    """A constant array with its sizes, filled line by line."""
    values = np.asarray(values)
    sizes = "".join(f"[{max(size, 1)}]" for size in values.shape)
    note = f" /* {comment} */" if comment else ""
    return f"static const {kind} {name}{sizes} = {{{note}\n{_filled(_items(values))}\n}};\n\n"


def _items(values: np.ndarray) -> list[str]:
    """Entries of the first axis as C text; floats with all their digits."""
    if values.ndim > 1:
        return ["{" + ", ".join(_items(row)) + "}" for row in values]
    if not len(values):
        return ["0"]
    return [repr(float(v)) for v in values] if values.dtype.kind == "f" else [str(int(v)) for v in values]


def _filled(items: Sequence[str]) -> str:
    lines, line = [], "   "
    for place, item in enumerate(items):
        text = f" {item}{',' if place + 1 < len(items) else ''}"
        if len(line) + len(text) > _WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += text
    return "\n".join([*lines, line])
