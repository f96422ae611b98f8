"""Names that a weight may have: they become attributes of a torch network, variables of a file, words on a page."""

from __future__ import annotations

import re
from typing import Any

from .errors import FieldError
from .validate import brief

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)

DATA = (
    *("C", "C_mean", "X_last", "X_1", "X_2", "C_pair", "T_pair", "P_pair", "P_last", "X", "P", "A_causal"),
    *("P_query", "P_key", "P_offset", "Y", "omega"),
    *("X_all", "P_all", "A_all", "R_last", "A_last", "cos_all", "sin_all", "turn"),
)
SIZES = ("n", "n_ctx", "n_pair", "n_offset", "n_all")
# Attributes that every torch network has, or ours; a test holds the list against torch itself.
NETWORK = (
    *(
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "compile",
    ),
    *("cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer"),
    *(
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
    ),
    *("named_buffers", "named_children", "named_modules", "named_parameters", "parameters"),
    *("register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook"),
    *("register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook"),
    *("register_load_state_dict_pre_hook", "register_module", "register_parameter"),
    *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_", "set_extra_state"),
    *("set_submodule", "share_memory", "state_dict", "to", "to_empty", "train", "training", "type", "xpu"),
    *("zero_grad", "activation", "dtype", "model", "patterns", "weights"),
)
COORDINATES = ("t", "step")  # of a trajectory's file
PRINTED = ("I", "Pi", "o", "T")  # signs of equations as text
OBSERVABLES = ("sum",)  # "invariant/W-sum" is the drift of a sum
MEANINGS = {
    "a data matrix": DATA,
    "a size": SIZES,
    "an attribute of torch networks": NETWORK,
    "an axis of a trajectory": COORDINATES,
    "a sign of printed equations": PRINTED,
    "a word of observables": OBSERVABLES,
}


def size_name(name: str) -> str:
    """Return a name that a dimension of a model may have.

    Raises
    ------
    FieldError
        If it is that of another size or axis.
    """
    if name in COORDINATES or (name in SIZES and name != "n_ctx"):
        raise FieldError(
            name,
            "is no name for a dimension of a model, it stands for rows, pairs or times: rename the field.",
        )
    return name


def weight_name(name: Any) -> str:
    """Return a name that a weight may have.

    Raises
    ------
    FieldError
        If it is no plain name, or one that means something else to us.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FieldError(
            "weight_symbols",
            f"have a weight called {brief(name)}: give it a letter, then letters, digits and underscores, as in W_E; "
            "dots may join such parts, as in blocks.0.W_Q.",
        )
    for meaning, names in MEANINGS.items():
        if name in names:
            raise FieldError(
                "weight_symbols",
                f"have a weight called {name!r}, which is {meaning}: give it a name of its own, such as W_{name}.",
            )
    for part in name.split("."):  # blocks.0.W_Q lies in modules of modules, which have attributes too
        if part in NETWORK:
            raise FieldError(
                "weight_symbols",
                f"have a weight called {name!r}, of which {part!r} is an attribute of torch networks: rename it.",
            )
    return name
