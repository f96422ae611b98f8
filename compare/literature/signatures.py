"""Claims of arXiv 2509.20124: the linear embedding flow, and modular addition as three-factor Fourier modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import sympy as sp

from ...theory import exact
from ...theory.algebra.matrices import product, total
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow, derive
from ...theory.models.embed_unembed import EmbedUnembed
from ...theory.models.two_token_mlp import TwoTokenMLP
from ..proof.check import EXACT, check
from .claim import FAILS, Claim, Finding, judged
from .equations import METHOD, anchor_data
from .order import order_claim as order_claim

SOURCE = "arXiv 2509.20124"
PRIME = 11
RATE = 2.0 / PRIME**2  # with the unnormalised Fourier transform over the tokens
SETTING = f"leading flow of TwoTokenMLP, activation square, addition modulo {PRIME}, all pairs"
EQUAL, DRIFT, QUADRATURE = 1e-12, 1e-10, 1e-9
FourierModes = tuple[np.ndarray, np.ndarray, np.ndarray]  # U, V, W: (frequencies, d_mlp), complex
Quantity = tuple[
    int, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
]  # degree, function of U, V, W
CONSERVED: dict[str, Quantity] = {
    "|U|^2 - |V|^2": (2, lambda U, V, W: np.abs(U) ** 2 - np.abs(V) ** 2),
    "|U|^2 - |W|^2": (2, lambda U, V, W: np.abs(U) ** 2 - np.abs(W) ** 2),
    "J = Im(U V conj(W))": (3, lambda U, V, W: np.imag(U * V * np.conj(W))),
}


def linear_claim(text: str = "dW_E = (M - 1/V * K @ W_E @ W_U @ Pi) @ W_U.T", order: float = 4.0) -> Claim:
    """The embedding of the linear model: signature minus the linear response of the softmax.

    A wrong response would leave the leading order right, so that the order of the error decides too.
    """

    def test() -> Finding:
        verdict = check(text, EmbedUnembed(51, 8), anchor_data(3))
        orders = {"measured order": verdict.measured_order, "predicted order": verdict.predicted_order}
        sentence = f"{verdict.status}; relative error ~ eps^{verdict.measured_order:.2f}"
        held = verdict.status == EXACT or min(orders.values()) > order - 0.1
        return Finding(verdict.status if held else FAILS, sentence, orders)

    return Claim("D linear", SOURCE, text, "EmbedUnembed, small composite task", METHOD, test)


def signature_claim(itself: bool = True) -> Claim:
    """The same equation token by token, its laws counted over the sequences.

    Parameters
    ----------
    itself : bool
        Whether a token counts among those that it occurs with.
    """

    def test() -> Finding:
        from ...sim.compile.logits import value

        rng = np.random.default_rng(0)
        model = EmbedUnembed(7, 4)
        data = Dataset(
            rng.integers(0, 7, (40, 3)), rng.integers(0, 7, 40), 7, weights=rng.uniform(0.1, 1.1, 40)
        )
        weights = {name: rng.normal(size=shape) for name, shape in model.weights.items()}
        flow = derive(model, "order=4")
        derived = value(flow.right_hand_sides["W_E"], model, weights, model.data_matrices(data))
        stated = np.array([_embedding_rate(x, data, weights, itself) for x in range(7)])
        off = float(np.linalg.norm(stated - derived) / np.linalg.norm(derived))
        return judged(
            off < EQUAL,
            f"relative difference {off:.1e} from the derived flow, whose error is eps^{flow.residual_order['W_E']:g}",
            difference=off,
            residual_order=flow.residual_order["W_E"],
        )

    return Claim(
        "D linear, by token",
        SOURCE,
        "dE_x/dt = r_x [phi_x - 1/V - (1/V) (phi_xX E) U Pi] U^T, r_x the occurrences of x per sequence, phi_x the law "
        f"of labels given x, phi_xX the mean counts of tokens given x, x itself {'included' if itself else 'left out'}",
        "EmbedUnembed, 40 random weighted sequences of 3 tokens, repeated tokens among them",
        f"laws counted sequence by sequence against the derived flow of order 4, within {EQUAL:.0e}",
        test,
    )


def _embedding_rate(x: int, data: Dataset, weights: Mapping[str, np.ndarray], itself: bool) -> np.ndarray:
    r, labels, company = 0.0, np.zeros(data.d_vocab), np.zeros(data.d_vocab)
    for tokens, label, weight in zip(data.sequences, data.labels, data.training_weights, strict=True):
        for k in np.flatnonzero(tokens == x):
            r += weight
            labels[label] += weight
            for other in tokens if itself else np.delete(tokens, k):
                company[other] += weight
    E, U, V = weights["W_E"], weights["W_U"], data.d_vocab
    response = (company / r) @ E @ U
    return r * (labels / r - 1.0 / V - (response - response.mean()) / V) @ U.T


@lru_cache(maxsize=1)
def addition() -> Dataset:
    """All pairs a, b with label a + b modulo a prime."""
    a, b = np.divmod(np.arange(PRIME**2), PRIME)
    return Dataset(np.stack([a, b], axis=1), (a + b) % PRIME, PRIME)


def modes(weights: Mapping[str, np.ndarray]) -> FourierModes:
    """Fourier coefficients over the tokens, without the constant one: U of W_E1, V of W_E2, W of W_out."""
    W_out = np.swapaxes(weights["W_out"], -1, -2)
    U, V, W = (np.fft.fft(x, axis=-2)[..., 1:, :] for x in (weights["W_E1"], weights["W_E2"], W_out))
    return U, V, W


def one_mode(z: np.ndarray, frequency: int) -> dict[str, np.ndarray]:
    """Weights of one neuron with a single frequency, whose coefficients in `modes` are z (3,) = U, V, W."""
    wave = np.exp(2j * np.pi * frequency * np.arange(PRIME) / PRIME)
    U, V, W = (2.0 / PRIME * np.real(c * wave) for c in z)
    return {"W_E1": U[:, None], "W_E2": V[:, None], "W_out": W[None]}


def growing_mode(seed: int) -> np.ndarray:
    """Random U, V, W (3,) with Re(U V conj(W)) > 0, so that all sizes grow from the start."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=3) + 1j * rng.normal(size=3)
    return z * np.array([1.0, 1.0, np.sign((z[0] * z[1] * np.conj(z[2])).real)])


def fourier_claim(constant: float = RATE, conjugate: bool = True) -> Claim:
    """U' = C conj(V) W, V' = C conj(U) W, W' = C U V per neuron and frequency."""

    def test() -> Finding:
        from ...sim.compile.logits import value

        model, rng = TwoTokenMLP(PRIME, 6), np.random.default_rng(0)
        w = {name: rng.normal(size=shape) for name, shape in model.weights.items()}
        data, sides = model.data_matrices(addition()), derive(model, "leading").right_hand_sides
        (U, V, W), rates = modes(w), modes({name: value(e, model, w, data) for name, e in sides.items()})
        flip = np.conj if conjugate else lambda x: x
        forms = (flip(V) * W, flip(U) * W, U * V)
        off = max(
            float(np.linalg.norm(rate - constant * form) / np.linalg.norm(rate))
            for rate, form in zip(rates, forms, strict=True)
        )
        C = float(np.vdot(np.conj(V) * W, rates[0]).real / np.linalg.norm(V * W) ** 2)
        return judged(
            off < EQUAL,
            f"largest relative difference {off:.1e} over 6 neurons and {PRIME - 1} frequencies; C = {C:.10g}, p^2 C = "
            f"{C * PRIME**2:.10g}",
            difference=off,
            C=C,
        )

    return Claim(
        "D Fourier",
        SOURCE,
        "U' = C conj(V) W, V' = C conj(U) W, W' = C U V per neuron and frequency, with C = "
        f"{constant * PRIME**2:g}/p^2 for the unnormalised Fourier transform",
        SETTING,
        f"right-hand side of the derived flow at random weights, in Fourier space, within {EQUAL:.0e}",
        test,
    )


def conserved_claim(quantities: Mapping[str, Quantity] = CONSERVED) -> Claim:
    """|U|^2 - |V|^2, |U|^2 - |W|^2 and J = Im(U V conj(W)) of every neuron and frequency."""

    def test() -> Finding:
        from ...sim.integration.integrate import integrate

        flow, rng = derive(TwoTokenMLP(PRIME, 3), "leading"), np.random.default_rng(0)
        start = {name: 0.1 * rng.normal(size=shape) for name, shape in flow.model.weights.items()}
        T = integrate(flow, addition(), start, t1=1e6, save_at=1, rtol=1e-8).outcome.t
        path = integrate(flow, addition(), start, t1=0.9 * T, save_at=10, rtol=1e-12).weights
        U, V, W = modes(path)
        size = np.abs(np.stack([U, V, W])).max()
        drifts = {}
        for name, (degree, quantity) in quantities.items():
            values = quantity(U, V, W)
            drifts[name] = float(np.abs(values - values[0]).max() / size**degree)
        shown = ", ".join(f"{name}: {drift:.1e}" for name, drift in drifts.items())
        return judged(max(drifts.values()) < DRIFT, f"drift up to .9 of the blow-up time: {shown}", **drifts)

    return Claim(
        "D conserved",
        SOURCE,
        ", ".join(quantities) + " are constant per neuron and frequency",
        SETTING + ", 3 neurons, random weights",
        f"drift along the integrated flow, over the largest mode to the same power, below {DRIFT:.0e}",
        test,
    )


def blow_up_claim(time: Callable[..., float] = exact.trilinear_blow_up) -> Claim:
    """s* = int du / (2 sqrt(u (u + c1) (u + c2) - J^2)), s = C t."""

    def test() -> Finding:
        flow, worst = derive(TwoTokenMLP(PRIME, 1), "leading"), 0.0
        for seed in range(8):
            z = growing_mode(seed)
            found = RATE * _blow_up(flow, one_mode(z, 1 + seed % 5), 1e6)
            worst = max(worst, abs(_quadrature(time, z) / found - 1.0))
        return judged(
            worst < QUADRATURE,
            f"largest relative difference from integration {worst:.1e} over 8 starts",
            difference=worst,
        )

    return Claim(
        "D blow-up",
        SOURCE,
        "s* = int_u0^inf du / (2 sqrt(u (u + c1) (u + c2) - J^2)), u = |U|^2, s = C t",
        SETTING + ", one neuron with one frequency, Re(U V conj(W)) > 0",
        f"blow-up times of the integrated flow within {QUADRATURE:.0e}",
        test,
    )


def _quadrature(time: Callable[..., float], z: np.ndarray) -> float:
    u = np.abs(z) ** 2
    return time(u[0], u[1] - u[0], u[2] - u[0], float((z[0] * z[1] * np.conj(z[2])).imag))


def _blow_up(flow: Flow, start: Mapping[str, np.ndarray], horizon: float) -> float:
    """Blow-up time of a flow on modular addition; infinity if it reaches the horizon."""
    from ...sim.integration.integrate import integrate
    from ...sim.ode.outcome import Status

    end = integrate(flow, addition(), start, t1=horizon, save_at=1, rtol=1e-12).outcome
    return end.t if end.status is Status.BLOW_UP else float("inf")


def decay_claim(time_map: Callable[[float, float, float], float] = exact.decayed_blow_up) -> Claim:
    """With weight decay the blow-up survives iff s* < C / lambda, at t = -log(1 - lambda s* / C) / lambda."""

    def test() -> Finding:
        decay = sp.Rational(1, 10)
        plain = derive(TwoTokenMLP(PRIME, 1), "leading")
        sides = {
            w.name: total(plain.right_hand_sides[w.name], product(-decay, w))
            for w in plain.model.weight_symbols
        }
        flow, lam = Flow(plain.model, "leading", sides, plain.moving), float(decay)
        z, shares = growing_mode(1), (0.5, 0.95, 0.999, 1.001, 1.05, 2.0)
        s_star = _quadrature(exact.trilinear_blow_up, z)
        right, worst = 0, 0.0
        for share in shares:  # s* = share C / lambda, by the size of the start
            stated = time_map(share * RATE / lam, RATE, lam)
            found = _blow_up(flow, one_mode(z * s_star * lam / (share * RATE), 2), 20.0 / lam)
            right += int(np.isfinite(stated) == np.isfinite(found))
            if np.isfinite(stated) and np.isfinite(found):
                worst = max(worst, abs(stated / found - 1.0))
        return judged(
            right == len(shares) and worst < QUADRATURE,
            f"blow-up or none as stated in {right} of {len(shares)} starts with lambda s*/C from {shares[0]} to "
            f"{shares[-1]}; times within {worst:.1e}",
            right=right,
            difference=worst,
        )

    return Claim(
        "D decay",
        SOURCE,
        "with weight decay s = (C/lambda) (1 - exp(-lambda t)): the blow-up survives iff s* < C/lambda",
        SETTING + ", one neuron with one frequency, decay .1 per unit of flow time",
        f"integrated flow with decay on both sides of the threshold; blow-up times within {QUADRATURE:.0e}",
        test,
    )


def claims() -> tuple[Claim, ...]:
    """The linear flow, the Fourier system with its invariants, blow-up and decay, and the order of learning."""
    return (
        linear_claim(),
        signature_claim(),
        fourier_claim(),
        conserved_claim(),
        blow_up_claim(),
        decay_claim(),
        order_claim(modular=True),
        order_claim(modular=False),
    )
