"""Vectors of sixteen float32 in compiled code: a lane for each of sixteen labels.

The solvers treat sixteen labels at once, and what they do to one row of an array of shape (m, 16)
must be one instruction. Compilers do not see that in loops over a row (arrays might overlap), so
the value is made here and handed to LLVM as `<16 x float>`; a processor with shorter registers
uses several. `load(a, i)` is row i of `a`, `store(a, i, v)` writes it; + - * / work lane by lane.

Only for use inside `numba.njit` functions.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

WIDTH = 16
"""Lanes of a value."""
SIMD = {"reassoc", "contract", "arcp", "nsz"}
"""Lets the compiler turn a dot product into SIMD; NaN and infinities keep their meaning."""

_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_INDICES = ir.VectorType(ir.IntType(32), WIDTH)
_FUSE = ("contract",)  # a * b + c in one rounding where the processor can


class Lanes(types.Type):  # type: ignore[misc]
    """The type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{WIDTH}")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _define(operation: Any, instruction: str) -> None:
    """Give + - * or / of two values its meaning, lane by lane."""

    @infer_global(operation)
    class _Typed(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(lanes, lanes, lanes) if args == (lanes, lanes) else None

    @lower_builtin(operation, Lanes, Lanes)  # type: ignore[untyped-decorator]
    def _lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(args[0], args[1], flags=_FUSE)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


def _row_pointer(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Where row `args[1]` of the array `args[0]` begins."""
    array = context.make_array(sig.args[0])(context, builder, args[0])
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    start = builder.gep(array.data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
    return builder.bitcast(start, _VECTOR.as_pointer())


def _require_rows(array: Any) -> None:
    """Refuse, when compiling, arrays whose rows cannot be lanes."""
    if (array.ndim, array.layout, array.dtype) != (2, "C", types.float32):
        raise TypingError(f"lanes lie in float32 arrays of shape (m, {WIDTH}), not in {array}")


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INDICES, [0] * WIDTH))


Generated = tuple[Any, Callable[..., Any]]


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, row: Any) -> Generated:
    """The row of a float32 array of shape (m, 16); the row must exist.

    Args:
        typing: numba's typing context.
        array: type of the array, float32 (m, 16).
        row: type of the row number.

    Returns:
        Signature and code generator.
    """
    _require_rows(array)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_row_pointer(context, builder, sig, args), align=4)

    return lanes(array, row), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, row: Any, value: Any) -> Generated:
    """Write the value to the row of a float32 array of shape (m, 16); the row must exist.

    Args:
        typing: numba's typing context.
        array: type of the array, float32 (m, 16).
        row: type of the row number.
        value: type of the value, sixteen lanes.

    Returns:
        Signature and code generator.
    """
    _require_rows(array)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _row_pointer(context, builder, sig, args), align=4)
        return context.get_dummy_value()

    return types.void(array, row, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing: Any, number: Any) -> Generated:
    """The number in every lane.

    Args:
        typing: numba's typing context.
        number: type of the number.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, context.cast(builder, args[0], sig.args[0], types.float32))

    return lanes(number), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_scaled(typing: Any, total: Any, number: Any, value: Any) -> Generated:
    """`total + number * value`, in one instruction where there is one.

    Args:
        typing: numba's typing context.
        total: type of the total, sixteen lanes.
        number: type of the number.
        value: type of the value, sixteen lanes.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scale = _splat(builder, context.cast(builder, args[1], sig.args[1], types.float32))
        return builder.fadd(args[0], builder.fmul(scale, args[2], flags=_FUSE), flags=_FUSE)

    return lanes(lanes, number, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def where_less(typing: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Generated:
    """Lane by lane `then` where a < b, else `otherwise`.

    Args:
        typing: numba's typing context.
        a: type of the left side, sixteen lanes.
        b: type of the right side, sixteen lanes.
        then: type of what is taken where a < b, sixteen lanes.
        otherwise: type of what is taken elsewhere, sixteen lanes.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return lanes(a, b, then, otherwise), generate


@intrinsic  # type: ignore[untyped-decorator]
def where_bit(typing: Any, bits: Any, then: Any, otherwise: Any) -> Generated:
    """Lane l is `then`'s where bit l of the uint16 `bits` is set, else `otherwise`'s.

    Args:
        typing: numba's typing context.
        bits: type of the bits, uint16.
        then: type of what is taken where a bit is set, sixteen lanes.
        otherwise: type of what is taken elsewhere, sixteen lanes.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), WIDTH))
        return builder.select(mask, args[1], args[2])

    return lanes(types.uint16, lanes, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def any_less(typing: Any, a: Any, b: Any) -> Generated:
    """Whether a < b in any lane.

    Args:
        typing: numba's typing context.
        a: type of the left side, sixteen lanes.
        b: type of the right side, sixteen lanes.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_ordered("<", args[0], args[1]), ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(WIDTH), 0))

    return types.boolean(a, b), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, array: Any, position: Any) -> Generated:
    """Ask for the memory of element `position` of the array's data, which need not exist.

    Args:
        typing: numba's typing context.
        array: type of the array.
        position: type of the position.

    Returns:
        Signature and code generator.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        place = context.cast(builder, args[1], sig.args[1], types.intp)
        byte, number = ir.IntType(8), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, [place]), byte.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte.as_pointer()], kind)
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, position), generate
