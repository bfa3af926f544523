"""Explicit MPC as C99 that runs on a controller: constant tables, no allocation, no library.

``explicit_law`` gives the text of three files: a header, the law, and a self-test with states whose inputs
are known. A state goes down the search tree to a leaf, and is in the region of the leaf whose facets it
breaks least, if that is by no more than ``TOLERANCE`` of the domain: so rounding at a border leaves no state
without an input, and a state without a plan gets none.
"""

import numpy as np

from mpc.arrays import Array
from mpc.c_source import check, labels_of, table
from mpc.explicit import ExplicitExpert
from mpc.status import Status

TOLERANCE = 1e-8


def explicit_law(expert: ExplicitExpert, name: str = "mpc", states: int = 200) -> dict[str, str]:
    """Texts of ``NAME.h``, ``NAME.c`` and ``NAME_test.c`` by file name.

    Args:
        name: prefix of files and functions, a C identifier in lower case.
        states: states of the self-test; half of them in regions, half anywhere in the domain.

    Raises:
        ValueError: for a name that is no identifier, or states < 1.
    """
    check(name, states)
    return {
        f"{name}.h": _header(expert, name),
        f"{name}.c": _source(expert, name),
        f"{name}_test.c": _test(expert, name, states),
    }


def _header(expert: ExplicitExpert, name: str) -> str:
    problem, told, upper = expert.problem, expert.complexity, name.upper()
    return f"""/* Exact model predictive control of {problem.name}, horizon {problem.N}, as a table.
 *
 * {told.regions} regions, {told.laws} distinct first moves; at most {told.operations} operations.
 *
{labels_of(problem)}
 */
#ifndef {upper}_H
#define {upper}_H

#define {upper}_STATES {problem.n}
#define {upper}_INPUTS {problem.m}

enum {{ {upper}_OPTIMAL = {int(Status.optimal)}, {upper}_INFEASIBLE = {int(Status.infeasible)} }};

/* Write the first input of the optimal plan from x to u and return {upper}_OPTIMAL. Where no plan
 * exists (or x is not a number) u is left as it is and the answer is {upper}_INFEASIBLE. */
int {name}_control(const double x[{upper}_STATES], double u[{upper}_INPUTS]);

#endif
"""


def _source(expert: ExplicitExpert, name: str) -> str:
    atlas, moves, reach, upper = expert.atlas, expert.first_moves, expert.regions.reach, name.upper()
    of_region = moves.law[moves.piece]
    normals = np.nan_to_num(atlas.normals, nan=0.0) * (atlas.child[:, :1] >= 0)
    offsets = np.where(atlas.child[:, 0] >= 0, atlas.offsets, 0.0)
    tables = [
        table("double", "normal", normals, "hyperplane of each node of the search tree"),
        table("double", "offset", offsets, ""),
        table("int", "child", atlas.child, "nodes below and above it, -1 for a leaf"),
        table("int", "leaf", atlas.leaf, "where the regions of a leaf stand in listed"),
        table("int", "listed", atlas.listed, ""),
        table("int", "first", atlas.first, "facets of region r are the rows first[r] .. first[r + 1] - 1"),
        table("double", "facet", atlas.A, "facet'x <= bound, one unit is the domain's half-width"),
        table("double", "bound", atlas.b, ""),
        table("int", "law", of_region, "which first move a region has"),
        table("double", "gain", moves.K, "u = gain x + shift"),
        table("double", "shift", moves.k, ""),
    ]
    extent = ", ".join(f"{value:g}" for value in reach)
    return f"""/* See {name}.h. Generated; the domain is |x| <= ({extent}). */
#include "{name}.h"

#define N {upper}_STATES
#define M {upper}_INPUTS
#define TOLERANCE {TOLERANCE!r}

{"".join(tables)}
static double height(const double *normal, double offset, const double *x)
{{
    double t = -offset;
    int i;
    for (i = 0; i < N; i++)
        t += normal[i] * x[i];
    return t;
}}

/* How far x breaks the facets of region r; stops where that is more than most. */
static double broken(int r, const double *x, double most)
{{
    double worst = -1.0;
    int f;
    for (f = first[r]; f < first[r + 1] && worst <= most; f++) {{
        const double t = height(facet[f], bound[f], x);
        if (!(t <= worst))
            worst = t;
    }}
    return worst;
}}

int {name}_control(const double x[N], double u[M])
{{
    double least = TOLERANCE;
    int node = 0, region = -1, k, i, j;
    while (child[node][0] >= 0)
        node = child[node][height(normal[node], offset[node], x) > 0.0 ? 1 : 0];
    for (k = leaf[node][0]; k < leaf[node][1]; k++) {{
        const double t = broken(listed[k], x, least);
        if (t <= least) {{
            least = t;
            region = listed[k];
            if (t <= 0.0)
                break;
        }}
    }}
    if (region < 0)
        return {upper}_INFEASIBLE;
    for (i = 0; i < M; i++) {{
        u[i] = shift[law[region]][i];
        for (j = 0; j < N; j++)
            u[i] += gain[law[region]][i][j] * x[j];
    }}
    return {upper}_OPTIMAL;
}}
"""


def _test(expert: ExplicitExpert, name: str, count: int) -> str:
    x = _test_states(expert, count)
    control, upper = expert(x), name.upper()
    u = np.where(np.isnan(control.u), 0.0, control.u)
    steepest = (np.abs(expert.first_moves.K) @ expert.regions.reach).max()
    allowed = float(1e-9 * (1.0 + np.abs(u).max()) + 1e-13 * steepest)
    tables = [
        table("double", "state", x, ""),
        table("double", "input", u, "of the optimal plan"),
        table("int", "status", control.status.astype(int), ""),
    ]
    return f"""/* Self-test of {name}.c: prints one line; returns 0 if all states have their inputs. */
#include "{name}.h"

#include <math.h>
#include <stdio.h>

#define COUNT {count}
#define N {upper}_STATES
#define M {upper}_INPUTS

{"".join(tables)}
int main(void)
{{
    double largest = 0.0;
    int wrong = 0, s, i;
    for (s = 0; s < COUNT; s++) {{
        double u[M] = {{0.0}};
        int differs = {name}_control(state[s], u) != status[s];
        for (i = 0; i < M && !differs && status[s] == {upper}_OPTIMAL; i++) {{
            const double error = fabs(u[i] - input[s][i]);
            if (error > largest)
                largest = error;
            differs = !(error <= {allowed!r});
        }}
        wrong += differs;
    }}
    printf("{name}: %d of %d states as expected, largest error %.1e\\n", COUNT - wrong, COUNT, largest);
    return wrong != 0;
}}
"""


def _test_states(expert: ExplicitExpert, count: int) -> Array:
    """On the way from region to region, and anywhere; none within 1e-6 of the feasible set's edge."""
    rng, regions = np.random.default_rng(0), expert.regions
    low, high = regions.within.bounds
    kept = np.empty((0, expert.problem.n))
    while len(kept) < count:
        r = rng.integers(len(regions), size=count)
        one, other = regions.centre[r], regions.centre[r[::-1]]
        between = one + rng.uniform(0, 0.5, (count, 1)) * (other - one)
        x = np.vstack([between, rng.uniform(low, high, between.shape)])[rng.permutation(2 * count)]
        middle = regions.centre[np.argmax(regions.radius)]
        inner, outer = (expert(middle + part * (x - middle)).status for part in (1 - 1e-6, 1 + 1e-6))
        kept = np.vstack([kept, x[inner == outer]])
    return kept[:count]
