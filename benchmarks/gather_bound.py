"""What a forest's gathers alone would take on this machine: the bound of any kernel that gathers.

A kernel that walks 16 rows at a time gathers, per tree, a node and a value a level and a leaf value at
the end. Here only these gathers happen, from tables that stay in the first-level cache, each
independent of the others: the best case. :mod:`fedanomaly.detectors._forest_masks` gathers nothing.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic

from fedanomaly.detectors import _vectors as v

TABLE = 4096  # 32-bit numbers: 16 KiB


@intrinsic
def gather(typing, table, index):
    """Return the 16 numbers of ``table`` at the places in ``index``."""

    def emit(context, builder, signature, values):
        ints, bits = context.get_value_type(v.INTS), ir.VectorType(ir.IntType(1), v.LANES)
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        base = builder.bitcast(data, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ints, [ints, base.type, ints, bits, ir.IntType(32)])
        name = "llvm.x86.avx512.mask.gather.dpi.512"
        function = builder.module.declare_intrinsic(name, (), kind)
        everywhere = ir.Constant(bits, [1] * v.LANES)
        nothing = ir.Constant(ints, [0] * v.LANES)
        return builder.call(function, [nothing, base, values[1], everywhere, ir.Constant(ir.IntType(32), 4)])

    return v.INTS(table, v.INTS), emit


@njit(cache=True, nogil=True, error_model="numpy")
def _gathers(table, places, rounds, sink):
    total = v.load_ints(places, 0)
    for _ in range(rounds):
        for i in range(0, 256, 16):
            total = v.both(total, gather(table, v.load_ints(places, i)))
        v.store(sink, 0, total)


def gathers(n_rows: int, n_trees: int, depth: int) -> None:
    """Do as many gathers as a walk of the rows down the trees needs."""
    places = np.random.default_rng(0).integers(0, TABLE, 256, dtype=np.int32)
    rounds = n_rows * n_trees * (2 * depth + 1) // 256
    _gathers(np.ones(TABLE, np.int32), places, rounds, np.zeros(16, np.int32))
