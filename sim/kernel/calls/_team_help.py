"""What the threads of a team do besides the one that asks; importing compiles it, or loads it."""

from __future__ import annotations

from numba import int64, types

from ..cache import compiled
from ._team import ACQUIRE, ASLEEP, EACH, FIRST, LEFT, LOCK, OVER, RELEASE, take
from ._words import acquire, exchanged, now, release, words_at


@compiled(types.void(int64, int64, int64), _nrt=False)
def help_team(address, number, own):
    """Carry out parts with others until the team is over; `own` is where scratch memory of this thread begins."""
    team, mine = words_at(address), FIRST + number * EACH
    while now(team, OVER) == 0:
        take(team, own)
        exchanged(team, mine + ASLEEP, 1)
        ready = now(team, LEFT) > 0 or now(team, OVER) == 1
        if not (ready and exchanged(team, mine + ASLEEP, 0) == 1):
            acquire(team[ACQUIRE], team[mine + LOCK])


@compiled(types.void(int64, int64), _nrt=False)
def end_team(address, helpers):
    """Tell these threads that the team is over, those that are still to begin too."""
    team = words_at(address)
    exchanged(team, OVER, 1)
    for k in range(helpers):
        each = FIRST + k * EACH
        if exchanged(team, each + ASLEEP, 0) == 1:
            release(team[RELEASE], team[each + LOCK])
