"""What the points of a sweep depend on besides their experiments, as its manifest holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..training.identity import differences, environment
from .input_files import digests
from .plan import SweepPlan

KEYS = ("environment", "inputs", "accepted")  # of a manifest


@dataclass(frozen=True)
class Surroundings:
    """Inputs, sources, versions and processor.

    Attributes
    ----------
    environment : dict
        See `environment`.
    inputs : dict
        File -> SHA-256 of its content.
    accepted : tuple of str
        What has changed since the sweep was begun, with the user's consent.
    accept : bool
        Whether the user consents to further changes.
    """

    environment: Mapping[str, str]
    inputs: Mapping[str, str]
    accepted: tuple[str, ...] = ()
    accept: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, plan: SweepPlan, accept: bool) -> Surroundings:
        """Look at what there is now."""
        return cls(
            environment("train" in plan.run), digests(point.config for point in plan.points), accept=accept
        )

    @classmethod
    def taken_from(cls, manifest: dict[str, Any]) -> Surroundings:
        """Take them out of a manifest; what is left says what the sweep is."""
        found = {key: manifest.pop(key, None) for key in KEYS}
        parts = [found[key] if isinstance(found[key], dict) else {} for key in KEYS[:2]]
        accepted = found["accepted"] if isinstance(found["accepted"], list) else ()
        return cls(parts[0], parts[1], tuple(map(str, accepted)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        values = (dict(self.environment), dict(self.inputs), list(self.accepted))
        return dict(zip(KEYS, values, strict=True))

    def changes(self, now: Surroundings) -> list[str]:
        """List what was there and is another now; files that are new are no change."""
        both = sorted(self.inputs.keys() & now.inputs.keys())
        files = differences(self.inputs, now.inputs, both) if both else []
        return [*files, *differences(self.environment, now.environment)]

    def followed_by(self, now: Surroundings) -> Surroundings:
        """What a manifest holds once a driver has gone on with what there is now."""
        changed = self.changes(now)
        accepted = (*self.accepted, "; ".join(changed)) if changed else self.accepted
        return replace(now, inputs={**self.inputs, **now.inputs}, accepted=accepted)
