"""The machine's vector registers as values inside numba's compiled loops, for AVX-512.

LLVM turns a plain loop into vector instructions only where it can prove what it needs to; whether it
does so is luck. Here a loop says which registers it means. Each function below becomes one machine
instruction or a few, compiled by numba's own LLVM: no C compiler, and numba caches the result under
the name and features of the CPU, so that code for one machine never runs on another.

:func:`supported` tells whether they may be called. Places (``at``) count an array's elements, rows
of memory lie one after another, and nothing is checked: the caller keeps within the array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core.datamodel import models
from numba.core.registry import cpu_target
from numba.extending import intrinsic, register_model

LANES = 16  # 32-bit numbers a register holds
_NEEDED = frozenset({"+avx512f", "+avx512bw", "+avx512dq", "+avx512vl"})
_I32 = ir.IntType(32)

Emitted = tuple[Any, Callable[..., Any]]  # a signature, and what writes the instructions
_config: Any = config


@cache
def supported() -> bool:
    """Return whether numba compiles for a CPU that has these instructions (not merely runs on one)."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return not _config.DISABLE_JIT and set(features.split(",")) >= _NEEDED


class Vector(types.Type):
    """Numba's type of a register: so many lanes of one element type."""

    def __init__(self, element: Any, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        super().__init__(name=f"Vector({element}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    """What a register is to LLVM: a vector."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        element = manager.lookup(kind.element).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, kind.lanes))  # type: ignore[no-untyped-call]


INTS = Vector(types.int32, LANES)
FLOATS = Vector(types.float32, LANES)
BYTES = Vector(types.uint8, 64)
QUARTER = Vector(types.uint8, LANES)
WORDS = Vector(types.uint64, 4)  # half a register: 256 bits


def _instruction(function: Callable[..., Emitted]) -> Any:
    """Let compiled loops call what ``function`` emits; the first argument, a typing context, is numba's."""
    return intrinsic(function)


def _constant(kind: Any, numbers: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(kind, len(numbers)), list(numbers))


def _place(context: Any, builder: Any, array: Any, value: Any, at: Any, register: Any) -> Any:
    """Return the pointer to a register's worth of an array."""
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [at]), register.as_pointer())


def _aligned(instruction: Any, element: Any) -> Any:
    """Promise no more than that an array's elements are whole."""
    instruction.align = element.bitwidth // 8
    return instruction


def _load(kind: Vector) -> Any:
    def load(typing: Any, array: Any, at: Any) -> Emitted:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = _place(context, builder, array, values[0], values[1], context.get_value_type(kind))
            return _aligned(builder.load(place), kind.element)

        return kind(array, types.intp), emit

    return _instruction(load)


def _splat(kind: Vector) -> Any:
    def splat(typing: Any, number: Any) -> Emitted:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            nothing = ir.Constant(context.get_value_type(kind), ir.Undefined)
            first = builder.insert_element(nothing, values[0], ir.Constant(_I32, 0))
            return builder.shuffle_vector(first, nothing, _constant(_I32, [0] * kind.lanes))

        return kind(kind.element), emit

    return _instruction(splat)


load_ints, load_floats, load_bytes, load_words = map(_load, (INTS, FLOATS, QUARTER, WORDS))
"""``load_...(array, at)``: the elements from ``at`` on; ``load_bytes`` takes 16, the others a register."""

splat_int, splat_byte = map(_splat, (INTS, BYTES))
"""``splat_...(number)``: one number in every lane."""


@_instruction
def store(typing: Any, array: Any, at: Any, vector: Any) -> Emitted:
    """``array[at : at + lanes] = vector``."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, array, values[0], values[1], values[2].type)
        _aligned(builder.store(values[2], place), vector.element)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


def _compare(operator: str) -> Any:
    def compare(typing: Any, a: Any, b: Any) -> Emitted:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(builder.icmp_signed(operator, *values), ir.IntType(LANES))

        return types.uint16(INTS, INTS), emit

    return _instruction(compare)


greater, equal = map(_compare, (">", "=="))
"""``greater(a, b)``, ``equal(a, b)``: of 16 numbers, as the 16 bits of an integer."""


@_instruction
def choose(typing: Any, bits: Any, a: Any, b: Any) -> Emitted:
    """Return ``a`` where the lane's bit is set, else ``b``."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = builder.bitcast(values[0], ir.VectorType(ir.IntType(1), a.lanes))
        return builder.select(lanes, values[1], values[2])

    return a(bits, a, b), emit


@_instruction
def both(typing: Any, a: Any, b: Any) -> Emitted:
    """``a & b``."""
    return a(a, b), lambda context, builder, signature, values: builder.and_(*values)


@_instruction
def without(typing: Any, a: Any, b: Any) -> Emitted:
    """``a & ~b``."""
    return a(a, b), lambda context, builder, signature, values: builder.and_(
        values[0], builder.not_(values[1])
    )


@_instruction
def widen(typing: Any, quarter: Any) -> Emitted:
    """16 bytes as 16 integers."""
    return INTS(quarter), lambda context, builder, signature, values: builder.zext(
        values[0], context.get_value_type(INTS)
    )


@_instruction
def table_of(typing: Any, index: Any) -> Emitted:
    """``index >> 5``: which table of 32 floats an index points into."""
    return INTS(INTS), lambda context, builder, signature, values: builder.lshr(
        values[0], _constant(_I32, [5] * LANES)
    )


@_instruction
def look_up(typing: Any, low: Any, index: Any, high: Any) -> Emitted:
    """Return the floats that the low five bits of ``index`` point to, in a table of two registers."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        floats, ints = context.get_value_type(FLOATS), context.get_value_type(INTS)
        kind = ir.FunctionType(floats, [floats, ints, floats])
        permute = builder.module.declare_intrinsic("llvm.x86.avx512.vpermi2var.ps.512", (), kind)
        return builder.call(permute, values)

    return FLOATS(FLOATS, INTS, FLOATS), emit


@_instruction
def transpose(typing: Any, source: Any, at: Any, stride: Any, target: Any, to: Any, gap: Any) -> Emitted:
    """Write column j of the 16 x 16 numbers of ``source[at + i * stride + j]`` to ``to + j * gap`` on.

    Four rounds, in each of which the lanes of two rows that are eight apart are interleaved.
    """
    halves = [
        _constant(_I32, [lane for pair in range(start, start + 8) for lane in (pair, pair + LANES)])
        for start in (0, 8)
    ]

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        register = context.get_value_type(INTS)

        def moved(array: Any, tile: Any, i: int) -> Any:
            data, start, step = tile
            place = builder.add(start, builder.mul(step, ir.Constant(step.type, i)))
            return _place(context, builder, array, data, place, register)

        rows = [_aligned(builder.load(moved(source, values[:3], i)), INTS.element) for i in range(LANES)]
        for _ in range(4):
            pairs = zip(rows[:8], rows[8:], strict=True)
            rows = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in halves]
        for j, row in enumerate(rows):
            _aligned(builder.store(row, moved(target, values[3:], j)), INTS.element)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, place, target, place, place), emit
