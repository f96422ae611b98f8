"""A statement of a paper as an object that can be put to the test, and what the test found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

HOLDS, FAILS, PARTLY = "holds", "fails", "holds in part"


@dataclass(frozen=True)
class Finding:
    """What a test found.

    Attributes
    ----------
    status : str
        "holds", "fails" or "holds in part"; for an equation the status of its `Verdict`: "exact",
        "leading order", "wrong by a constant factor" or "wrong".
    sentence : str
        The finding in words, with its numbers.
    numbers : dict
        The numbers measured, by name.
    """

    status: str
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement with its source, its assumptions, and the way in which it is verified.

    Attributes
    ----------
    number : str
        Short name, such as "A10".
    source : str
        Paper and place.
    statement : str
        What is claimed, in the names of this package.
    assumptions : str
        Under what it is claimed, and with what sizes it is tested.
    method : str
        How the test decides; its thresholds.
    """

    number: str
    source: str
    statement: str
    assumptions: str
    method: str
    test: Callable[[], Finding] = field(repr=False)

    def verify(self) -> Finding:
        """Run the test; nothing about its outcome is stored beforehand."""
        return self.test()

    def row(self, finding: Finding) -> dict[str, Any]:
        """The claim and a finding as JSON-able values."""
        return {
            "number": self.number,
            "source": self.source,
            "statement": self.statement,
            "assumptions": self.assumptions,
            "method": self.method,
            "status": finding.status,
            "finding": finding.sentence,
            "numbers": {name: float(value) for name, value in finding.numbers.items()},
        }


def judged(holds: Any, sentence: str, **numbers: Any) -> Finding:
    """Finding of a test with two outcomes."""
    return Finding(HOLDS if holds else FAILS, sentence, {k: float(v) for k, v in numbers.items()})
