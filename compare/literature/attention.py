"""Claims of arXiv 2601.19208: the first terms of attention layers trained from zero weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

import numpy as np
import sympy as sp

from ...theory.algebra.matrices import hadamard, product, split, terms_of, total
from ...theory.algebra.nodes import Matrix
from ...theory.algebra.rebuild import Substitution, distribute
from ...theory.algebra.traversal import rule
from ...theory.data.dataset import Dataset
from ...theory.flows.flow import Flow, derive
from ...theory.models.attention_only import AttentionOnly
from .claim import Claim, Finding, judged
from .gradient_flow import Weights, trained
from .wording import raised, tiny

SOURCE = "arXiv 2601.19208"
MODEL = AttentionOnly(8, 6, 2)  # two layers: the laws are the same in each
SEQUENCES = 40
# Kind of weight -> power of tau at which it starts, denominator of the coefficient, the paper's name of the statistic.
LAWS = {"W_U": (1, 1, "B"), "W_OV": (2, 2, "Phi^T B^T"), "W_QK": (4, 8, "Q"), "w_pos": (4, 8, "Delta")}
TAU = sp.Symbol("tau", positive=True)
EQUAL, SLOPE_WITHIN, FEW_PER_CENT = 1e-12, 0.1, 0.1
TAUS = 2.0 ** np.arange(-7, 1)
SMALL = TAUS < 0.1  # where the exponent of the error is fitted
SETTING = (
    f"one-hot residual stream, {MODEL.n_layers} layers from zero weights; {SEQUENCES} sequences of {MODEL.n_ctx} "
    f"tokens of a Markov chain over {MODEL.d_vocab} words, next-token cross-entropy at every position"
)
Statistics = Callable[[Dataset], Mapping[str, np.ndarray]]


def kind(weight: str) -> str:
    """Weight without its layer: W_OV_2 is a W_OV."""
    return weight.rsplit("_", 1)[0] if weight[-1].isdigit() else weight


@lru_cache(maxsize=1)
def toy_corpus() -> Dataset:
    """Sequences of a random Markov chain, the label the token that follows the last."""
    rng = np.random.default_rng(0)
    law = rng.dirichlet(np.full(MODEL.d_vocab, 0.3), MODEL.d_vocab)
    tokens = rng.integers(0, MODEL.d_vocab, (SEQUENCES, 1))
    for _ in range(MODEL.n_ctx):
        following = [rng.choice(MODEL.d_vocab, p=law[token]) for token in tokens[:, -1]]
        tokens = np.column_stack([tokens, following])
    return Dataset(tokens[:, :-1], tokens[:, -1], MODEL.d_vocab)


def corpus_statistics(data: Dataset) -> dict[str, np.ndarray]:
    """What the first terms are made of, counted position by position.

    Parameters
    ----------
    data : Dataset
        n sequences of T tokens over V words, with the label that follows each.

    Returns
    -------
    dict
        B (V, V): weight of (token, next token), centred over the next. Phi (V, V): weight of (next token, token in the
        uniform causal average), centred over the first. W_U: B. W_OV: Phi^T B^T. W_QK: Q (V, V), the gain of looking
        from one token at another under W_OV and W_U, the sum of Q_by_position (T, V, V) over the position of the first.
        w_pos: Delta (T, 1), the same gain by distance.
    """
    n_ctx, eye = data.n_ctx, np.eye(data.d_vocab)
    following = np.column_stack([data.sequences[:, 1:], data.labels])
    x, y = eye[data.sequences], eye[following] - 1.0 / data.d_vocab  # (n, T, V)
    weight = np.repeat(data.training_weights[:, None] / n_ctx, n_ctx, axis=1)  # (n, T)
    average = np.tril(np.ones((n_ctx, n_ctx))) / np.arange(1, n_ctx + 1)[:, None]
    B = np.einsum("si,sia,sib->ab", weight, x, y)
    Phi = np.einsum("si,sia,sib->ab", weight, y, average @ x)
    values = Phi.T @ B.T
    gain = average * np.einsum("sia,ba,sjb->sij", y, values @ B, x)  # of looking from i at j
    gain = weight[:, :, None] * (gain - average * gain.sum(axis=2, keepdims=True))
    by_position = np.einsum("sij,sia,sjb->iab", gain, x, x)
    by_distance = [np.trace(gain.sum(axis=0), offset=-d) for d in range(n_ctx)]
    Delta = np.array(by_distance).reshape(-1, 1)
    counted = {"B": B, "Phi": Phi, "Q_by_position": by_position}
    return counted | {"W_U": B, "W_OV": values, "W_QK": by_position.sum(axis=0), "w_pos": Delta}


def first_terms_from_zero(flow: Flow) -> dict[str, tuple[int, Matrix]]:
    """First term in flow time of every weight on its way from zero along a polynomial flow.

    The weight that comes first is found first: one not yet found is of at least that power, and so what it drives is of
    a higher one.

    Parameters
    ----------
    flow : Flow
        With right-hand sides that are polynomials in the weights.

    Returns
    -------
    dict
        Weight name -> power of t, and the matrix that t to this power multiplies, in the data symbols.

    Raises
    ------
    ValueError
        If a weight never leaves zero.
    """
    found: dict[str, tuple[int, Matrix]] = {}
    while missing := [w for w in flow.moving if w not in found]:
        terms = {w: term for w in missing if (term := _first_term(flow, w, found))}
        if not terms:
            raise ValueError(f"`flow` leaves {', '.join(missing)} at zero: start it from other weights.")
        name = min(terms, key=lambda w: terms[w][0])
        found[name] = terms[name]
    return found


class _InTime(Substitution):
    """Weights replaced by their first terms; powers of time come out of products, not out of powers of sums."""

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        terms = terms_of(distribute(self(node.base))) or (sp.ZeroMatrix(*node.shape),)
        return total(*(hadamard(*pick) for pick in itertools.product(terms, repeat=int(node.exp))))


def _first_term(flow: Flow, name: str, found: Mapping[str, tuple[int, Matrix]]) -> tuple[int, Matrix] | None:
    """Integral of the lowest power of time in a right-hand side, the weights replaced by their first terms."""
    in_time = _InTime(
        {
            w: product(TAU ** found[w.name][0], found[w.name][1])
            if w.name in found
            else sp.ZeroMatrix(*w.shape)
            for w in flow.model.weight_symbols
        }
    )
    powers: dict[int, list[Matrix]] = {}
    for term in terms_of(distribute(in_time(flow.right_hand_sides[name]))):
        scalar, factors = split(term)
        if scalar != 0:
            coefficient, power = sp.sympify(scalar).as_coeff_exponent(TAU)
            powers.setdefault(int(power), []).append(product(coefficient / (power + 1), *factors))
    return (min(powers) + 1, total(*powers[min(powers)])) if powers else None


@lru_cache(maxsize=1)
def _derived() -> dict[str, tuple[int, np.ndarray]]:
    """First terms of the package's own flow, on the toy corpus."""
    from ...sim.compile.logits import value

    matrices = MODEL.data_matrices(toy_corpus())
    terms = first_terms_from_zero(derive(MODEL, "leading"))
    return {
        w: (power, value(expr, MODEL, MODEL.init(1.0, 0), matrices)) for w, (power, expr) in terms.items()
    }


@lru_cache(maxsize=1)
def _trained() -> list[Weights]:
    """The network trained on the toy corpus from zero, at every time of TAUS."""
    zero = {name: np.zeros(shape) for name, shape in MODEL.weights.items()}
    return trained(MODEL, toy_corpus(), zero, TAUS, steps=4)


def tau_claim(
    weight: str,
    power: int | None = None,
    denominator: float | None = None,
    statistics: Statistics = corpus_statistics,
) -> Claim:
    """The first term of one weight: tau^power / denominator times a statistic of the corpus.

    Parameters
    ----------
    weight : str
        Name of the weight, such as "W_OV_1".
    power, denominator : int, float, optional
        By default those of the paper.
    statistics : callable
        Data -> kind of weight -> the matrix that the law multiplies.
    """
    power_stated, denominator_stated, meaning = LAWS[kind(weight)]
    p, over = power or power_stated, denominator or denominator_stated

    def test() -> Finding:
        counted = statistics(toy_corpus())[kind(weight)]
        found_power, found = _derived()[weight]
        coefficient = float(np.sum(found * counted) / np.sum(counted**2))
        difference = _gap(counted / over, found) if found_power == p else 1.0
        laws = [tau**p / over * counted for tau in TAUS]
        errors = np.array([_gap(law, run[weight]) for law, run in zip(laws, _trained(), strict=True)])
        slope = float(np.polyfit(np.log(TAUS[SMALL]), np.log(errors[SMALL]), 1)[0])
        return judged(
            difference < EQUAL and abs(slope - 1.0) < SLOPE_WITHIN and errors[-1] < FEW_PER_CENT,
            f"the derived flow starts as {_term(coefficient, found_power, meaning)} (relative difference from the law "
            f"{tiny(difference)}); in the trained network the relative error of the law grows as "
            f"{raised('tau', slope)} and is {errors[-1]:.2%} at tau = 1",
            power=found_power,
            coefficient=coefficient,
            difference=difference,
            slope=slope,
            error_at_1=errors[-1],
            cosine_at_1=_cosine(laws[-1], _trained()[-1][weight]),
        )

    return Claim(
        f"C {weight}",
        SOURCE,
        f"from zero weights, {weight} = {_term(1.0 / over, p, meaning)} at first, tau = learning rate x step, with a "
        "relative error linear in tau",
        SETTING,
        f"first term of the derived flow from zero within {EQUAL:.0e}; exponent of the error in a network trained by "
        f"autodiff, tau from {TAUS[SMALL].min():.2g} to {TAUS[SMALL].max():.2g}, within {SLOPE_WITHIN} of 1; error "
        f"below {FEW_PER_CENT:.0%} at tau = 1",
        test,
    )


def _term(coefficient: float, power: int, meaning: str) -> str:
    """C tau^p M, such as tau^4/8 Q."""
    ratio = Fraction(coefficient).limit_denominator(1000)
    if abs(float(ratio) - coefficient) > EQUAL * abs(coefficient):
        return f"{coefficient:.6g} tau^{power} {meaning}"
    top = "tau" if power == 1 else f"tau^{power}"
    top = top if ratio.numerator == 1 else f"{ratio.numerator} {top}"
    return f"{top} {meaning}" if ratio.denominator == 1 else f"{top}/{ratio.denominator} {meaning}"


def sums_claim(axes: Mapping[str, int] | None = None) -> Claim:
    """Which sums of the statistics vanish.

    Parameters
    ----------
    axes : mapping, optional
        Statistic of `corpus_statistics` -> axis over which it is summed.
    """
    chosen = axes or {"B": 1, "Phi": 0, "Q_by_position": 2}

    def test() -> Finding:
        counted = corpus_statistics(toy_corpus())
        sums = {
            name: float(np.abs(counted[name].sum(axis=axis)).max() / np.abs(counted[name]).max())
            for name, axis in chosen.items()
        }
        shown = ", ".join(f"{name} {tiny(size)}" for name, size in sums.items())
        return judged(max(sums.values()) < EQUAL, f"largest sum over the largest entry: {shown}", **sums)

    return Claim(
        "C sums",
        SOURCE,
        "the rows of B, the columns of Phi and the rows of Q at every position sum to zero",
        SETTING,
        f"largest sum over the largest entry below {EQUAL:.0e}",
        test,
    )


def _gap(stated: np.ndarray, found: np.ndarray) -> float:
    """Distance relative to what is stated."""
    return float(np.linalg.norm(stated - found) / np.linalg.norm(stated))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def claims() -> tuple[Claim, ...]:
    """The law of every weight in every layer, and which sums of the statistics vanish."""
    return *(tau_claim(weight) for weight in reversed(MODEL.weights)), sums_claim()
