"""The papers' statements as objects that can be put to the test."""

from __future__ import annotations

from .claim import Claim as Claim
from .claim import Finding as Finding


def claims() -> tuple[Claim, ...]:
    """All claims, in the order of the papers; nothing is tested before `Claim.verify` is called."""
    from . import attention, equations, signatures, theorem_one, two_stage
    from . import label_claims as laws
    from .steps import class_frequency, decay_clock, spectral_growth

    parts = (equations, laws, theorem_one, two_stage, attention, signatures)
    parts += (decay_clock, class_frequency, spectral_growth)
    return tuple(claim for part in parts for claim in part.claims())
