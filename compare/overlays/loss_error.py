"""How far a theory's loss is off: relative while there is a loss to be relative to, in nats once it is learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .align import Alignment

VANISHED = 0.01  # part of its value at the start below which a trained loss is about zero


@dataclass(frozen=True)
class LossError:
    """Largest errors of one loss.

    Attributes
    ----------
    relative : float or None
        Of ``|a_theory - a_training| / |a_training|``, while the trained loss is above a hundredth of its start; None if
        it never is.
    nats : float or None
        Of ``|a_theory - a_training|``, from there on; None if the trained loss never falls so far.
    """

    relative: float | None
    nats: float | None

    def __str__(self) -> str:
        """Both, as far as there are any: "4.2%, then 0.0031 nats"."""
        parts = [] if self.relative is None else [f"{self.relative:.2%}"]
        return ", then ".join(parts if self.nats is None else [*parts, f"{self.nats:.2g} nats"])


def loss_error(alignment: Alignment, name: str) -> LossError:
    """Measure the largest errors of a loss over the common times.

    Parameters
    ----------
    alignment : Alignment
        Theory and training.
    name : str
        Such as "loss" or "loss/memory".
    """
    ours, theirs = alignment.observable(name)
    learnt = np.abs(theirs) <= VANISHED * np.abs(alignment.training[name][0])
    off = np.abs(ours - theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(off == 0, 0.0, off / np.abs(theirs))
    return LossError(
        float(ratio[~learnt].max()) if not learnt.all() else None,
        float(off[learnt].max()) if learnt.any() else None,
    )
