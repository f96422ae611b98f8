"""What a run comes to, in sentences: how long theory and training agree, what is learnt first, what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from ..overlays.learning_times import learning_order
from ..overlays.loss_error import VANISHED

Verdict = tuple[bool | None, str]  # whether it is good, if that is the question


def verdicts(
    closures: Mapping[str, Any], training: Mapping[str, Any] | None, tolerance: float
) -> list[Verdict]:
    """What was found, by closure and of the training."""
    found = [verdict for name, record in closures.items() for verdict in _verdicts(name, record, tolerance)]
    if not training:
        return found
    return [*_order(closures, training), *found, (None, f"Training {training['outcome']}{_cost(training)}.")]


def _order(closures: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[Verdict]:
    """What is learnt first, and whether the theories that reach the end say so."""
    theory = {n: _times(r) for n, r in closures.items() if not _ended(r.get("overlay") or {})}
    if sentence := learning_order(_times(training), theory):
        yield None, sentence


def _ended(overlay: Mapping[str, Any]) -> float | None:
    """Where the theory's equations ended by themselves; older results know of blow-ups only."""
    return overlay.get("end_of_equations") or overlay.get("blow_up_time")


def _times(record: Mapping[str, Any]) -> dict[str, float]:
    return {group: inf if t is None else t for group, t in record.get("learnt", {}).items()}


def _verdicts(name: str, record: Mapping[str, Any], tolerance: float) -> Iterator[Verdict]:
    if not (overlay := record.get("overlay")):
        yield None, f"{name}: {record['outcome']}{_cost(record)}."
        return
    horizons = {w: h for w, h in overlay["horizon_at_tolerance"].items() if w != "tolerance"}
    first = min(horizons, key=lambda w: float("inf") if horizons[w] is None else horizons[w])
    end, limit = overlay["compared"]["to"], f"{tolerance:.0%}"
    if horizons[first] is None:
        text = f"every weight follows training within {limit} up to the end, t = {end:.4g}"
    else:
        text = f"the weights follow training within {limit} up to t = {horizons[first]:.4g} ({first} leaves first)"
    yield True if horizons[first] is None else None, f"{name}: {record['outcome']}; {text}{_cost(record)}."
    if _ended(overlay):
        return
    if found := _worst_losses(overlay):
        good = all(key == "relative" and value <= tolerance for key, value, _ in found)
        text = ", then ".join(_loss_off(*one) for one in found)
        yield True if good else None, f"{name}: largest error of a loss up to t = {end:.4g}: {text}."


def _worst_losses(overlay: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """The largest errors of losses, relative and in nats where there are any, and whose they are."""
    losses = overlay.get("largest_loss_error", {})  # results of before have none
    known = {
        key: [(e[key], n) for n, e in losses.items() if e[key] is not None] for key in ("relative", "nats")
    }
    return [(key, *max(some)) for key, some in known.items() if some]


def _loss_off(key: str, value: float, name: str) -> str:
    if key == "relative":
        return f"{percent(value)} ({name})"
    return f"{value:.2g} nats ({name}) where training has less than {100 * VANISHED:g} % of it left"


def _cost(record: Mapping[str, Any]) -> str:
    seconds = record.get("seconds")
    return "" if seconds is None else f" ({seconds:.3g} s of computing)"


def percent(value: float | None) -> str:
    """An error in percent."""
    if value is None:
        return "infinite"
    return f"{100 * value:,.0f} %" if value >= 10 else f"{100 * value:.3g} %"
