"""Claims of arXiv 2510.06954 about the second stage: keys and queries grow and lose rank, the outer weights held."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import sympy as sp

from ...theory import exact
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow, derive
from ...theory.models.scalar_classifier import ScalarClassifier
from .claim import Claim, Finding, judged
from .wording import exponent

SOURCE = "arXiv 2510.06954"
D_VOCAB = 8
MODEL = ScalarClassifier(D_VOCAB, 5, D_VOCAB, 4)  # d_head = d_vocab: unit keys read the whole of F
LOGISTIC = ScalarClassifier(D_VOCAB, 5, D_VOCAB, 4, loss="logistic")
SETTING = "ScalarClassifier, tanh, exponential loss, 40 random sequences of 4 tokens; W_V, W_in, W_out held at random"
HELD = "with outer weights held, keys and queries small, "  # the premise of the stage
CLOSED, RATE_WITHIN, FOLDS = 1e-9, 0.01, 14.0
Weights = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=2)
def data(copies: int = 1) -> Dataset:
    """Random sequences with two labels; each copy in words of its own."""
    rng = np.random.default_rng(0)
    tokens, labels = rng.integers(0, D_VOCAB, (40, 4)), rng.integers(0, 2, 40)
    shifted = np.concatenate([tokens + D_VOCAB * k for k in range(copies)])
    return Dataset(shifted, np.tile(labels, copies), D_VOCAB * copies)


def outer(scale: float = 0.7, copies: int = 1) -> Weights:
    """Outer weights with entries of a given size; copies of the words have the same values."""
    rng = np.random.default_rng(7)  # sigma_2 well below sigma_1
    w = {name: scale * rng.normal(size=MODEL.weights[name]) for name in ("W_V", "W_in", "W_out")}
    return w | {"W_V": np.tile(w["W_V"], (copies, 1))}


def coupling(
    weights: Weights, closure: str = "attention=1", model: ScalarClassifier = MODEL, copies: int = 1
):
    """F (d_vocab, d_vocab), read off the derived equation of W_Q at zero queries and unit keys."""
    from ...sim.compile.logits import value

    zero, unit = np.zeros((model.d_vocab, model.d_vocab)), np.eye(model.d_vocab)
    at = weights | {"W_Q": zero, "W_K": unit}
    side = derive(model, closure).right_hand_sides["W_Q"]
    return value(side, model, at, model.data_matrices(data(copies)))


def small_pair(seed: int = 2, scale: float = 1.0, size: int = D_VOCAB) -> Pair:
    """Random queries and keys."""
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(size, size)), scale * rng.normal(size=(size, size))


def stage_two_claim(sign: float = 1.0, flip: bool = True, order: float = 2.0) -> Claim:
    """With the outer weights held, dW_Q/dt = F W_K and dW_K/dt = F^T W_Q, up to a power of the keys and queries."""

    def test() -> Finding:
        from ..proof.residuals import autodiff_gradient

        w = outer()
        F = coupling(w)
        first = coupling(w, "leading")
        errors = []
        for scale in (2e-2, 1e-2):
            Q, K = small_pair(scale=scale)
            true = autodiff_gradient(MODEL, data(), w | {"W_Q": Q, "W_K": K})
            stated = {"W_Q": F @ K, "W_K": sign * (F.T if flip else F) @ Q}
            errors.append([_relative(stated[name], -true[name]) for name in stated])
        orders = np.log2(np.array(errors[0]) / np.array(errors[1]))
        return judged(
            bool(np.abs(orders - order).max() < 0.1),
            f"error against autodiff: {errors[1][0]:.1e} and {errors[1][1]:.1e} at keys and queries of size 0.01, "
            f"falling as their powers {exponent(orders[0])} and {exponent(orders[1])}; F of the leading order, which "
            f"drops the curvature of activation and loss, is {_relative(first, F):.2g} off at these outer weights",
            order_Q=orders[0],
            order_K=orders[1],
            leading_F_off_by=_relative(first, F),
        )

    return Claim(
        "B stage 2",
        SOURCE,
        HELD + "dW_Q/dt = F W_K and dW_K/dt = "
        f"{'' if sign == 1.0 else f'{sign:g} '}F{'^T' if flip else ''} W_Q, up to a relative error of power {order:g}",
        SETTING,
        "F from the derived equation of W_Q; exponent of the relative error in the size of keys and queries "
        f"{order:g} within 0.1",
        test,
    )


def closed_form_claim(closed: Callable[..., Pair] = exact.key_query) -> Claim:
    """W_Q(t) = U [cosh(St) U^T W_Q0 + sinh(St) R^T W_K0] for F = U S R^T."""

    def test() -> Finding:
        F, (times, queries, keys) = coupling(outer(), "leading"), integrated()
        worst = 0.0
        for t, Q, K in zip(times, queries, keys, strict=True):
            stated = closed(float(t), F, queries[0], keys[0])
            worst = max(worst, _relative(stated[0], Q), _relative(stated[1], K))
        grown = float(np.linalg.norm(queries[-1]) / np.linalg.norm(queries[0]))
        return judged(
            worst < CLOSED,
            f"largest relative difference from integration {worst:.1e}, while W_Q grows {grown:.2g}-fold",
            difference=worst,
            growth=grown,
        )

    return Claim(
        "B stage 2, closed form",
        SOURCE,
        HELD
        + "W_Q = U [cosh(S t) U^T W_Q0 + sinh(S t) R^T W_K0] on the range of F = U S R^T, and W_K likewise",
        SETTING + "; equations of leading order",
        f"integration of the derived equations of W_Q and W_K, within {CLOSED:.0e}",
        test,
    )


@lru_cache(maxsize=1)
def integrated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, W_Q and W_K along the package's own leading equations, all other weights held."""
    from ...sim.integration.integrate import integrate

    leading = derive(MODEL, "leading")
    moving = ("W_Q", "W_K")
    sides = {w: e if w in moving else sp.ZeroMatrix(*e.shape) for w, e in leading.right_hand_sides.items()}
    S = np.linalg.svd(coupling(outer(), "leading"), compute_uv=False)
    Q, K = small_pair(scale=1e-3)
    path = integrate(
        Flow(MODEL, "leading", sides, moving),
        data(),
        outer() | {"W_Q": Q, "W_K": K},
        t1=FOLDS / (S[0] - S[1]),
        save_at=15,
        rtol=1e-12,
    )
    return path.t, path.weights["W_Q"], path.weights["W_K"]


def collapse_claim(rate: float = 1.0) -> Claim:
    """sigma_2 / sigma_1 of W_Q decays like exp(-(sigma_1 - sigma_2) t)."""

    def test() -> Finding:
        S = np.linalg.svd(coupling(outer(), "leading"), compute_uv=False)
        times, queries, keys = integrated()
        half = len(times) // 2
        measured = [_decay(times[half:], paths[half:], 1) for paths in (queries, keys)]
        stated = rate * (S[0] - S[1])
        return judged(
            max(abs(m / stated - 1.0) for m in measured) < RATE_WITHIN,
            f"measured rates {measured[0]:#.4g} of W_Q and {measured[1]:#.4g} of W_K; sigma_1 - sigma_2 = "
            f"{S[0] - S[1]:#.4g}",
            measured_Q=measured[0],
            measured_K=measured[1],
            gap=S[0] - S[1],
        )

    return Claim(
        "B collapse",
        SOURCE,
        HELD
        + f"sigma_2/sigma_1 of W_Q and of W_K decays like exp(-{'' if rate == 1.0 else f'{rate:g} '}(sigma_1(F) - "
        "sigma_2(F)) t)",
        SETTING + "; equations of leading order",
        f"slope of log(sigma_2/sigma_1) along the integrated flow, within {RATE_WITHIN:.0%}",
        test,
    )


def rank_claim(rank: int = 2, copies: int = 2) -> Claim:
    """Normalised W_Q and W_K collapse to the rank of the multiplicity of sigma_1(F)."""

    def test() -> Finding:
        model = ScalarClassifier(D_VOCAB * copies, 5, D_VOCAB * copies, 4)
        F = coupling(outer(copies=copies), "leading", model, copies)
        S = np.linalg.svd(F, compute_uv=False)
        multiplicity = int(np.sum(np.isclose(S, S[0], rtol=1e-9)))
        t = 20.0 / (S[0] - S[multiplicity])
        spectra = [
            np.linalg.svd(x / np.cosh(S[0] * t), compute_uv=False)
            for x in exact.key_query(t, F, *small_pair(size=len(F)))
        ]
        found = {int(np.sum(s > 1e-6 * s[0])) for s in spectra}
        return judged(
            found == {rank},
            f"sigma_1(F) has multiplicity {multiplicity}; normalised W_Q and W_K have rank "
            f"{' and '.join(map(str, sorted(found)))} to 1e-6",
            multiplicity=multiplicity,
            rank=max(found),
        )

    return Claim(
        "B collapse, rank",
        SOURCE,
        HELD + f"normalised W_Q and W_K collapse to the multiplicity of sigma_1(F), here {rank}",
        SETTING + f"; {copies} copies of the data in words of their own",
        "singular values above 1e-6 of the first, at a time of 20/(gap below sigma_1)",
        test,
    )


def logistic_claim(factor: float = 0.5) -> Claim:
    """With the logistic loss both stages run at half the rate, as long as the output is small."""

    def test() -> Finding:
        from ..proof.residuals import autodiff_gradient

        errors, measured = [], {}
        for eps in (0.1, 0.05):
            w = outer(eps) | dict(zip(("W_Q", "W_K"), small_pair(scale=eps), strict=True))
            whole, half = (autodiff_gradient(m, data(), w) for m in (MODEL, LOGISTIC))
            measured = {
                name: float(np.sum(whole[name] * half[name]) / np.sum(whole[name] ** 2)) for name in w
            }
            errors.append(max(_relative(factor * whole[name], half[name]) for name in w))
        order = float(np.log2(errors[0] / errors[1]))
        return judged(
            order > 1.0 and errors[-1] < 0.01,
            f"rates over those of the exponential loss: {min(measured.values()):.5f} to {max(measured.values()):.5f} "
            f"over all weights at entries of size 0.05; the distance from {factor:g} falls as eps^{exponent(order)}",
            smallest=min(measured.values()),
            largest=max(measured.values()),
            order=order,
        )

    return Claim(
        "B logistic",
        SOURCE,
        f"at leading order the logistic loss moves every weight at {factor:g} of the rate of the exponential loss",
        "ScalarClassifier, tanh, 40 random sequences of 4 tokens; all weights proportional to eps",
        "autodiff gradients at two eps: the largest relative difference falls as eps, below 1 % at the smaller",
        test,
    )


def _decay(times: np.ndarray, paths: np.ndarray, k: int) -> float:
    """Rate at which singular value k + 1 over the first falls."""
    ratios = [s[k] / s[0] for s in (np.linalg.svd(x, compute_uv=False) for x in paths)]
    return -float(np.polyfit(times, np.log(ratios), 1)[0])


def _relative(stated: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(stated - found) / np.linalg.norm(found))
