"""A trained policy for other programs: ONNX, and C99 for a controller."""

from copy import deepcopy
from importlib import import_module
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np

from mpc.arrays import Array
from mpc.c_source import check, table

if TYPE_CHECKING:
    from imitation.policies.network import PolicyNetwork

_OPSET = 20
_C = {
    "gelu": "0.5 * v * (1.0 + erf(v * 0.70710678118654752))",
    "relu": "v > 0.0 ? v : 0.0",
    "tanh": "tanh(v)",
}


def to_onnx(policy: "PolicyNetwork") -> bytes:
    """The deployed policy, normalisation and clip included, as ONNX: ``x (batch, n)`` to ``u (batch, m)``.

    Of a policy with a history x is the window of the last L states, oldest first, ``(batch, L n)``, and of
    one that plans in chunks u is the plan ``(batch, l m)``.

    Opset 20, float32 whatever the policy's own type: runtimes lack GELU in double.

    Raises:
        ValueError: where the packages onnx and onnxscript are not installed, or the policy projects onto a U
            that is no box.
    """
    import torch

    _require_box(policy)
    for name in ("onnx", "onnxscript"):
        try:
            import_module(name)
        except ImportError as error:
            raise ValueError(
                f"writing ONNX needs the package {name}: pip install 'centralpath[export]'"
            ) from error
    module = deepcopy(policy).float().eval()
    x = torch.zeros(2, len(policy.shift))
    with torch.no_grad(), catch_warnings():
        simplefilter("ignore", FutureWarning)  # of torch's exporter about itself
        program: Any = torch.onnx.export(
            module, (x,), dynamo=True, opset_version=_OPSET, input_names=["x"], output_names=["u"],
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    return program.model_proto.SerializeToString()


def to_c(policy: "PolicyNetwork", name: str = "policy", states: int = 100) -> dict[str, str]:
    """Texts of ``NAME.h``, ``NAME.c`` and ``NAME_test.c`` by file name: C99 without allocation, in double.

    Args:
        name: prefix of files and functions, a C identifier in lower case.
        states: states of the self-test, normal with the mean and deviation of the training observations.

    Raises:
        ValueError: for a name that is no identifier, or states < 1.
    """
    check(name, states)
    tensors = {key: _numpy(value).astype(np.float64) for key, value in policy.state_dict().items()}
    x = tensors["shift"] + tensors["scale"] * np.random.default_rng(0).normal(
        size=(states, len(tensors["shift"]))
    )
    return {
        f"{name}.h": _header(tensors, name),
        f"{name}.c": _source(policy, tensors, name),
        f"{name}_test.c": _test(x, _deployed(policy, x), name),
    }


def _layers(policy: "PolicyNetwork") -> Any:
    """The linear layers of a plain multilayer perceptron.

    Raises:
        ValueError: for any other architecture.
    """
    from imitation.policies.configs import Mlp

    config = policy.config
    if not isinstance(config, Mlp) or config.norm != "none":
        raise ValueError(
            f"policy must be an Mlp without norm layers to be written as C, got {config}; train one, or "
            f"export it as ONNX"
        )
    _require_box(policy)
    return policy.body.layers  # type: ignore[attr-defined]


def _require_box(policy: "PolicyNetwork") -> None:
    if policy.config.clip and policy.U is not None and not policy.U.is_box:
        raise ValueError(
            "policy projects onto a U that is no box, by a quadratic program that is not exported; train one "
            "with clip=False, and project in the program that calls it"
        )


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy()


def _deployed(policy: "PolicyNetwork", x: Array) -> Array:
    """The policy's own actions, in its own type."""
    import torch

    with torch.no_grad():
        return _numpy(policy.eval()(torch.as_tensor(x, dtype=policy.shift.dtype))).astype(np.float64)


def _header(tensors: dict[str, Array], name: str) -> str:
    upper, n, m = name.upper(), len(tensors["shift"]), len(tensors["low"])
    return f"""/* A multilayer perceptron from {n} states to {m} inputs. */
#ifndef {upper}_H
#define {upper}_H

#define {upper}_STATES {n}
#define {upper}_INPUTS {m}

void {name}_control(const double x[{upper}_STATES], double u[{upper}_INPUTS]);

#endif
"""


def _source(policy: "PolicyNetwork", tensors: dict[str, Array], name: str) -> str:
    depth, upper = len(_layers(policy)), name.upper()
    tables = [table("double", "centre", tensors["shift"], "u = layers((x - centre) / scale)")]
    tables.append(table("double", "scale", tensors["scale"], ""))
    for i in range(depth):
        tables.append(table("double", f"weight{i}", tensors[f"body.layers.{i}.weight"], ""))
        tables.append(table("double", f"bias{i}", tensors[f"body.layers.{i}.bias"], ""))
    clip = policy.config.clip and np.isfinite([tensors["low"], tensors["high"]]).all()
    if clip:
        tables += [table("double", "low", tensors["low"], ""), table("double", "high", tensors["high"], "")]
    sizes = [len(tensors["shift"]), *(len(tensors[f"body.layers.{i}.bias"]) for i in range(depth))]
    calls = [
        f"    layer({sizes[i + 1]}, {sizes[i]}, &weight{i}[0][0], bias{i}, {'ab'[i % 2]}, {into});\n"
        for i, into in enumerate([*("ba"[i % 2] for i in range(depth - 1)), "u"])
    ]
    for i in range(depth - 1):
        calls[i] += f"    bend({sizes[i + 1]}, {'ba'[i % 2]});\n"
    bounded = """    for (i = 0; i < M; i++)
        u[i] = u[i] < low[i] ? low[i] : u[i] > high[i] ? high[i] : u[i];
"""
    return f"""/* See {name}.h. Generated. */
#include "{name}.h"

#include <math.h>

#define N {upper}_STATES
#define M {upper}_INPUTS
#define WIDEST {max(sizes)}

{"".join(tables)}
/* out = weight in + bias */
static void layer(int rows, int columns, const double *weight, const double *bias,
                  const double *in, double *out)
{{
    int i, j;
    for (i = 0; i < rows; i++) {{
        out[i] = bias[i];
        for (j = 0; j < columns; j++)
            out[i] += weight[i * columns + j] * in[j];
    }}
}}
{_bend(policy) if depth > 1 else ""}
void {name}_control(const double x[N], double u[M])
{{
    double a[WIDEST]{", b[WIDEST]" if depth > 1 else ""};
    int i;
    for (i = 0; i < N; i++)
        a[i] = (x[i] - centre[i]) / scale[i];
{"".join(calls)}{bounded if clip else ""}}}
"""


def _bend(policy: "PolicyNetwork") -> str:
    return f"""
static void bend(int count, double *h)
{{
    int i;
    for (i = 0; i < count; i++) {{
        const double v = h[i];
        h[i] = {_C[policy.config.activation]};
    }}
}}
"""


def _test(x: Array, u: Array, name: str) -> str:
    upper, allowed = name.upper(), float(1e-5 * (1.0 + np.abs(u).max()))
    return f"""/* Self-test of {name}.c: prints one line; returns 0 if all states have their inputs. */
#include "{name}.h"

#include <math.h>
#include <stdio.h>

#define COUNT {len(x)}

{table("double", "state", x, "")}{table("double", "known", u, "inputs of these states")}
int main(void)
{{
    double largest = 0.0;
    int wrong = 0, s, i;
    for (s = 0; s < COUNT; s++) {{
        double u[{upper}_INPUTS];
        {name}_control(state[s], u);
        for (i = 0; i < {upper}_INPUTS; i++) {{
            const double error = fabs(u[i] - known[s][i]);
            if (!(error <= largest))
                largest = error;
        }}
        wrong += !(largest <= {allowed!r});
    }}
    printf("{name}: %d of %d states as expected, largest error %.1e\\n", COUNT - wrong, COUNT,
           largest);
    return wrong != 0;
}}
"""
