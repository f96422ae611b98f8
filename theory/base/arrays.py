"""Validators of arrays, each of which returns the clean array, exact row codes, and cosines of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from .errors import FieldError

# Codes stay below this so that one more column can never overflow a signed 64-bit integer.
_CODE_LIMIT = 2**62


def full_array(x: Any) -> npt.NDArray[Any]:
    """A sparse or dense array without holes."""
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


def joint_norm(arrays: Iterable[npt.NDArray[Any]]) -> float:
    """Euclidean norm of all entries of some arrays together."""
    return float(np.sqrt(sum(np.sum(x * x) for x in arrays)))


def as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Return `value` as an array; what an array would lose of it is refused: rows of other lengths, masks, units.

    Tensors of torch are read wherever they lie, parameters and half precision too.

    Raises
    ------
    FieldError
        If it is no rectangular array, or more than one.
    """
    if type(value) is np.ndarray and value.dtype.char == "d":  # the usual case, many times in a small call
        return value
    try:
        array = np.asarray(_plain(name, value))
    except FieldError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        if "inhomogeneous" in str(error):
            raise FieldError(name, "must be a rectangular array, got rows of different lengths.") from None
        kind = type(value).__name__
        raise FieldError(
            name, f"must be an array of numbers, got {kind} that cannot be read as one."
        ) from None
    if array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float8")):
        array = array.astype(np.float64)  # precisions that numpy itself does not know
    if array.dtype.kind in "OV":
        raise FieldError(name, "must be a rectangular array of numbers, got an array of objects.")
    return array


def real_array(name: str, value: Any, *, finite: bool = True) -> npt.NDArray[np.float64]:
    """Return a fresh C-contiguous float64 array of real numbers: the one validator of all arrays of numbers.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : array_like
        Integers or real floats; booleans, text and complex numbers are no real numbers.
    finite : bool
        Whether nan and infinity are refused too.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise FieldError(name, f"must be an array of real numbers, got {array.dtype} {type(value).__name__}.")
    if array.dtype == np.float64:
        clean = np.array(array, order="C")
    else:
        with np.errstate(over="ignore"):  # of wider floats; infinities are told below
            clean = np.array(array, dtype=np.float64, order="C")
    if finite and (bad := clean.size - np.count_nonzero(np.isfinite(clean))):
        raise FieldError(name, f"must be finite, got {bad} nan or inf: replace them.")
    return clean


def _plain(name: str, value: Any) -> Any:
    """What numpy can read without losing a part of it."""
    if type(value) is np.ndarray:
        return value
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor; this layer knows no torch
        tensor = value.detach().cpu()
        return (tensor.double() if tensor.is_floating_point() else tensor).numpy(force=True)
    if np.ma.isMaskedArray(value):
        if np.ma.getmaskarray(value).any():
            raise FieldError(name, "has masked entries: fill them, or leave their rows out.")
        return value.data
    if sparse.issparse(value):
        raise FieldError(name, "is sparse: give it dense, with `.toarray()`.")
    if hasattr(value, "units") or (isinstance(value, np.ndarray) and hasattr(value, "unit")):
        raise FieldError(name, "has units, which would be lost: give plain numbers.")
    return value


def tokens(name: str, value: Any, ndim: int, d_vocab: int) -> npt.NDArray[np.int64]:
    """Return a fresh C-contiguous int64 array of `ndim` axes whose entries lie in ``[0, d_vocab)``."""
    array = as_array(name, value)
    if array.ndim != ndim:
        raise FieldError(
            name, f"must have {ndim} {'axis' if ndim == 1 else 'axes'}, got shape {array.shape}."
        )
    if array.size == 0:
        raise FieldError(name, f"must not be empty, got shape {array.shape}.")
    if array.dtype.kind not in "iu":
        raise FieldError(name, f"must hold integers, got dtype {array.dtype}.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= d_vocab:
        culprit = low if low < 0 else high
        raise FieldError(name, f"must lie in [0, d_vocab) = [0, {d_vocab}), got {culprit}.")
    return np.array(array, dtype=np.int64, order="C")


def matching(name: str, array: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return `array` when it has one entry for each of the `n` sequences."""
    if array.shape != (n,):
        raise FieldError(name, f"must have shape ({n},), one entry per sequence, got {array.shape}.")
    return array


def weights(name: str, value: Any, n: int, *, allow_zero: bool) -> npt.NDArray[np.float64]:
    """Return `n` finite weights as float64: positive ones, or with `allow_zero` non-negative ones."""
    array = matching(name, as_array(name, value), n)
    if array.dtype.kind not in "iuf":
        raise FieldError(name, f"must hold real numbers, got dtype {array.dtype}.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    bad = ~np.isfinite(array) | (array < 0 if allow_zero else array <= 0)
    if bad.any():
        wanted = "finite and not negative" if allow_zero else "finite and positive"
        raise FieldError(name, f"must be {wanted}, got {array[bad][0]} at index {int(np.argmax(bad))}.")
    return array


def row_codes(columns: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Return one integer per row, equal for two rows exactly when they agree in every column.

    Mixed-radix numbers; where the radix would overflow, the codes so far are replaced by their ranks.
    """
    codes, radix = np.zeros(columns[0].shape[0], dtype=np.int64), 1
    for column in columns:
        size = int(column.max()) + 1
        if radix * size >= _CODE_LIMIT:
            distinct, codes = np.unique(codes, return_inverse=True)
            radix = distinct.size
        codes = codes * size + column
        radix *= size
    return codes


def cosine_matrix(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cosines (.., m, m) between rows (.., m, d); 0 where a row is zero."""
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit = np.divide(rows, norm, out=np.zeros(rows.shape), where=norm > 0.0)
    return unit @ np.swapaxes(unit, -1, -2)


def off_diagonal(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Entries (.., m (m - 1) / 2) of symmetric matrices (.., m, m) above the diagonal."""
    return matrix[..., *np.triu_indices(matrix.shape[-1], 1)]
