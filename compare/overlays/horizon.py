"""Horizons: the flow time at which something first leaves a tolerance, and what does."""

from __future__ import annotations

from math import inf

BLOW_UP, SINGULAR, DIVERGENCE = "blow-up", "end of the equations", "divergence"


class Horizon(float):
    """A flow time that knows what left the tolerance there: ``print(horizon)`` writes ``33.2 (W_Q)``.

    It is a number in all else: it compares, rounds, formats and goes into JSON as one.

    Attributes
    ----------
    cause : str
        The weight or observable that left first, "blow-up", "divergence" or "end of the equations" where the
        theory ended before any did, "" for never.
    """

    cause: str

    def __new__(cls, t: float, cause: str = "") -> Horizon:
        """Make one from a flow time, inf for never, and its cause."""
        made = super().__new__(cls, t)
        made.cause = cause if t < inf else ""
        return made

    def __reduce__(self) -> tuple[type[Horizon], tuple[float, str]]:
        """Keep the cause in copies and pickles."""
        return Horizon, (float(self), self.cause)

    def __str__(self) -> str:
        """Flow time to four digits and its cause, or "never"."""
        return f"{float(self):.4g} ({self.cause})" if self < inf else "never"

    def __repr__(self) -> str:
        """Flow time and cause."""
        return f"Horizon({float(self)!r}, {self.cause!r})"
