"""Vectors of doubles as a Numba value type: a kernel that reads like scalar code runs WIDTH problems at once.

A value of type ``Lanes`` is one LLVM vector ``<WIDTH x double>``, one number of each of WIDTH problems.
Arithmetic, comparison and ``select`` act lane by lane, so what happens in one lane never touches
another, and a kernel's answer for a problem does not depend on its neighbours. Arrays hold lanes along
their last axis, ``(..., WIDTH)`` and C-contiguous; ``load`` and ``store`` move one vector:

    total = lanes(0.0)
    for j in range(n):
        total += load(P, a, j) * A[j, e]    # a double times a vector
    store(PA, a, e, total)

Products and sums carry LLVM's ``contract`` flag, so they become fused multiply-adds where the processor
has them; no other liberty is taken with floating point, and NaN stays NaN. Without compilation
(NUMBA_DISABLE_JIT=1) a vector is a NumPy array of WIDTH numbers and the same kernels run.
"""

import operator
import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

ALIGNMENT = 64  # bytes: a load that straddles two cache lines costs two


def lane_width() -> int:
    """Doubles in a vector: $CENTRALPATH_LANES, else 16 with AVX-512, 8 with AVX, 4 elsewhere.

    That is two registers each, so that one half works while the other waits. A vector that the
    processor has no registers for is still right, only slower; without any vectors take 1. A number has
    the same bits in a lane whatever the width.
    """
    text = os.environ.get("CENTRALPATH_LANES", "")
    if text:
        if text not in ("1", "2", "4", "8", "16"):
            raise ValueError(f"CENTRALPATH_LANES must be 1, 2, 4, 8 or 16, got {text!r}")
        return int(text)
    if numba.config.CPU_NAME or not numba.config.ENABLE_AVX:  # compiling for another processor than this
        return 4
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


WIDTH = lane_width()


def aligned(*shape: int) -> np.ndarray:
    """Zeros of float64 that start on a cache line."""
    size = int(np.prod(shape))
    buffer = np.zeros(size + ALIGNMENT // 8)
    start = (-buffer.ctypes.data % ALIGNMENT) // 8
    return buffer[start : start + size].reshape(shape)


_DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Lanes({WIDTH})")


class _Mask(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Mask({WIDTH})")


Lanes, Mask = _Lanes(), _Mask()
"""The types, for signatures: WIDTH doubles, WIDTH booleans."""


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _DOUBLES)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _BITS)


def _spread(builder: Any, value: Any) -> Any:
    """One double in every lane."""
    first = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(_DOUBLES, ir.Undefined), zeros)


def _vectors(builder: Any, kinds: Any, values: Any) -> list[Any]:
    return [v if kind is Lanes else _spread(builder, v) for kind, v in zip(kinds, values, strict=True)]


def _define(operation: Any, cases: list[Any], emit: Callable[[Any, Any, Any], Any]) -> None:
    """Teach Numba a Python operator on our types: ``emit(builder, argument types, arguments)``."""
    infer_global(operation)(type(f"Lanes_{operation.__name__}", (ConcreteTemplate,), {"cases": cases}))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, sig.args, args)

    for case in cases:
        lower_builtin(operation, *case.args)(lower)


def _arithmetic(name: str) -> Callable[[Any, Any, Any], Any]:
    def emit(builder: Any, kinds: Any, values: Any) -> Any:
        return getattr(builder, name)(*_vectors(builder, kinds, values), flags=("contract",))

    return emit


def _comparison(sign: str) -> Callable[[Any, Any, Any], Any]:
    def emit(builder: Any, kinds: Any, values: Any) -> Any:
        return builder.fcmp_ordered(sign, *_vectors(builder, kinds, values))

    return emit


_F8 = types.float64
_PAIRS = [(Lanes, Lanes), (Lanes, _F8), (_F8, Lanes)]
for _name, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    for _operator in (getattr(operator, _name), getattr(operator, f"i{_name}")):
        _define(_operator, [signature(Lanes, *pair) for pair in _PAIRS], _arithmetic(_instruction))
for _name, _sign in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
    _define(getattr(operator, _name), [signature(Mask, *pair) for pair in _PAIRS], _comparison(_sign))
_define(operator.neg, [signature(Lanes, Lanes)], lambda builder, kinds, values: builder.fneg(*values))
_define(operator.and_, [signature(Mask, Mask, Mask)], lambda builder, kinds, values: builder.and_(*values))
_define(operator.or_, [signature(Mask, Mask, Mask)], lambda builder, kinds, values: builder.or_(*values))
_define(operator.invert, [signature(Mask, Mask)], lambda builder, kinds, values: builder.not_(*values))


def _place(context: Any, builder: Any, kind: Any, array: Any, indices: Any) -> Any:
    """Pointer to the vector ``array[indices]``; checked against the shape under NUMBA_BOUNDSCHECK=1."""
    struct = context.make_array(kind)(context, builder, array)
    whole = [builder.sext(i, ir.IntType(64)) if i.type.width < 64 else i for i in indices]
    if numba.config.BOUNDSCHECK:
        for axis, (index, length) in enumerate(
            zip(whole, cgutils.unpack_tuple(builder, struct.shape), strict=False)
        ):
            cgutils.do_boundscheck(context, builder, index, length, axis)
    zero = [context.get_constant(types.intp, 0)]
    pointer = cgutils.get_item_pointer(context, builder, kind, struct, whole + zero, wraparound=False)
    return builder.bitcast(pointer, _DOUBLES.as_pointer())


def _call(builder: Any, name: str, result: Any, kinds: list[Any], values: Any) -> Any:
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), name)
    return builder.call(function, values)


@intrinsic
def _load(typing_context, array, *index):
    if array.ndim != len(index) + 1 or array.layout != "C":
        raise numba.TypingError("load takes a C-contiguous array and an index for every axis but the last")

    def generate(context, builder, sig, args):
        place = _place(context, builder, array, args[0], cgutils.unpack_tuple(builder, args[1]))
        return builder.load(place, align=8)

    return Lanes(array, types.BaseTuple.from_types(index)), generate


@intrinsic
def _store(typing_context, array, value, *index):
    if array.ndim != len(index) + 1 or array.layout != "C":
        raise numba.TypingError("store takes a C-contiguous array and an index for every axis but the last")

    def generate(context, builder, sig, args):
        place = _place(context, builder, array, args[0], cgutils.unpack_tuple(builder, args[2]))
        (vector,) = _vectors(builder, sig.args[1:2], args[1:2])
        builder.store(vector, place, align=8)
        return context.get_dummy_value()

    return types.void(array, value, types.BaseTuple.from_types(index)), generate


@intrinsic
def _lanes(typing_context, value):
    return Lanes(_F8), lambda context, builder, sig, args: _spread(builder, args[0])


@intrinsic
def _select(typing_context, mask, yes, no):
    def generate(context, builder, sig, args):
        return builder.select(args[0], *_vectors(builder, sig.args[1:], args[1:]))

    return Lanes(mask, yes, no), generate


def _extreme(sign: str) -> Any:
    @intrinsic
    def pick(typing_context, left, right):
        def generate(context, builder, sig, args):
            a, b = _vectors(builder, sig.args, args)
            return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

        return Lanes(left, right), generate

    return pick


@intrinsic
def _absolute(typing_context, value):
    def generate(context, builder, sig, args):
        return _call(builder, f"llvm.fabs.v{WIDTH}f64", _DOUBLES, [_DOUBLES], args)

    return Lanes(value), generate


@intrinsic
def _any_lane(typing_context, mask):
    def generate(context, builder, sig, args):
        return _call(builder, f"llvm.vector.reduce.or.v{WIDTH}i1", ir.IntType(1), [_BITS], args)

    return types.boolean(mask), generate


if numba.config.DISABLE_JIT:

    def load(array, *index):
        return array[index].copy()

    def store(array, value, *index):
        array[index] = value

    def lanes(value):
        return np.full(WIDTH, value)

    def select(mask, yes, no):
        return np.where(mask, yes, no)

    def least(left, right):
        return np.where(left < right, left, right)

    def most(left, right):
        return np.where(left > right, left, right)

    def absolute(value):
        return np.abs(value)

    def any_lane(mask):
        return bool(np.any(mask))

else:
    load, store, lanes, select = _load, _store, _lanes, _select
    least, most, absolute = _extreme("<"), _extreme(">"), _absolute
    any_lane = _any_lane
