"""Claims of arXiv 2510.06954 about the first stage of a small attention classifier, in which the values condense."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...theory import exact
from ...theory.base.arrays import joint_norm
from ...theory.data.dataset import Dataset
from ...theory.flows.symmetry.invariants import is_conserved
from ...theory.language.grammar import parse_expression
from ...theory.models.emb_mlp import EmbMLP
from ...theory.models.scalar_classifier import ScalarClassifier
from .claim import Claim, Finding, judged
from .classifier import (
    MODEL,
    SCALE,
    SETTING,
    Weights,
    balanced,
    blow_up_time,
    data,
    direction,
    energy,
    flow,
    reduced,
    start,
)
from .equations import LEADING_ORDER
from .second_stage import closed_form_claim as closed_form_claim
from .second_stage import collapse_claim as collapse_claim
from .second_stage import logistic_claim as logistic_claim
from .second_stage import rank_claim as rank_claim
from .second_stage import stage_two_claim as stage_two_claim
from .wording import exact_number, exponent, tiny

SOURCE = "arXiv 2510.06954"
MATRIX_MODEL = EmbMLP(8, 4, 3)
TIGHT, QUADRATURE, ALONG, CLOSE = 1e-7, 1e-9, 1e-10, 1e-6


def conservation_claim(
    names: tuple[str, ...] = ("W_V.T*W_V - W_in*W_in.T", "W_in.T*W_in - W_out*W_out.T"),
) -> Claim:
    """Balances that the flow conserves: text of `theory.language.grammar`."""

    def test() -> Finding:
        from ...sim.compile.logits import value
        from ...sim.integration.integrate import integrate

        wanted = [parse_expression(name, {w.name: w for w in MODEL.weight_symbols}) for name in names]
        sides = [flow().right_hand_sides, flow(closure="leading").right_hand_sides]
        lost = [n for n, q in zip(names, wanted, strict=True) if not all(is_conserved(s, q) for s in sides)]
        end = 0.99 * blow_up_time(start(0))
        path = integrate(flow(), data(), start(0), t1=end, save_at=2, rtol=1e-12).weights
        first, last = ({w: x[k] for w, x in path.items()} for k in (0, -1))
        size = max(float(np.sum(x**2)) for x in last.values())
        drift = max(
            float(np.abs(value(q, MODEL, last, {}) - value(q, MODEL, first, {})).max()) for q in wanted
        )
        said = (
            "proved symbolically, with and without the motion of keys and queries"
            if not lost
            else f"not conserved: {', '.join(lost)}"
        )
        return judged(
            not lost and drift / size < ALONG,
            f"{said}; drift up to 0.99 T* is {drift / size:.1e} of the squared norm of the weights",
            proved=len(names) - len(lost),
            stated=len(names),
            drift=drift / size,
        )

    return Claim(
        "B conservation",
        SOURCE,
        LEADING_ORDER + " and ".join(names) + " are constant",
        SETTING,
        f"the time derivative vanishes symbolically; drift along the integrated flow below {ALONG:.0e}",
        test,
    )


def growth_claim(rate: float = 2.0) -> Claim:
    """Each squared norm grows at the rate 2E."""

    def test() -> Finding:
        worst, rates = 0.0, []
        for seed in range(5):
            w = start(seed)
            moved = reduced(flow().rhs(data(), w))
            for x, dx in zip(reduced(w), moved, strict=True):
                rates.append(2.0 * float(np.sum(x * dx)) / (direction()[1] * energy(w)))
                worst = max(worst, abs(rates[-1] - rate))
        return judged(
            worst < ALONG,
            f"d|W|^2/dt over E is {exact_number(float(np.median(rates)))} for all three factors; largest difference "
            f"from {rate:g}: {tiny(worst)}",
            smallest=min(rates),
            largest=max(rates),
        )

    return Claim(
        "B growth",
        SOURCE,
        LEADING_ORDER
        + f"|v W_V|^2, |W_in|^2 and |W_out|^2 all grow at the rate {rate:g} E, E = v W_V W_in W_out",
        SETTING + "; 5 starts, time in units of |mean y x|",
        f"right-hand side of the derived flow, within {ALONG:.0e}",
        test,
    )


def static_claim(order: float = 2.0) -> Claim:
    """W_Q and W_K, and the part of W_V orthogonal to v, move more slowly than the values by a power of eps."""

    def test() -> Finding:
        from ..proof.residuals import autodiff_gradient

        v, _ = direction()
        ratios = []
        for eps in (0.002, 0.001):
            g = autodiff_gradient(MODEL, data(), {w: eps / SCALE * x for w, x in start(0).items()})
            off = g["W_V"] - np.outer(v, v @ g["W_V"])
            ratios.append([np.linalg.norm(x) / np.linalg.norm(g["W_V"]) for x in (g["W_Q"], g["W_K"], off)])
        orders = np.log2(np.array(ratios[0]) / np.array(ratios[1]))
        return judged(
            bool(np.abs(orders - order).max() < 0.1),
            f"against the values, W_Q moves as eps^{exponent(orders[0])}, W_K as eps^{exponent(orders[1])}, the part "
            f"of W_V orthogonal to v as eps^{exponent(orders[2])}",
            W_Q=orders[0],
            W_K=orders[1],
            orthogonal=orders[2],
        )

    return Claim(
        "B static",
        SOURCE,
        f"W_Q, W_K and the part of W_V orthogonal to v stand still at leading order: their motion is eps^{order:g} of "
        "that of the values",
        SETTING + "; all weights proportional to eps",
        "autodiff gradients at two eps; exponents within 0.1",
        test,
    )


def bracket_claim(factor: float = 3.0**0.5, power: float = -1.0 / 3.0, seeds: int = 100) -> Claim:
    """sqrt(3)/|theta0| <= T* <= E0^(-1/3) in time rescaled by |mean y x|."""

    def test() -> Finding:
        tight, *ratios = (_bracketed(w, factor, power) for w in (balanced(), *map(start, range(seeds))))
        low, high = np.array(ratios).T
        bounded = high > 0.0
        above, below = int(np.sum(low >= 1.0 - TIGHT)), int(np.sum(high[bounded] <= 1.0 + TIGHT))
        return judged(
            above == seeds and below == bounded.sum() and tight[0] >= 1.0 - TIGHT and tight[1] <= 1.0 + TIGHT,
            f"above the lower bound in {above} of {seeds} starts, below the upper one in {below} of the "
            f"{bounded.sum()} with E0 > 0; T* is at least {low.min():.3f} times the lower and at most {high.max():.3f} "
            "times the upper one; at a balanced start of rank one, where they meet, it differs from them by "
            f"{tiny(abs(tight[0] - 1.0))} and {tiny(abs(tight[1] - 1.0))}",
            above=above,
            below=below,
            with_upper_bound=bounded.sum(),
            closest_to_lower=low.min(),
            closest_to_upper=high.max(),
            balanced_over_lower=tight[0],
            balanced_over_upper=tight[1],
        )

    return Claim(
        "B blow-up",
        SOURCE,
        LEADING_ORDER
        + f"{exact_number(factor)}/|theta0| <= T* <= E0^({exact_number(power)}), the upper bound for "
        "E0 > 0",
        SETTING + f"; {seeds} random starts and a balanced one, time in units of |mean y x|",
        f"every integrated blow-up time lies inside, to {TIGHT:.0e}",
        test,
    )


def _bracketed(weights: Weights, factor: float, power: float) -> tuple[float, float]:
    """T* over the lower bound, and over the upper one (0 where there is none)."""
    T = direction()[1] * blow_up_time(weights)
    E0 = energy(weights)
    return T * joint_norm(reduced(weights)) / factor, T / E0**power if E0 > 0.0 else 0.0


def matrix_claim(factor: float = 3.0**0.5, seeds: int = 20) -> Claim:
    """The lower bound for a signature matrix: sqrt(3)/(sigma_1 |theta0|), attained by balanced rank one."""

    def test() -> Finding:
        labels = np.random.default_rng(1).integers(0, 8, len(data()))
        corpus = Dataset(data().sequences, labels, 8, weights=data().weights)
        U, S, Vt = np.linalg.svd(corpus.signature())
        a, b = np.eye(4)[:, :1], np.eye(3)[:, :1]
        top = {"W_E": U[:, :1] @ a.T, "W_in": a @ b.T, "W_out": b @ Vt[:1]}
        starts = [{w: SCALE * x for w, x in top.items()}, *(start(s, MATRIX_MODEL) for s in range(seeds))]
        times = [blow_up_time(w, flow(MATRIX_MODEL, "leading"), corpus) for w in starts]
        ratios = [S[0] * T * joint_norm(w.values()) / factor for w, T in zip(starts, times, strict=True)]
        return judged(
            min(ratios) >= 1.0 - TIGHT,
            f"T* is at least {min(ratios[1:]):.3f} times the bound over {seeds} starts, and differs from it by "
            f"{tiny(abs(ratios[0] - 1.0))} at the balanced one along the first singular vectors",
            smallest=min(ratios[1:]),
            balanced=ratios[0],
        )

    return Claim(
        "B blow-up, matrix",
        SOURCE,
        LEADING_ORDER
        + f"for <M, W_E W_in W_out>: T* >= {exact_number(factor)}/(sigma_1(M) |theta0|), attained by balanced rank one",
        f"leading flow of EmbMLP on random labels, {seeds} random starts and the balanced one",
        f"every integrated blow-up time lies above, to {TIGHT:.0e}",
        test,
    )


def width_one_claim(time: Callable[..., float] = exact.trilinear_blow_up) -> Claim:
    """T* = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2))) for width one."""

    def test() -> Finding:
        narrow, worst = flow(ScalarClassifier(8, 1, 3, 1)), 0.0
        for seed in range(5):
            w = start(seed, narrow.model)
            w["W_out"] *= np.sign(energy(w))  # the quadrature is from a state in which u grows
            u = np.array([float(np.sum(x**2)) for x in reduced(w)])
            found = direction()[1] * blow_up_time(w, narrow, rtol=1e-12)
            worst = max(worst, abs(time(u[0], u[1] - u[0], u[2] - u[0]) / found - 1.0))
        return judged(
            worst < QUADRATURE,
            f"largest relative difference from integration {worst:.1e} over 5 starts",
            difference=worst,
        )

    return Claim(
        "B width one",
        SOURCE,
        LEADING_ORDER + "for width one, T* = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2))), "
        "u = |v W_V|^2, c1 and c2 the conserved differences",
        SETTING + "; d_model = d_mlp = 1, E0 > 0, time in units of |mean y x|",
        f"integrated blow-up times within {QUADRATURE:.0e}",
        test,
    )


def condensation_claim(
    law: Callable[[np.ndarray, np.ndarray], np.ndarray] = exact.condensation_cosine, seeds: int = 5
) -> Claim:
    """Columns of W_V align with v; their cosine is a / sqrt(a^2 + frozen^2)."""

    def test() -> Finding:
        from ...sim.integration.integrate import integrate

        v, _ = direction()
        off, last = 0.0, 1.0
        for seed in range(seeds):
            w = start(seed)
            T = blow_up_time(w)
            saves = T * np.array([0.0, 0.3, 0.6, 0.9, 0.99, 1.0 - CLOSE])
            path = integrate(flow(), data(), w, t1=saves[-1], save_at=saves, rtol=1e-12).weights["W_V"]
            frozen = np.linalg.norm(w["W_V"] - np.outer(v, v @ w["W_V"]), axis=0)
            along = v @ path  # (n_t, d_model)
            cosines = along / np.linalg.norm(path, axis=1)
            off = max(off, float(np.abs(law(along, frozen) - cosines).max()))
            last = min(last, float(np.abs(cosines[-1]).min()))
        return judged(
            off < ALONG and last > 0.99,
            f"largest difference {tiny(off)}; smallest |cosine| of a column with v at (1 - {CLOSE:.0e}) T*: {last:.4f}",
            difference=off,
            cosine=last,
        )

    return Claim(
        "B condensation",
        SOURCE,
        LEADING_ORDER
        + "cos(column of W_V, v) = a / sqrt(a^2 + |frozen part|^2), and every column aligns with v or -v",
        SETTING + f"; {seeds} starts",
        f"along the whole flow within {ALONG:.0e}; |cosine| above 0.99 at (1 - {CLOSE:.0e}) T*",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """The values' laws and blow-up, condensation, the second stage."""
    return (
        conservation_claim(),
        growth_claim(),
        static_claim(),
        bracket_claim(),
        matrix_claim(),
        width_one_claim(),
        condensation_claim(),
        stage_two_claim(),
        closed_form_claim(),
        collapse_claim(),
        rank_claim(),
        logistic_claim(),
    )
