"""Claims of arXiv 2509.20124: the linear embedding flow, and modular addition as three-factor Fourier modes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .. import exact
from ..dataset import Dataset
from ..flow import derive
from ..models import EmbedUnembed, TwoTokenMLP
from .claim import Claim, Finding, judged
from .equations import METHOD, anchor_data

SOURCE = "arXiv 2509.20124"
PRIME = 11


def linear_claim(text: str = "dW_E = (M - 1/V * K @ W_E @ W_U @ Pi) @ W_U.T") -> Claim:
    """The embedding of the linear model: signature minus the linear response of the softmax."""

    def test() -> Finding:
        from ..check import check

        verdict = check(text, EmbedUnembed(51, 8), anchor_data(3))
        sentence = f"{verdict.status}; relative error ~ eps^{verdict.measured_order:.2f}"
        return Finding(verdict.status, sentence, {"measured order": verdict.measured_order})

    return Claim("D linear", SOURCE, text, "EmbedUnembed, small composite task", METHOD, test)


@lru_cache(maxsize=1)
def addition() -> Dataset:
    """All pairs a, b with label a + b modulo a prime."""
    a, b = np.divmod(np.arange(PRIME**2), PRIME)
    return Dataset(np.stack([a, b], axis=1), (a + b) % PRIME, PRIME)


def fourier_claim(constant: float = 2.0 / PRIME**2, conjugate: bool = True) -> Claim:
    """U' = C conj(V) W, V' = C conj(U) W, W' = C U V per neuron and frequency."""

    def test() -> Finding:
        model = TwoTokenMLP(PRIME, 6)
        rng = np.random.default_rng(0)
        w = {name: rng.normal(size=shape) for name, shape in model.weights.items()}
        rate = derive(model, "leading").rhs(addition(), w)
        (U, V, W), (dU, dV, dW) = (
            [np.fft.fft(x, axis=0)[1:] for x in (f["W_E1"], f["W_E2"], f["W_out"].T)] for f in (w, rate)
        )
        flip = np.conj if conjugate else lambda x: x
        stated = (constant * flip(V) * W, constant * flip(U) * W, constant * U * V)
        off = max(
            float(np.linalg.norm(a - b) / np.linalg.norm(a))
            for a, b in zip((dU, dV, dW), stated, strict=True)
        )
        measured = float(np.real(np.vdot(np.conj(V) * W, dU) / np.linalg.norm(V * W) ** 2))
        return judged(
            off < 1e-12,
            f"largest relative difference {off:.1e}; C = {measured:.6g}, 2/p^2 = {2 / PRIME**2:.6g}",
            difference=off,
            C=measured,
        )

    return Claim(
        "D Fourier",
        SOURCE,
        "U' = C conj(V) W, V' = C conj(U) W, W' = C U V",
        f"TwoTokenMLP with square, addition modulo {PRIME}, uniform pairs",
        "the leading flow's right-hand side in Fourier space, within 1e-12",
        test,
    )


def blow_up_claim(time=exact.trilinear_blow_up) -> Claim:
    """s* = int du / (2 sqrt(u (u + c1) (u + c2) - J^2))."""

    def test() -> Finding:
        off = 0.0
        for seed in range(5):
            rng = np.random.default_rng(seed)
            z = rng.normal(size=3) + 1j * rng.normal(size=3)
            z[2] *= 1.0 if (z[0] * z[1] * np.conj(z[2])).real > 0 else -1.0  # a state in which the sizes grow
            sizes, J = np.abs(z) ** 2, float((z[0] * z[1] * np.conj(z[2])).imag)
            found = _integrated_blow_up(z)
            stated = time(sizes[0], sizes[1] - sizes[0], sizes[2] - sizes[0], J)
            off = max(off, abs(stated / found - 1.0))
        return judged(
            off < 1e-8,
            f"largest relative difference from integration {off:.1e} over five starts",
            difference=off,
        )

    return Claim(
        "D blow-up",
        SOURCE,
        "s* = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2) - J^2))",
        "random complex starts that grow",
        "integration to 1e-13; within 1e-8",
        test,
    )


def _integrated_blow_up(z: np.ndarray) -> float:
    from scipy.integrate import solve_ivp

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        U, V, W = y[:3] + 1j * y[3:]
        out = np.array([np.conj(V) * W, np.conj(U) * W, U * V])
        return np.concatenate([np.real(out), np.imag(out)])

    def large(_: float, y: np.ndarray) -> float:
        return float(np.abs(y).max() - 1e6)

    large.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    y0 = np.concatenate([np.real(z), np.imag(z)])
    done = solve_ivp(flow, (0.0, 1e9), y0, method="DOP853", rtol=1e-13, atol=1e-30, events=large)
    y, i = done.y[:, -1], int(np.argmax(np.abs(done.y[:, -1])))
    return float(done.t[-1] + abs(y[i] / flow(0.0, y)[i]))


def decay_claim(time_map=exact.decayed_blow_up) -> Claim:
    """With weight decay the blow-up survives iff s* < C / lambda, at t = -log(1 - lambda s* / C) / lambda."""

    def test() -> Finding:
        y0, C = 0.5, 2.0
        survives, off = [], 0.0
        for lam in (0.3, 0.9, 1.1, 2.0):
            t, truth = time_map(1.0 / y0, C, lam), _decayed(y0, C, lam)
            survives.append(np.isfinite(t) == np.isfinite(truth))
            off = max(off, abs(t / truth - 1.0)) if np.isfinite(truth) and np.isfinite(t) else off
        return judged(
            all(survives) and off < 1e-5,
            f"right side of the threshold in {sum(survives)} of 4; time within {off:.1e}",
            right=sum(survives),
            difference=off,
        )

    return Claim(
        "D decay",
        SOURCE,
        "s = (C/lambda)(1 - exp(-lambda t)); blow-up survives iff s* < C/lambda",
        "y' = C y^2 - lambda y, four decay rates on both sides",
        "outcome and time against integration",
        test,
    )


def _decayed(y0: float, C: float, lam: float) -> float:
    from scipy.integrate import solve_ivp

    def large(_: float, y: np.ndarray) -> float:
        return float(y[0] - 1e8)

    large.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    done = solve_ivp(
        lambda _, y: C * y * y - lam * y,
        (0.0, 200.0),
        [y0],
        method="DOP853",
        rtol=1e-12,
        atol=1e-300,
        events=large,
    )
    return float(done.t[-1] + 1.0 / (C * done.y[0, -1])) if done.t_events[0].size else float("inf")


def claims() -> tuple[Claim, ...]:
    """The linear flow, the Fourier system, its blow-up, and decay."""
    return linear_claim(), fourier_claim(), blow_up_claim(), decay_claim()
