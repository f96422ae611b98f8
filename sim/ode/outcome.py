"""How an integration or a training run ended, as a value that explains itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, is_real, kind_of


class Status(Enum):
    """Kind of end; the value is the sentence that an `Outcome` fills in."""

    REACHED_END = "reached t = {t:#.7g}"
    BLOW_UP = "blow-up at t = {t:#.7g}"
    SINGULAR = "the equations end at t = {t:#.7g}: {detail}"
    EVENT = "stopped by event `{detail}` at t = {t:#.7g}"
    MAX_STEPS = "`max_steps` used up at t = {t:#.7g}: {detail}"
    MAX_SECONDS = "`max_seconds` used up at t = {t:#.7g}: {detail}"
    NON_FINITE = "no finite continuation beyond t = {t:#.7g}: {detail}"
    STEP_UNDERFLOW = "step size below the resolution of t at t = {t:#.7g}: {detail}"


_REGULAR = (Status.REACHED_END, Status.BLOW_UP, Status.SINGULAR, Status.EVENT)


@dataclass(frozen=True)
class Outcome:
    """The end of a trajectory.

    Attributes
    ----------
    status : Status
        What kind of end it was.
    t : float
        Flow time of the end; for a blow-up, the estimated blow-up time itself.
    detail : str
        Name of the event, or what was wrong and what to do about it.
    """

    status: Status
    t: float
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be told in a sentence.

        Raises
        ------
        FieldError
            If `status` is no `Status`, or `t` no number.
        """
        kind_of("status", self.status, Status, "such as Status.REACHED_END")
        if not is_real(self.t):
            raise FieldError("t", f"must be a flow time, got {brief(self.t)}.")

    @property
    def success(self) -> bool:
        """Whether this is a regular end: of the interval, of the equations (a blow-up, a singularity), or an event."""
        return self.status in _REGULAR

    def __str__(self) -> str:
        """One sentence."""
        return self.status.value.format(t=self.t, detail=self.detail)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"status": self.status.name, "t": self.t, "detail": self.detail}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Outcome:
        """Restore what `to_dict` wrote.

        Raises
        ------
        ValueError
            For anything that `to_dict` cannot have written.
        """
        name, t, detail = values.get("status"), values.get("t"), values.get("detail", "")
        known = isinstance(name, str) and name in Status.__members__
        if not known or not isinstance(t, int | float) or not isinstance(detail, str):
            raise ValueError(f"`outcome` must hold status, t and detail, got {values!r}.")
        return cls(Status[str(name)], float(t), detail)


class IntegrationError(RuntimeError):
    """An integration ended irregularly; what was computed is kept.

    Attributes
    ----------
    trajectory : Trajectory
        Everything saved before the end; its `outcome` says what happened.
    """

    def __init__(self, message: str, trajectory: Any = None) -> None:
        super().__init__(message)
        self.trajectory = trajectory
