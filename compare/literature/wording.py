"""Numbers as they stand in a statement or a finding: short, and exact where they are."""

from __future__ import annotations

from fractions import Fraction
from math import isclose, sqrt

LARGEST_DIVISOR, ROUNDED = 32, 1e-9


def exact_number(value: float) -> str:
    """A number as a fraction, or as one times sqrt(3), if it is one of a small divisor; else with four digits."""
    for unit, sign in ((1.0, ""), (sqrt(3.0), "sqrt(3)")):
        ratio = Fraction(value / unit).limit_denominator(LARGEST_DIVISOR)
        if isclose(float(ratio) * unit, value, rel_tol=ROUNDED):
            if not sign:
                return str(ratio)
            top = {1: sign, -1: f"-{sign}"}.get(ratio.numerator, f"{ratio.numerator} {sign}")
            return top if ratio.denominator == 1 else f"{top}/{ratio.denominator}"
    return f"{value:.4g}"


def tiny(value: float) -> str:
    """A difference: two digits, or that there is none."""
    return "0" if value == 0.0 else f"{value:.1e}"


def exponent(value: float) -> str:
    """A measured power, to two decimals."""
    return f"{round(value, 2) + 0.0:g}"


def scaling(of: str, power: float) -> str:
    """How an error falls with a scale."""
    return f"does not fall with {of}" if exponent(power) == "0" else f"falls as {raised(of, power)}"


def raised(of: str, power: float) -> str:
    """A power, without the 1 of the first."""
    return of if exponent(power) == "1" else f"{of}^{exponent(power)}"
