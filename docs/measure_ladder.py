"""Derive every model under every closure, measure the exponents, write docs/ladder.md (about five minutes).

`--only NAME` does one model and prints its part.
"""

import sys
from math import isinf
from pathlib import Path
from statistics import median

import numpy as np

from smallinit.compare.proof.residuals import measure_residual
from smallinit.theory import (
    AttentionOnly,
    Dataset,
    Decoder,
    EmbedUnembed,
    EmbMLP,
    OneLayerTransformer,
    ScalarClassifier,
    TwoTokenMLP,
    derive,
)
from smallinit.theory.printing.text import text

HERE = Path(__file__).parent
MODELS = {
    "EmbMLP (tanh)": (EmbMLP(6, 5, 4), 3),
    "EmbedUnembed": (EmbedUnembed(6, 4), 3),
    "TwoTokenMLP (square)": (TwoTokenMLP(6, 5), 2),
    "ScalarClassifier (tanh, exponential loss)": (ScalarClassifier(6, 5, 3, 4), 4),
    "OneLayerTransformer (tanh, no unembedding)": (OneLayerTransformer(6, 7, 3, 4, 3, unembed=False), 3),
    "OneLayerTransformer (GELU, unembedding)": (OneLayerTransformer(6, 4, 3, 5, 3, "gelu"), 3),
    "AttentionOnly (one layer)": (AttentionOnly(5, 3), 3),
    "Decoder (one block, no norm)": (Decoder(6, 4, 3, 5, 3, n_layers=1, norm=None), 3),
    "Decoder (one block, RMSNorm before, norm_eps = 0)": (
        Decoder(6, 4, 3, 5, 3, n_layers=1, norm_kind="rms", norm_eps=0.0),
        3,
    ),
}
CLOSURES = ("drive", "leading", "order=8", "softmax", "activation=3,attention=1", "exact")
INSTEAD = {"Decoder (one block, RMSNorm before, norm_eps = 0)": {"order=8": "order=3"}}
HEAD = """# The ladder

How good is each closure, for each model? A closure drops terms, so its equations are off by a relative error that
vanishes as a power of the weight scale eps. The tables give this power for the equation of every weight, as
*predicted / measured*. The prediction comes with the derivation. The measurement holds the equation against autodiff
on random data, and is the median over three draws of weights.

- The larger the power, the better the equation.
- `inf` means that nothing is dropped: the error is rounding at every eps.
- `0` means that the very terms that move this weight are dropped.

Below each table stand the leading equations. Their names are explained on the page [notation](notation.md), and eps^k
marks terms that lie k powers above the first term of their equation. This page is written by
`python docs/measure_ladder.py`.
"""


def example(model, n_ctx):
    """Random data and three sets of directions of order one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2 if model.outputs == 1 else min(model.d_vocab, model.outputs), 20)
    data = Dataset(
        rng.integers(0, model.d_vocab, (20, n_ctx)), labels, model.d_vocab, weights=rng.uniform(0.1, 1.1, 20)
    )
    gains = [w for w, value in model.start_values.items() if value]  # they do not scale, and stay near one
    return data, [
        {w: rng.normal(size=shape) * 0.3 ** (w in gains) + (w in gains) for w, shape in model.weights.items()}
        for _ in range(3)
    ]


def number(value: float) -> str:
    """An exponent."""
    return "inf" if isinf(value) else f"{abs(value):.2f}".rstrip("0").rstrip(".")


def part(title: str) -> str:
    """Table and leading equations of one model."""
    model, n_ctx = MODELS[title]
    data, directions = example(model, n_ctx)
    lines = [
        f"## {title}",
        "",
        f"| closure | {' | '.join(model.weights)} |",
        f"|---{'|---' * len(model.weights)}|",
    ]
    for closure in (INSTEAD.get(title, {}).get(c, c) for c in CLOSURES):
        flow = derive(model, closure)
        found = [measure_residual(flow, data, d).measured for d in directions]
        measured = {w: median(f[w] for f in found) for w in model.weights}
        cells = [f"{number(flow.residual_order[w])} / {number(measured[w])}" for w in model.weights]
        lines.append(f"| `{closure}` | {' | '.join(cells)} |")
    flow = derive(model, "leading")
    return "\n".join([*lines, *equations(flow)])


def equations(flow) -> list[str]:
    """The leading equations, as `print(flow)` shows them."""
    lines = [*(f"d{w}/dt = {text(e)}" for w, e in flow.readable.items())]
    lines += [f"with {s} = {text(e)}" for s, e in flow.definitions.items()]
    return ["", "```text", *lines, "```", ""]


def main() -> None:
    """Measure and write, or print one model."""
    if sys.argv[1:2] == ["--only"]:
        print(part(sys.argv[2]))
        return
    (HERE / "ladder.md").write_text(HEAD + "\n" + "\n".join(map(part, MODELS)))


if __name__ == "__main__":
    main()
