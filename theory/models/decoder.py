"""The decoder-only transformer of the real experiments, as a matrix expression over all positions of all sequences.

Names of weights follow TransformerLens. All are matrices: heads stand side by side in W_Q, W_K, W_V (d_model, n_heads
d_head) and one below another in W_O (n_heads d_head, d_model); gains, shifts and biases are single rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from ..algebra.matrices import apply, diagonal, product, total, transpose
from ..algebra.nodes import Centering, Matrix, RowNorm, RowSoftmax
from ..algebra.scalars.activations import Activation
from ..base.errors import FieldError
from ..base.names import NORM_KINDS, NORMS, POSITIONS, PREDICT
from ..base.validate import choice, integer, real
from ..data.dataset import Dataset
from ..data.inputs import D_HEAD, D_MODEL, weight
from ..data.positions import ALL, INNER, LAST, Rows, head_selector, position_inputs
from .model import Model


@dataclass(frozen=True)
class Decoder(Model):
    """Decoder-only transformer with causal attention (the full model of arXiv 2502.04375).

    x = W_E[token] + W_pos[position]; each block adds attention and a hidden layer to x, f = N(x) W_U + b_U, with N the
    normalisation. Attention of head h is softmax(Q K^T / sqrt(d_head)) V W_O over the positions up to one's own.

    Parameters
    ----------
    d_vocab, d_model, d_head, d_mlp, n_ctx : int
        Vocabulary size, width of the residual stream, of a head, of the hidden layers; tokens per sequence.
    n_layers, n_heads : int
        Blocks, and heads per block.
    norm : {"pre", "post"} or None
        Before each half of a block and before the unembedding, or after each half's residual sum, or not at all.
    norm_kind : {"layer", "rms"}
        Whether the mean of a row is taken off before it is divided by the root of its mean square.
    norm_eps : float
        What is added to that mean square; zero is allowed.
    gains : bool
        Whether normalisations multiply by weights (ln1.w, ln2.w, ln_final.w), which start at one.
    biases : bool
        Whether there are b_in, b_out and b_U, and shifts (ln1.b, ...) of LayerNorms with gains; they start at zero.
    tied : bool
        Whether the unembedding is W_E^T; there is no W_U then.
    positions : {"learned", "rotary"} or None
        A learned embedding W_pos (n_ctx, d_model), or queries and keys turned by angles position x 10000^(-2 j /
        d_head), entry j with entry j + d_head / 2, or none.
    activation : str or sympy.Expr
        As in `EmbMLP`; but "gelu" and "silu" are torch's, of slope 1/2 at 0, and "relu" is allowed: it has no series,
        so that closures that keep less of it than "exact" refuse it.
    predict : {"last", "all"}
        Whether the label at the last position is predicted, or at every position the next token (the label at the
        last one).
    padding : int, optional
        Token that stands for nothing: it is not looked at and predicts nothing. Positions count the others, and the
        last one is the last that is no padding.
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer, a choice is unknown, `norm_eps` is negative, d_head is odd for rotary
        positions, or `padding` is no token.
    """

    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    n_layers: int = 2
    n_heads: int = 1
    norm: str | None = "pre"
    norm_kind: str = "layer"
    norm_eps: float = 1e-5
    gains: bool = True
    biases: bool = False
    tied: bool = False
    positions: str | None = "learned"
    activation: Activation | str | sp.Expr = "tanh"
    predict: str = "last"
    padding: int | None = None

    def __post_init__(self) -> None:
        """Check dimensions, choices and the activation."""
        object.__setattr__(self, "activation", Activation.unscaled(self.activation))
        super().__post_init__()
        for name, value, known in (
            ("norm", self.norm, NORMS),
            ("positions", self.positions, POSITIONS),
        ):
            if value is not None:
                choice(name, value, known)
        choice("norm_kind", self.norm_kind, NORM_KINDS)
        choice("predict", self.predict, PREDICT)
        object.__setattr__(self, "norm_eps", real("norm_eps", self.norm_eps))
        if self.norm_eps < 0.0:
            raise FieldError("norm_eps", f"must be zero or more, got {self.norm_eps:g}.")
        if self.positions == "rotary" and self.d_head % 2:
            raise FieldError(
                "d_head", f"is {self.d_head}, but rotary positions turn pairs of entries: make it even."
            )
        if self.padding is not None:
            object.__setattr__(self, "padding", integer("padding", self.padding, 0))
            if self.padding >= self.d_vocab:
                raise FieldError("padding", f"must be a token below {self.d_vocab}, got {self.padding}.")

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E, W_pos, the blocks' in the order of the signal, ln_final, W_U, b_U."""
        ends = [weight("W_E", "d_vocab", "d_model")]
        if self.positions == "learned":
            ends.append(weight("W_pos", "n_ctx", "d_model"))
        blocks = [w for l in range(self.n_layers) for w in self._block(f"blocks.{l}.")]
        final = self._norm("ln_final") if self.norm == "pre" else []
        out = [] if self.tied else [weight("W_U", "d_model", "d_vocab")]
        return (*ends, *blocks, *final, *out, *([weight("b_U", 1, "d_vocab")] if self.biases else []))

    def _block(self, at: str) -> list[sp.MatrixSymbol]:
        heads = self.n_heads * D_HEAD
        attention = [weight(f"{at}{name}", "d_model", heads) for name in ("W_Q", "W_K", "W_V")]
        attention.append(weight(f"{at}W_O", heads, "d_model"))
        hidden = [weight(f"{at}W_in", "d_model", "d_mlp")]
        hidden += [weight(f"{at}b_in", 1, "d_mlp")] if self.biases else []
        hidden.append(weight(f"{at}W_out", "d_mlp", "d_model"))
        hidden += [weight(f"{at}b_out", 1, "d_model")] if self.biases else []
        first, second = self._norm(f"{at}ln1"), self._norm(f"{at}ln2")
        if self.norm == "post":
            return [*attention, *first, *hidden, *second]
        return [*first, *attention, *second, *hidden]

    def _norm(self, name: str) -> list[sp.MatrixSymbol]:
        if self.norm is None or not self.gains:
            return []
        shift = self.biases and self.norm_kind == "layer"
        return [weight(f"{name}.{part}", 1, "d_model") for part in ("wb" if shift else "w")]

    @property
    def start_values(self) -> dict[str, float]:
        """Gains start at one, shifts and biases at zero."""
        kinds = {"w": 1.0, "b": 0.0, "b_in": 0.0, "b_out": 0.0, "b_U": 0.0}
        return {w.name: kinds[k] for w in self.weight_symbols if (k := w.name.rpartition(".")[2]) in kinds}

    @property
    def logits(self) -> Matrix:
        """N(x) W_U + b_U at the rows that predict."""
        net = _Forward(self)
        x = net.embedded()
        for l in range(self.n_layers):
            x = net.block(f"blocks.{l}.", x, net.last if l == self.n_layers - 1 else net.all)
        if self.norm == "pre":
            x = net.normalised("ln_final", x)
        f = product(x, transpose(net.w["W_E"]) if self.tied else net.w["W_U"])
        return net.shifted(f, "b_U")

    def inputs(self, sequences: np.ndarray) -> dict[str, Any]:
        """Values of the data matrices, see `theory.data.positions`."""
        heads = (self.n_heads, self.d_head)
        return position_inputs(set(self.read), sequences, self.d_vocab, heads, self.padding)

    @property
    def per_position(self) -> bool:
        """Whether the next token is predicted at every position."""
        return self.predict == "all"

    def row_labels(self, sequences: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As `Spec.row_labels`; padding has no row."""
        if not self.per_position or self.padding is None:
            return super().row_labels(sequences, labels)
        present = sequences != self.padding
        following = np.roll(sequences[present], -1)
        following[np.cumsum(present.sum(axis=1)) - 1] = labels
        return following

    def row_counts(self, sequences: np.ndarray) -> np.ndarray:
        """As `Spec.row_counts`; padding has no row."""
        if not self.per_position or self.padding is None:
            return super().row_counts(sequences)
        return (sequences != self.padding).sum(axis=1)

    def check_data(self, data: Dataset) -> None:
        """As `Spec.check_data`; with `padding`, every sequence must have a token and a label that are not padding.

        Raises
        ------
        ValueError
            If a sequence is all padding, or a label is.
        """
        if self.padding is not None and isinstance(data, Dataset):
            for what, padded in (
                ("sequence {} is all padding", (data.sequences == self.padding).all(axis=1)),
                ("the label of sequence {} is the padding", data.labels == self.padding),
            ):
                if padded.any():
                    row = int(np.argmax(padded))
                    raise ValueError(
                        f"{what.format(row)}, token {self.padding}: leave it out, there is nothing to predict."
                    )
        super().check_data(data)

    def block(self, name: str) -> str:
        """Block that a weight belongs to, for `init`: "embed", "positions", "blocks.0", ..., "unembed"."""
        outer = {
            "W_E": "embed",
            "W_pos": "positions",
            "W_U": "unembed",
            "b_U": "unembed",
            "ln_final": "unembed",
        }
        first, *rest = name.split(".")
        return outer[first] if first in outer else f"{first}.{rest[0]}"

    def role(self, name: str) -> str:
        """W_O and W_out of each block add to the residual stream."""
        if name.endswith((".W_O", ".W_out")):
            return "residual"
        return "embed" if name in ("W_E", "W_pos") else "unembed" if name == "W_U" else "inner"

    @property
    def positions_read(self) -> int:
        """How many positions of a sequence the widest weights are applied to: all of them."""
        return self.n_ctx


class _Forward:
    """Pieces of a decoder's forward pass, as expressions."""

    def __init__(self, model: Decoder) -> None:
        self.model, self.w = model, {w.name: w for w in model.weight_symbols}
        self.all, self.last = (ALL, ALL) if model.per_position else (INNER, LAST)

    def embedded(self) -> Matrix:
        rows = self.all
        x = product(rows.tokens, self.w["W_E"])
        return total(x, product(rows.places, self.w["W_pos"])) if "W_pos" in self.w else x

    def shifted(self, x: Matrix, name: str) -> Matrix:
        """The rows of x plus a bias, if there is one of that name."""
        return total(x, product(sp.OneMatrix(x.rows, 1), self.w[name])) if name in self.w else x

    def normalised(self, name: str, x: Matrix) -> Matrix:
        model = self.model
        centred = product(x, Centering(D_MODEL)) if model.norm_kind == "layer" else x
        x = RowNorm(centred, sp.Rational(repr(model.norm_eps)))
        if f"{name}.w" in self.w:
            x = product(x, diagonal(transpose(self.w[f"{name}.w"])))
        return self.shifted(x, f"{name}.b")

    def block(self, at: str, x: Matrix, rows: Rows) -> Matrix:
        """The stream (all rows) after a block, at the rows that are wanted."""
        pre, post = (self.model.norm == kind for kind in NORMS)
        read = self.normalised(f"{at}ln1", x) if pre else x
        x = total(rows.of(x), self.attention(at, read, rows))
        x = self.normalised(f"{at}ln1", x) if post else x
        read = self.normalised(f"{at}ln2", x) if pre else x
        before = self.shifted(product(read, self.w[f"{at}W_in"]), f"{at}b_in")
        hidden = product(apply(self.model.activation, before), self.w[f"{at}W_out"])
        x = total(x, self.shifted(hidden, f"{at}b_out"))
        return self.normalised(f"{at}ln2", x) if post else x

    def attention(self, at: str, read: Matrix, rows: Rows) -> Matrix:
        """Sum over the heads of softmax(Q K^T / sqrt(d_head)) V W_O."""
        W_Q, W_K, W_V, W_O = (self.w[f"{at}{name}"] for name in ("W_Q", "W_K", "W_V", "W_O"))
        asks, heads = rows.of(read), []
        for h in range(self.model.n_heads):
            mine = head_selector(h, self.model.n_heads)
            q, k = product(asks, W_Q, mine), product(read, W_K, mine)
            if self.model.positions == "rotary":
                q, k = rows.turned(q), self.all.turned(k)
            scores = product(1 / sp.sqrt(D_HEAD), q, transpose(k))
            heads.append(product(RowSoftmax(scores, rows.average), read, W_V, mine, transpose(mine), W_O))
        return total(*heads)
