"""Arrays that begin with a line of the cache, so that rows of a multiple of eight numbers do so too.

What a processor reads at once then lies in one line. Rows that straddle lines cost sparse products a quarter of their
speed; numpy's arrays begin 16 bytes into a line, those of compiled code 32.
"""

from __future__ import annotations

from math import prod

import numpy as np

LINE = 8  # float64 numbers


def aligned(*shape: int, zero: bool = False) -> np.ndarray:
    """A new float64 array of this shape; of zeros, or of whatever is there."""
    size = prod(shape)
    room = (np.zeros if zero else np.empty)(size + LINE)
    first = -(room.ctypes.data // room.itemsize) % LINE
    return room[first : first + size].reshape(shape)


def whole_lines(size: int) -> int:
    """Numbers of the lines that hold so many."""
    return -(-size // LINE) * LINE
