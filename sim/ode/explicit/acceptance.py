"""One trial step: may it be made, is it accepted, how long is the next; compiled into every explicit loop."""

from __future__ import annotations

import math

from ...kernel.calls._extremes import greater, lesser
from ...kernel.inner import helper, inlined
from ..codes import DONE, OUT_OF_STEPS, RUNNING
from .approach import NONE, after, before, onward
from .registers import (
    ACCEPTED,
    BAD,
    BUDGET,
    CUR,
    EPS,
    ERR_OLD,
    FIXED,
    GAIN,
    GAIN_OLD,
    H_LAST,
    H_OLD,
    HALT,
    LEAST,
    LIMIT,
    LOG,
    LOGGED,
    NORM,
    ORDER,
    REJECTED,
    RETRIED,
    RETRY,
    SAFETY,
    STOP,
    SWAP,
    T0,
    T1,
    T_PREV,
    TAU,
    TAU_END,
    TAU_LAST,
    WALL,
    H,
    T,
)

GO = -1  # of `pause`: nothing stands against the step
HALTED = -1.0  # in the place of an error: the trial step was broken off
TAKEN, TOO_LONG, NOT_FINITE = range(3)  # of `settle`
_MIN_FACTOR, _MAX_FACTOR = 0.2, 6.0
# After a step that was too long towards a pole: how far below it others stay, and how that wears off.
_BELOW, _WEAR = 0.9, 1.01
# Where a step almost as long as one that was too long has a smaller error than this, it was no pole that made that one
# too long, but stability, say, whose longest step does not shrink with what is left.
_SMALL = 0.1
# Bounds of the distance found of a pole over what should be left, where it is still the same pole.
_SAME = 0.3, 3.0


@inlined()
def pause(ctl, cnt):
    """Why the loop has to return before another trial step, or `GO`."""
    if ctl[T] >= ctl[T1]:
        return DONE
    if ctl[T] >= ctl[STOP]:
        return RUNNING
    if cnt[ACCEPTED] + cnt[REJECTED] >= cnt[LIMIT]:
        return OUT_OF_STEPS
    if cnt[BUDGET] <= 0 or cnt[HALT] == 1:
        return RUNNING
    return GO


@inlined()
def landing(ctl, h):
    """Where a step of size h ends, t1 if it nearly gets there; nan if flow time does not resolve it."""
    t = ctl[T]
    if not h > 0.0:
        return math.nan
    if t + 1.01 * h >= ctl[T1]:
        return ctl[T1]
    return math.nan if h <= 16.0 * EPS * greater(abs(t), abs(ctl[T0])) else t + h


@inlined()
def _factor(ctl, cnt, h, err):
    """Step-size factor after an accepted step.

    The second estimate is Gustafsson's predictive one (Hairer, Wanner II, eq. IV.8.28): it carries on the
    trend of the last two steps, so that a step that has to shrink all the time (blow-up) is not tried too
    large every time. Sizes are those in the time of a pole, where one is near.
    """
    exponent = 1.0 / cnt[ORDER]
    err = greater(err, 1e-10)
    factor = ctl[SAFETY] * err**-exponent
    if ctl[GAIN] > 0.0 and ctl[H_OLD] > 0.0:
        sizes = after(h, ctl[TAU_END]) / after(ctl[H_OLD], ctl[TAU_END] + h)
        trend = sizes * (err ** -ctl[GAIN] * ctl[ERR_OLD] ** ctl[GAIN_OLD]) ** exponent
        factor = lesser(factor, ctl[SAFETY] ** (ctl[GAIN] - ctl[GAIN_OLD]) * trend)
    factor = lesser(_MAX_FACTOR, greater(_MIN_FACTOR, factor))
    return lesser(factor, 1.0) if cnt[RETRIED] == 1 else factor


@inlined()
def _accept(ctl, cnt, log, t_new, h, yy, yf):
    """Make the trial state the state and note its growth time |y|^2 / (y . f)."""
    ctl[T_PREV], ctl[T], ctl[H_LAST] = ctl[T], t_new, h
    ctl[TAU_LAST], ctl[TAU] = ctl[TAU], ctl[TAU_END]
    cnt[CUR] = 1 - cnt[CUR]
    cnt[SWAP] = 1
    cnt[ACCEPTED] += 1
    norm = math.sqrt(yy) * ctl[NORM]
    if norm > 0.0:
        ctl[NORM] = norm
    # The newest row is overwritten as long as the growth time is within a tenth of the row before: 256 rows
    # then span many decades of a blow-up.
    row = cnt[LOGGED]
    if cnt[ACCEPTED] > 1 and (row == 0 or not 0.9 < log[row % LOG, 1] / log[(row - 1) % LOG, 1] < 1.1):
        row += 1
        cnt[LOGGED] = row
    log[row % LOG, 0] = t_new
    log[row % LOG, 1] = yy / yf
    log[row % LOG, 2] = math.log(norm)


@inlined()
def good(cnt, err):
    """Whether the error alone lets a step pass."""
    return math.isfinite(err) and (err <= 1.0 or cnt[FIXED] == 1)


@helper()
def settle(ctl, cnt, log, t_new, h, err, yy, yf):
    """Accept or reject a trial step to `t_new`, and choose the size of the next; returns which it was.

    ``yy`` and ``yf`` are |y|^2 and y . f of the trial state in units of the norm so far.
    """
    if not (math.isfinite(err) and math.isfinite(math.sqrt(yy) * ctl[NORM]) and math.isfinite(yf)):
        cnt[REJECTED] += 1
        cnt[BAD] += 1
        cnt[RETRIED] = 1
        ctl[H] = 0.0 if cnt[FIXED] == 1 else 0.25 * h  # steps of a fixed size end here
        return NOT_FINITE
    cnt[BAD] = 0
    if good(cnt, err):
        _accept(ctl, cnt, log, t_new, h, yy, yf)
        if cnt[FIXED] == 0:
            apart = ctl[TAU] / (ctl[TAU_LAST] - h)
            refuted = err < _SMALL and before(h, ctl[TAU_LAST]) > _BELOW * ctl[WALL]
            if refuted or ctl[TAU] == NONE or not _SAME[0] < apart < _SAME[1]:
                ctl[WALL] = NONE  # another pole, or none: what was too long for the last says nothing of it
            length = after(h, ctl[TAU]) * _factor(ctl, cnt, h, err)
            if ctl[TAU] != NONE:  # where every step is like the last, one that was too long would be so again
                length = lesser(length, ctl[WALL])
                ctl[WALL] *= _WEAR
            ctl[H] = onward(length, ctl[TAU])
        ctl[H_OLD], ctl[ERR_OLD] = h, greater(err, 1e-2)
        cnt[RETRIED] = 0
        return TAKEN
    cnt[REJECTED] += 1
    cnt[RETRIED] = 1
    shorter = greater(ctl[LEAST], ctl[RETRY] * err ** (-1.0 / cnt[ORDER]))
    length = before(h, ctl[TAU])
    if ctl[TAU] != NONE:
        ctl[WALL] = _BELOW * length
    ctl[H] = onward(length * shorter, ctl[TAU])
    return TOO_LONG
