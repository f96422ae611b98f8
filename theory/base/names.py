"""The names there are, without what they stand for: help, flags and lists of names load neither sympy nor numba.

Each list feeds the schema of experiments and its flags; the registries that hold the things themselves (models and
losses of the theory, methods of the simulation, optimizers of the training) are held equal to it by a test.
"""

from __future__ import annotations

import ast
from pathlib import Path

ACTIVATIONS = ("tanh", "sin", "arctan", "softsign", "gelu", "silu", "identity", "square")
BAD_ACTIVATIONS = ("relu", "leaky_relu", "sigmoid")  # known, and refused: they break Assumption 1
CLOSURES = ("drive", "leading", "softmax", "exact")
CLOSURE_PARTS = (
    "softmax",
    "activation",
    "attention",
)  # what a closure may cut, as in activation=3,attention=0
NORM_PARTS = ("exact", "linear")  # what it may keep of a normalisation, as in softmax,norm=linear
LOSSES = ("cross_entropy", "exponential", "logistic", "mse")
METHODS = ("tsit5", "dop853", "rkc", "bdf", "euler", "taylor")
STEP_METHODS = ("multirate", "steps", "flow")  # of a closure moved by an optimizer
MOVED_BY = ("flow", "optimizer")
SCHEDULES = ("cosine", "linear")  # of the learning rate; it is constant without one
DTYPES = ("float64", "float32")
DEVICES = ("cpu", "cuda", "auto")
KEEPS = ("weights", "observables")
CONVENTIONS = ("rows", "d_model", "gpt2", "mup")  # of initialisation

# Optimizer -> keys of [training] that not all of them take.
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "gd": (),
    "sgd": ("batch_size",),
    "momentum": ("batch_size", "momentum", "nesterov"),
    "adamw": ("batch_size", "betas", "eps"),
    "signgd": ("batch_size", "eps"),
    "spectral": ("batch_size", "momentum", "eps"),
}
# Of decoders; the first two may be left out, which an experiment writes as "none".
NORMS = ("pre", "post")
POSITIONS = ("learned", "rotary")
NORM_KINDS = ("layer", "rms")
PREDICT = ("last", "all")

# The built-in models: what the public list of the theory takes from `theory.models`, but for the bases of one's own.
MODELS = tuple(
    name.name
    for line in ast.parse(Path(__file__).parents[1].joinpath("__init__.pyi").read_text("utf-8")).body
    if isinstance(line, ast.ImportFrom) and str(line.module).startswith("models.")
    for name in line.names
    if name.name not in ("Model", "Spec")
)
