r"""What stands on an axis or beside a curve, in the reader's words: :math:`\gamma` and not ``init.gamma``."""

from __future__ import annotations

import re

from ..literal import literal

FLOW_TIME = r"flow time $t$ = learning rate $\times$ step"
SUMMED_TIME = r"flow time $t$ = sum of the learning rates"  # whatever the schedule
_KEYS = {
    "init.gamma": r"$\gamma$, exponent of the initial weights",
    "init.seed": "seed of the initial weights",
    "model.d_model": r"width $d_{\mathrm{model}}$",
    "model.d_mlp": r"hidden width $d_{\mathrm{mlp}}$",
    "model.d_head": r"width of a head $d_{\mathrm{head}}$",
    "model.n_layers": "layers",
    "model.n_heads": "heads",
    "theory.t1": "flow time at the end",
    "training.learning_rate": "learning rate",
    "training.weight_decay": "weight decay",
    "training.batch_size": "sequences in a batch",
    "training.momentum": "momentum",
    "training.seed": "seed of the batches",
    "task.n_anchors": "anchors in a sequence",
    "task.length": "tokens in a sequence",
}
_WEIGHT = re.compile(r"(?:blocks\.(\d+)\.)?([A-Za-z])_([A-Za-z]+)")


def axis_words(key: str) -> str:
    """Say what a key of an experiment is, such as an axis of a sweep; one without a word of ours is read out."""
    if key in _KEYS:
        return _KEYS[key]
    return literal(key.rpartition(".")[2].replace("_", " "))


def weight_words(name: str) -> str:
    r"""Set the name of a weight: ``blocks.0.W_Q`` as :math:`W_Q` (0); one that is no letter with an index as it is."""
    if (match := _WEIGHT.fullmatch(name)) is None:
        return literal(name.removeprefix("blocks."))
    block, letter, index = match.groups()
    lower = index if len(index) == 1 else rf"\mathrm{{{index}}}"
    return f"${letter}_{{{lower}}}$" + (f" ({block})" if block else "")
