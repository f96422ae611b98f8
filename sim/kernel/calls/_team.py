"""Operations in parts that several threads carry out, each part by whoever is free: the same bits, whoever it is.

What an operation TEAM does is fixed by the table: parts that read and write nothing of one another. A team, if the
table has one, is a few words of memory (see `team`), in which threads count parts down: each takes the next, and who
finds none left sleeps. Whoever asked works too, and waits for no thread but those that are at a part of it. So one that
wakes late, or never, costs nothing but its help; and who finds the team at work for another works alone.
"""

from __future__ import annotations

from ..inner import inlined, subroutine
from ..operations import PART, TEAM, TEAM_HEAD, WORK
from ._addresses import DOUBLE, SINGLE, address, call, carry_out, operation
from ._operands import is_lost, lose, part, place
from ._words import acquire, added, begin_of, exchanged, now, release, room, with_own, words_at

# Words of a team. Those that many write are apart from others by a line of the cache. LEFT: parts that nobody has
# taken; DONE: parts that are carried out; BUSY: whether somebody has asked; OVER: whether the threads are to end;
# WAITING: whether who asked sleeps; FAILED: whether an operation of a part had no code. Then what is asked for: the
# buffers, the table, where TEAM stands in it, the number of parts, the code of PART. Then functions of locks, the
# number of threads besides the one that asks, and the lock by which that one sleeps.
LEFT, DONE, BUSY, OVER, WAITING, FAILED = range(0, 48, 8)
ASKED, NUMBERS, OPERATION, PARTS, CODE, ACQUIRE, RELEASE, HELPERS, OWN_LOCK = range(48, 57)
ALONE = 57  # words of a team of one
FIRST, ASLEEP, LOCK, EACH = 64, 0, 1, 8  # of every thread: whether it sleeps, and the lock by which it does


# Buffers of float64 have numbers of eight bytes
@inlined()
def _first(buffers):
    return DOUBLE if part(buffers[WORK], 0, 1).itemsize == 8 else SINGLE


# How many operations, then these
@operation(PART)
def _part(buffers, ints, p):
    carry_out(buffers, ints, p + 1, ints[p], _first(buffers), 0)


# Take parts until none is left
@subroutine()
def take(team, own):
    while True:
        left = added(team, LEFT, -1)
        if left <= 0:
            return
        places, ints, p = with_own(team[ASKED], own), words_at(team[NUMBERS]), team[OPERATION]
        count = team[PARTS]
        call(team[CODE], places, ints, p + ints[p + TEAM_HEAD + count - left])
        if is_lost(places):
            exchanged(team, FAILED, 1)
        if added(team, DONE, 1) == count - 1 and exchanged(team, WAITING, 0) == 1:
            release(team[RELEASE], team[OWN_LOCK])


# Who asked waits for those that are at a part
@subroutine()
def _wait(team):
    while now(team, DONE) < team[PARTS]:
        exchanged(team, WAITING, 1)
        if now(team, DONE) < team[PARTS] or exchanged(team, WAITING, 0) == 0:
            acquire(team[ACQUIRE], team[OWN_LOCK])


@subroutine()
def _begin(team, asked, ints, p, count, code):
    team[ASKED], team[NUMBERS], team[OPERATION], team[PARTS], team[CODE] = asked, ints, p, count, code
    exchanged(team, DONE, 0)
    exchanged(team, FAILED, 0)
    exchanged(team, LEFT, count)
    for k in range(team[HELPERS]):
        each = FIRST + k * EACH
        if exchanged(team, each + ASLEEP, 0) == 1:
            release(team[RELEASE], team[each + LOCK])


# Where a team's words lie, or 0; place of scratch memory of who asks, and its size; number of parts; where the numbers
# of each begin, counted from here
@operation(TEAM)
def _team(buffers, ints, p):
    own, count, code = (
        begin_of(place(buffers[WORK], ints[p + 1])),
        ints[p + 3],
        address(_first(buffers) + PART),
    )
    alone = room(ALONE)
    alone[HELPERS] = 0
    alone[WAITING] = 0
    team = alone
    if ints[p] != 0 and exchanged(words_at(ints[p]), BUSY, 1) == 0:
        team = words_at(ints[p])
    if code == 0:
        lose(buffers)
    else:
        _begin(team, begin_of(buffers), begin_of(ints), p, count, code)
        take(team, own)
        _wait(team)
        if now(team, FAILED) == 1:
            lose(buffers)
    if begin_of(team) != begin_of(alone):
        exchanged(team, BUSY, 0)
