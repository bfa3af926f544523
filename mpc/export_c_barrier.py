"""Barrier MPC as C99 that runs on a controller: one problem, one weight, memory that the caller owns.

With the plan written as ``z`` (``mpc.condense.LeastDistance``) the problem is to minimise
``|z|^2 - eta sum_i log s_i - eta (M'(1/w))'z`` where ``s = w + E x - M z``: the linear term recentres the
barrier at x = 0, z = 0. A primal-dual Newton method takes ``s_i lambda_i`` to eta from slacks that need not
be consistent. It is dense in z, so it suits the horizons that controllers have; Python's kernel goes stage by
stage.
"""

import numpy as np

from mpc.barrier import BarrierExpert
from mpc.c_source import check, labels_of, table
from mpc.condense import least_distance
from mpc.prepared import prepare
from mpc.sampling import UniformSampler
from mpc.status import Status


def barrier_solver(expert: BarrierExpert, name: str = "mpc", states: int = 100) -> dict[str, str]:
    """Texts of ``NAME.h``, ``NAME.c`` and ``NAME_test.c`` by file name.

    Args:
        name: prefix of files and functions, a C identifier in lower case.
        states: states of the self-test, drawn from the problem's set of initial states.

    Raises:
        ValueError: for a name that is no identifier, states < 1, or where none of many initial states has a
            plan.
    """
    check(name, states)
    return {
        f"{name}.h": _header(expert, name),
        f"{name}.c": _source(expert, name),
        f"{name}_test.c": _test(expert, name, states),
    }


def _header(expert: BarrierExpert, name: str) -> str:
    problem, form, upper = expert.problem, least_distance(expert.problem), name.upper()
    rows, plan = form.M.shape
    return f"""/* MPC of {problem.name}, horizon {problem.N}, with a log-barrier of weight {expert.eta:g}.
 *
{labels_of(problem)}
 */
#ifndef {upper}_H
#define {upper}_H

#define {upper}_STATES {problem.n}
#define {upper}_INPUTS {problem.m}
#define {upper}_PLAN {plan}
#define {upper}_ROWS {rows}

enum {{
    {upper}_OPTIMAL = {int(Status.optimal)},
    {upper}_ITERATION_LIMIT = {int(Status.iteration_limit)},  /* no plan found */
    {upper}_NUMERICAL_ERROR = {int(Status.numerical_error)},
    {upper}_INVALID_INPUT = {int(Status.invalid_input)}
}};

/* What a call needs to work with; it holds nothing between calls. */
typedef struct {{
    double z[{upper}_PLAN], dz[{upper}_PLAN], factor[{upper}_PLAN][{upper}_PLAN];
    double slack[{upper}_ROWS], multiplier[{upper}_ROWS], residual[{upper}_ROWS], push[{upper}_ROWS];
}} {name}_memory;

/* Write the input from x to u and, where dudx is not a null pointer, its Jacobian; returns a status, and
 * writes nothing unless that is {upper}_OPTIMAL. */
int {name}_control({name}_memory *memory, const double x[{upper}_STATES],
                   double u[{upper}_INPUTS], double dudx[{upper}_INPUTS][{upper}_STATES]);

#endif
"""


def _source(expert: BarrierExpert, name: str) -> str:
    ready, upper = prepare(expert.problem), name.upper()
    form = ready.form
    centre = -form.M.T @ (1.0 / form.w)
    tables = [
        table("double", "row", form.M, "row z + slack = bound + shift x"),
        table("double", "bound", form.w, ""),
        table("double", "shift", form.E, ""),
        table("double", "recentre", centre, "minus the gradient of the logarithms at the origin"),
        table("double", "gain", ready.K, "u = gain x + input z"),
        table("double", "input", ready.T, ""),
    ]
    return f"""/* See {name}.h. Generated. */
#include "{name}.h"

#include <math.h>

#define N {upper}_STATES
#define M {upper}_INPUTS
#define P {upper}_PLAN
#define C {upper}_ROWS
#define ETA {float(expert.eta)!r}
#define MOST_STEPS {expert.max_iterations}

{"".join(tables)}
static double dot(int count, const double *a, const double *b)
{{
    double t = 0.0;
    int i;
    for (i = 0; i < count; i++)
        t += a[i] * b[i];
    return t;
}}

/* Cholesky factor of 2 I + row' diag(multiplier / slack) row in the lower half; 0 if it has none. */
static int factorise({name}_memory *a)
{{
    int c, i, j, k;
    for (i = 0; i < P; i++)
        for (j = 0; j <= i; j++)
            a->factor[i][j] = i == j ? 2.0 : 0.0;
    for (c = 0; c < C; c++) {{
        const double weight = a->multiplier[c] / a->slack[c];
        for (i = 0; i < P; i++) {{
            const double t = weight * row[c][i];
            if (t != 0.0)
                for (j = 0; j <= i; j++)
                    a->factor[i][j] += t * row[c][j];
        }}
    }}
    for (j = 0; j < P; j++) {{
        double t = a->factor[j][j] - dot(j, a->factor[j], a->factor[j]);
        if (!(t > 0.0))
            return 0;
        t = sqrt(t);
        a->factor[j][j] = t;
        for (k = j + 1; k < P; k++)
            a->factor[k][j] = (a->factor[k][j] - dot(j, a->factor[k], a->factor[j])) / t;
    }}
    return 1;
}}

/* Solve with the factor, in place. */
static void solve(const {name}_memory *a, double v[P])
{{
    int i, j;
    for (i = 0; i < P; i++)
        v[i] = (v[i] - dot(i, a->factor[i], v)) / a->factor[i][i];
    for (i = P - 1; i >= 0; i--) {{
        for (j = i + 1; j < P; j++)
            v[i] -= a->factor[j][i] * v[j];
        v[i] /= a->factor[i][i];
    }}
}}

/* The plan of unconstrained LQR, with slacks that are at least as large as the worst row is broken. */
static void start({name}_memory *a, const double x[N])
{{
    double worst = 0.0;
    int c, i;
    for (i = 0; i < P; i++)
        a->z[i] = 0.0;
    for (c = 0; c < C; c++) {{
        a->slack[c] = bound[c] + dot(N, shift[c], x);
        if (-a->slack[c] > worst)
            worst = -a->slack[c];
    }}
    for (c = 0; c < C; c++) {{
        const double least = worst > 0.01 * bound[c] ? worst : 0.01 * bound[c];
        if (a->slack[c] < least)
            a->slack[c] = least;
        a->multiplier[c] = (ETA > worst * worst ? ETA : worst * worst) / a->slack[c];
    }}
}}

/* One Newton step towards slack multiplier = target, no further than keeps both positive. Returns its
 * length, or -1 without a factor. */
static double step({name}_memory *a, double target)
{{
    double length = 1.0;
    int c, i;
    for (i = 0; i < P; i++)
        a->dz[i] = -2.0 * a->z[i] - ETA * recentre[i];
    if (!factorise(a))
        return -1.0;
    for (c = 0; c < C; c++) {{
        a->push[c] = (target + a->multiplier[c] * a->residual[c]) / a->slack[c];
        for (i = 0; i < P; i++)
            a->dz[i] -= row[c][i] * a->push[c];
    }}
    solve(a, a->dz);
    for (c = 0; c < C; c++) {{
        const double ds = -a->residual[c] - dot(P, row[c], a->dz);
        const double dm = (target - a->multiplier[c] * (a->slack[c] + ds)) / a->slack[c];
        if (ds < 0.0 && -0.995 * a->slack[c] > length * ds)
            length = -0.995 * a->slack[c] / ds;
        if (dm < 0.0 && -0.995 * a->multiplier[c] > length * dm)
            length = -0.995 * a->multiplier[c] / dm;
        a->push[c] = dm;
        a->residual[c] = ds;
    }}
    for (c = 0; c < C; c++) {{
        a->slack[c] += length * a->residual[c];
        a->multiplier[c] += length * a->push[c];
    }}
    for (i = 0; i < P; i++)
        a->z[i] += length * a->dz[i];
    return length;
}}

/* How far the rows are from holding, in residual; returns the mean product of slack and multiplier. Whether
 * all is done but for rounding goes to done. */
static double measure({name}_memory *a, const double x[N], int *done)
{{
    double mean = 0.0;
    int c;
    *done = 1;
    for (c = 0; c < C; c++) {{
        const double limit = bound[c] + dot(N, shift[c], x), both = a->slack[c] * a->multiplier[c];
        a->residual[c] = dot(P, row[c], a->z) + a->slack[c] - limit;
        mean += both / C;
        *done = *done && fabs(both - ETA) <= 1e-8 * ETA
                && fabs(a->residual[c]) <= 1e-10 * (fabs(limit) + bound[c]);
    }}
    return mean;
}}

static void jacobian({name}_memory *a, double dudx[M][N])
{{
    int c, i, j;
    for (j = 0; j < N; j++) {{
        for (i = 0; i < P; i++)
            a->dz[i] = 0.0;
        for (c = 0; c < C; c++) {{
            const double t = a->multiplier[c] / a->slack[c] * shift[c][j];
            for (i = 0; i < P; i++)
                a->dz[i] += t * row[c][i];
        }}
        solve(a, a->dz);
        for (i = 0; i < M; i++)
            dudx[i][j] = gain[i][j] + dot(M, input[i], a->dz);
    }}
}}

int {name}_control({name}_memory *a, const double x[N], double u[M], double dudx[M][N])
{{
    double length = 0.0;
    int count, done = 0, i;
    for (i = 0; i < N; i++)
        if (!(fabs(x[i]) <= 1e300))
            return {upper}_INVALID_INPUT;
    start(a, x);
    for (count = 0; count <= MOST_STEPS; count++) {{
        const double mean = measure(a, x, &done);
        const double aim = length > 0.9 ? 0.05 * mean : 0.3 * mean;
        if (done && length == 1.0)
            break;
        length = step(a, aim > ETA ? aim : ETA);
        if (!(length > 0.0))
            return {upper}_NUMERICAL_ERROR;
    }}
    if (!done)
        return {upper}_ITERATION_LIMIT;
    if (dudx != 0 && !factorise(a))
        return {upper}_NUMERICAL_ERROR;
    for (i = 0; i < M; i++)
        u[i] = dot(N, gain[i], x) + dot(M, input[i], a->z);
    if (dudx != 0)
        jacobian(a, dudx);
    return {upper}_OPTIMAL;
}}
"""


def _test(expert: BarrierExpert, name: str, count: int) -> str:
    problem, upper = expert.problem, name.upper()
    sampler, seed = UniformSampler(problem.initial_set, "the set of initial states"), 0
    x = np.empty((0, problem.n))
    while len(x) < count and seed < 100 * count:
        drawn = sampler.draw([np.random.default_rng(seed + i) for i in range(count)])
        x = np.vstack([x, drawn[expert(1.01 * drawn).status == Status.optimal]])
        seed += count
    if len(x) < count:
        raise ValueError("too few initial states have a plan for a self-test; set a smaller initial set")
    x = x[:count]
    control = expert(x)
    assert control.dudx is not None
    tables = [
        table("double", "state", x, ""),
        table("double", "known", control.u, "inputs of these states"),
        table("double", "slope", control.dudx, "and their Jacobians"),
    ]
    allowed = float(1e-8 * np.abs(control.u).max())
    steep = float(1e-5 * np.abs(control.dudx).max())
    return f"""/* Self-test of {name}.c: prints one line; returns 0 if all states have their inputs. */
#include "{name}.h"

#include <math.h>
#include <stdio.h>

#define COUNT {count}
#define N {upper}_STATES
#define M {upper}_INPUTS

{"".join(tables)}
static {name}_memory memory;

int main(void)
{{
    double largest = 0.0;
    int wrong = 0, s, i, j;
    for (s = 0; s < COUNT; s++) {{
        double u[M], dudx[M][N];
        int differs = {name}_control(&memory, state[s], u, dudx) != {upper}_OPTIMAL;
        for (i = 0; i < M && !differs; i++) {{
            const double error = fabs(u[i] - known[s][i]);
            if (error > largest)
                largest = error;
            differs = !(error <= {allowed!r});
            for (j = 0; j < N && !differs; j++)
                differs = !(fabs(dudx[i][j] - slope[s][i][j]) <= {steep!r});
        }}
        wrong += differs;
    }}
    printf("{name}: %d of %d states as expected, largest error %.1e\\n", COUNT - wrong, COUNT,
           largest);
    return wrong != 0;
}}
"""
