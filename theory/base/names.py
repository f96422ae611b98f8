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
# Names of other packages (SciPy, diffrax, torchdiffeq, Julia, Matlab), in lower case, by what of ours does the same.
METHODS_ELSEWHERE = {
    "'tsit5' takes adaptive explicit steps, of order 5": (
        "rk45", "rk23", "dopri5", "bosh3", "fehlberg2", "adaptive_heun", "heun", "heun2", "heun3", "midpoint",
        "ralston", "rk4", "explicit_adams", "fixed_adams", "ode45", "ode23", "ode113",
    ),
    "'dop853' takes adaptive explicit steps, of order 8": (
        "dopri8", "vern6", "vern7", "vern8", "vern9", "ode78", "ode89",
    ),
    "'bdf' takes implicit steps, for stiff flows": (
        "radau", "radau5", "radauiia5", "implicit_adams", "impliciteuler", "implicit_euler", "kvaerno3", "kvaerno4",
        "kvaerno5", "kencarp3", "kencarp4", "kencarp5", "trbdf2", "rodas4", "rodas5", "rodas5p", "rosenbrock23",
        "qndf", "fbdf", "cvode", "cvode_bdf", "ode15s", "ode23s", "ode23t", "ode23tb",
    ),
    "'rkc' takes stabilised explicit steps, for stiff flows": ("rock2", "rock4"),
    "leave it out: a method is then chosen, and changed where a flow becomes stiff": (
        "lsoda", "lsode", "vode", "zvode", "autotsit5", "auto", "automatic",
    ),
}  # fmt: skip
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


def known_elsewhere(method: object) -> str:
    """Say which of our methods does what another package's method of this name does; "" if there is none."""
    name = method.lower() if isinstance(method, str) else ""
    return next((ours for ours, names in METHODS_ELSEWHERE.items() if name in names), "")
