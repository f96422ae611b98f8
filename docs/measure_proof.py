"""Errors of derived and of claimed equations against autodiff, over the weight scale: writes docs/proof.png.

`python docs/measure_proof.py` (half a minute). Left, closures of the Emb-MLP (tanh) on the demo's task; right, the
equations that arXiv 2502.04375 states for its one-layer transformer (Definition 2) beside derived closures, on 400
sequences of nine tokens.
"""

from pathlib import Path

from smallinit.compare import check, plot_proof
from smallinit.compare.literature.equations import claims
from smallinit.compare.proof.residuals import measure_residual
from smallinit.theory import CompositeTask, EmbMLP, OneLayerTransformer, derive

HERE = Path(__file__).parent
TASK = {"keys": range(11, 31), "memory_anchors": range(1, 6), "reasoning_anchors": range(6, 11)}
CLOSURES = ("leading", "softmax", "order=9", "exact")
STATED = {"A10": "A10 as printed", "A10 corrected": "A10 corrected", "A11": "A11 without the factor W"}


def proofs(model, data, closures, direction):
    """One measurement per closure, along one direction."""
    return {name: measure_residual(derive(model, name), data, direction) for name in closures}


def stated():
    """The paper's equations by what the picture calls them, without the premise that begins a statement."""
    return {
        STATED[c.number]: c.statement[c.statement.index("dW_E") :] for c in claims() if c.number in STATED
    }


def main():
    """Measure and draw."""
    bag = EmbMLP(51, 40, 40)
    block = OneLayerTransformer(51, 51, 6, 8, 9, unembed=False)
    sampled = CompositeTask(**TASK, masked=(), length=9).sampled(400)
    verdicts = {title: check(equation, block, sampled) for title, equation in stated().items()}
    panels = {
        "Derived: Emb-MLP (tanh)": proofs(
            bag, CompositeTask(**TASK, masked=()).dataset(), CLOSURES, bag.init(0.5, 1)
        ),
        "Claimed, and derived: one-layer transformer (Definition 2)": verdicts
        | proofs(block, sampled, ("softmax", "exact"), verdicts[STATED["A11"]].proof.direction),
    }
    plot_proof(panels, "W_E", HERE / "proof.png")


if __name__ == "__main__":
    main()
