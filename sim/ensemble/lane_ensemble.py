"""Ensembles by methods that take members in lanes: blocks of them on threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..integration.tolerances import default_atols
from ..ode.asked import checked_tolerances, save_times
from ..ode.methods import TAYLOR, Method, find_method
from ..ode.record import Limits

if TYPE_CHECKING:
    from ..kernel.problem import Problem
    from ..ode.stepper import Lanes
    from .crew import Crew

BLOCK = 256  # most members a task; results do not depend on it
# Work of a call (`Program.work`) up to which lanes were measured to take no more processor time than dop853 or tsit5 do
# at equal error (their own is five to thirty times smaller at the same tolerance), and the loosest tolerance measured:
# tests/benchmarks/taylor.py
PAYS, LOOSEST = 20_000, 1e-4
# Coefficients of a short run, and those more for each e-fold at the rate of the start; work of all of them up to which
# lanes take less than what a member out of lanes takes beside its calls, 0.4 to 0.5 ms: the first two by
# tests/benchmarks/late_ensembles.py, the last by tests/benchmarks/choice_constants.py
FEWEST, A_FOLD, SOON = 10.0, 130.0, 1.6e6


def choose(method: str | Method | None, rtol: float, problem: Problem, lanes: bool = True) -> Method:
    """Method of an ensemble: None takes Taylor series, if `lanes` may be, where the flow is small enough to gain.

    Its lanes leave members that have become stiff to RKC.
    """
    table = find_method(method, rtol)
    if method is not None or not lanes or rtol > LOOSEST:
        return table
    from ..ode.taylor.series_program import series_program

    try:
        small = series_program(problem).work <= PAYS
    except ValueError:
        return table
    return replace(TAYLOR, switching=True) if small else table


def over_soon(
    problem: Problem, members: Sequence[Mapping[str, np.ndarray]], ends: np.ndarray, t0: float, rtol: float
) -> np.ndarray:
    """Which members (batch,) are over so soon that lanes take less even where a call has more to do than `PAYS`.

    Each by its own start and end: what a member's numbers are depends on no other member.
    """
    from ..ode.taylor.series_program import series_program

    none = np.zeros(len(members), bool)
    try:
        work = series_program(problem).work if rtol <= LOOSEST else np.inf
    except ValueError:
        return none
    if FEWEST * work > SOON:
        return none
    rates, slope = np.empty(len(members)), np.empty(problem.n)
    for i, member in enumerate(members):
        state = problem.pack(member)
        problem(t0, state, slope)
        with np.errstate(all="ignore"):  # a start of zeros, or one that cannot be continued, is none
            rates[i] = np.linalg.norm(slope) / np.linalg.norm(state)
    return (FEWEST + A_FOLD * rates * (ends - t0)) * work <= SOON


def in_lanes(
    problem: Problem, starts: np.ndarray, ends: np.ndarray, atol: float | None, method: Method,
    settings: dict[str, Any], crew: Crew, report: Callable[[int], None], keep: Callable[[dict], dict],
) -> list[dict[str, Any]]:  # fmt: skip
    """Integrate all members; returns what `integrate_ensemble` wants to know of each.

    Parameters
    ----------
    problem : Problem
        The flow.
    starts : ndarray, shape (batch, n)
        States at ``settings["t0"]``.
    ends : ndarray, shape (batch,)
        Ends in flow time.
    atol : float or None
        Absolute tolerance; None takes each member's own.
    method : Method
        One that takes members in lanes.
    settings : dict
        "t0", "save_at", "rtol", "max_steps".
    crew : Crew
        Threads.
    report : callable
        Called with the number of members done after each block.
    keep : callable
        Makes what is kept of a member of it, as soon as its block is done.
    """
    t0, rtol, batch = float(settings["t0"]), settings["rtol"], len(starts)
    limits = default_atols(problem, starts, rtol) if atol is None else np.full(batch, float(atol))
    checked_tolerances(rtol, float(limits.min()))
    span = np.column_stack([np.full(batch, t0), ends, limits])
    times = {end: save_times(settings["save_at"], t0, end) for end in set(ends.tolist())}
    saves = np.array([times[end] for end in ends.tolist()])
    method.prepare(problem)  # once, before the threads want it
    size = min(BLOCK, max(8, -(-batch // (4 * crew.workers))))

    def work(first: int) -> list[dict[str, Any]]:
        part = slice(first, first + size)
        lanes = method.begin_lanes(problem, rtol, starts[part], span[part], saves[part])
        limits = Limits(settings["max_steps"], None, crew.go_on)
        while not lanes.done:  # in short parts, after each of which the crew is asked whether to go on
            lanes.run(limits.max_steps, limits.budget)
            limits.exceeded(t0)
        seconds = limits.seconds / len(lanes.starts)
        report(len(lanes.starts))
        named = problem.unpack(lanes.states)
        members = (_member(named, lanes, m, settings["max_steps"]) for m in range(len(lanes.starts)))
        return [keep(member | {"seconds": seconds}) for member in members]

    firsts = range(0, batch, size)
    alone = len(firsts) == 1 or crew.workers == 1
    blocks = [work(first) for first in firsts] if alone else crew.map(work, firsts)
    return [member for block in blocks for member in block]


def _member(named: dict[str, Any], lanes: Lanes, m: int, max_steps: int) -> dict[str, Any]:
    n = lanes.saved(m)
    return {
        "t": lanes.saves[m],
        "n": n,
        "weights": {name: value[m, :n] for name, value in named.items()},
        "outcome": lanes.outcome(m, max_steps),
        "methods": lanes.methods(m),
        **lanes.counts(m),
    }
