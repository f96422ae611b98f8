"""Keys and queries of the second stage of arXiv 2510.06954, part of `smallinit.theory.exact`.

With F = U S R^T every mode is a growing part (q + k) e^(S t) / 2 and a falling part (q - k) e^(-S t) / 2, where q is
U^T W_Q and k is R^T W_K; they are kept apart, so that neither drowns in the other.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dgejsv

from ..base.errors import FieldError
from ..base.validate import real
from .precision import Array


def key_query(t: float, F: Array, W_Q: Array, W_K: Array) -> tuple[Array, Array]:
    """Keys and queries of the second stage, dW_Q/dt = F W_K, dW_K/dt = F^T W_Q (arXiv 2510.06954).

    Parameters
    ----------
    t : float
        Flow time.
    F : ndarray, shape (p, q)
        Constant matrix.
    W_Q, W_K : ndarray, shapes (p, d_head), (q, d_head)
        Initial weights.

    Returns
    -------
    tuple of ndarray
        W_Q(t), W_K(t) from F = U S R^T: cosh and sinh of S t in the modes, constant outside of them.

    Raises
    ------
    ValueError
        If a number is not finite, or the weights at `t` are larger than the largest float.
    """
    U, S, Rt, Q, K = _modes(F, W_Q, W_K)
    half = 0.5 * S[:, None] * real("t", t)
    q, k = U.T @ Q, Rt @ K
    with np.errstate(over="ignore", invalid="ignore"):
        up, down = np.exp(half), np.exp(-half)  # twice each, so that small weights do not overflow too early
        rise, fall = 0.5 * (q + k) * up * up, 0.5 * (q - k) * down * down
        found = Q - U @ q + U @ (rise + fall), K - Rt.T @ k + Rt.T @ (rise - fall)
    if not all(np.isfinite(x).all() for x in found):
        raise FieldError(
            "t", f"{t:g} is too long: the weights leave the range of floats; `key_query_ratio` does not."
        )
    return found


def key_query_ratio(t: float, F: Array, W_Q: Array, W_K: Array) -> float:
    """Second over first singular value of W_Q(t): it falls like exp(-(sigma_1 - sigma_2) t), to any smallness.

    The modes are scaled by very different numbers, and the singular values found without mixing these (by Jacobi's
    method), so that the ratio is right down to the least float, and zero below.

    Raises
    ------
    ValueError
        If a number is not finite, or W_Q(t) is zero or has a single singular value.
    """
    U, S, Rt, Q, K = _modes(F, W_Q, W_K)
    if min(Q.shape) < 2:
        raise FieldError("W_Q", f"must have two singular values, got the shape {Q.shape}.")
    time = real("t", t)
    q, k = U.T @ Q, np.copysign(1.0, time) * (Rt @ K)  # backwards in time keys change their sign
    late, grown = np.exp(-2.0 * S * abs(time))[:, None], np.exp((S - S[0]) * abs(time))[:, None]
    modes = 0.5 * grown * ((q + k) + late * (q - k))
    values = _graded_singular_values(np.vstack([modes, np.exp(-S[0] * abs(time)) * (Q - U @ q)]))
    if values[0] == 0.0:
        raise FieldError("W_Q", f"is zero at the time {t:g}: it has no ratio of singular values.")
    return float(values[1] / values[0])


def _modes(F: Array, W_Q: Array, W_K: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Singular vectors and values of F, and the weights, of finite numbers."""
    F, Q, K = (np.asarray(x, dtype=float) for x in (F, W_Q, W_K))
    for name, x in (("F", F), ("W_Q", Q), ("W_K", K)):
        if x.ndim != 2 or not np.isfinite(x).all():
            raise FieldError(name, f"must be a matrix of finite numbers, got the shape {x.shape}.")
    if F.shape != (len(Q), len(K)) or Q.shape[1] != K.shape[1]:
        raise FieldError("F", f"of shape {F.shape} does not join `W_Q` {Q.shape} to `W_K` {K.shape}.")
    U, S, Rt = np.linalg.svd(F, full_matrices=False)
    return U, S, Rt, Q, K


def _graded_singular_values(x: Array) -> Array:
    """Singular values of a matrix whose rows are of very different sizes, each to nearly all of its digits."""
    rows = x if x.shape[0] >= x.shape[1] else x.T
    largest = float(np.abs(rows).max())
    if largest == 0.0:
        return np.zeros(rows.shape[1])
    F, N, NO = 2, 3, 0  # graded rows and columns, no singular vectors, nothing small dropped
    values, _, _, scales, _, failed = dgejsv(rows / largest, joba=F, jobu=N, jobv=N, jobr=NO, jobt=1)
    if failed:
        raise RuntimeError(f"Jacobi's method for singular values ended with the code {failed}.")
    return largest * values * scales[0] / scales[1]
