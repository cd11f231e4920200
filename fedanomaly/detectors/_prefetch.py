"""Ask memory for numbers before they are needed, from inside numba's compiled loops, on any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LINE = 64
"""Bytes that memory hands over at once on the machines there are."""


def _prefetch(typing: Any, array: Any, at: Any) -> tuple[Any, Callable[..., Any]]:

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number, address = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        request = builder.module.declare_intrinsic("llvm.prefetch", (address,), kind)
        data = context.make_array(array)(context, builder, values[0]).data
        place = builder.bitcast(builder.gep(data, [values[1]]), address)
        to_read, for_long, as_data = (ir.Constant(number, code) for code in (0, 3, 1))
        builder.call(request, [place, to_read, for_long, as_data])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


prefetch: Any = intrinsic(_prefetch)
"""``prefetch(array, at)``: begin to load the line of element ``at`` of a flat array; no result changes."""
