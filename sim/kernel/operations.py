"""Codes of the operations and functions in a kernel's table: `emit` writes them, `_interpreter` reads them.

numba compiles them into the interpreter as constants (and `_cache` looks for its name to know what to hash).
"""

# Operations.
DOT, CSR_DOT, CENTRE, SCALE, SUM, HADAMARD, MAP, SOFTMAX, BAG_SOFTMAX, ROW_DOT, CSR_TURNED = range(11)
SDDMM, GATHER, GATHER_COLUMN, SEGMENT_SOFTMAX, PATTERN_DOT, DENSIFY = range(11, 17)
# TEAM: parts that threads share, each a PART of operations; so many numbers come before the places of these
TEAM, PART, DOT_ADDED = range(17, 20)
TEAM_HEAD = 4

# Buffers: state, folded data, scratch memory, result; within a PART, scratch memory of the thread that carries it out.
# LOST is none: it has a place once an operation had no code.
Y, FLOATS, WORK, OUT, OWN, LOST = range(6)

# Scalar functions, f(scale * x). Some have a parameter p: "power" is the p-th, "above" 1 where more than p and else 0,
# "at_least" and "at_most" the nearest number on that side of p.
PARAMETRIC = ("power", "above", "at_least", "at_most")
FUNCTIONS = (
    *PARAMETRIC, "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "erf", "erfc", "gamma", "loggamma", "expit", "softplus",
)  # fmt: skip
