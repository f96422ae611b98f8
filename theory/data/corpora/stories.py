"""Children's stories from a small grammar of our own: who, what and where are drawn independently for every story.

    once there was a merry baker named tilda . tilda had a purple kite . one day tilda took the kite to the harbour .
    there tilda met bruno . suddenly the wind blew the kite away . tilda began to cry . " do not cry , " said ...

Nothing that came before tells which name, thing, colour or place a story is about: at first mention these bindings
can only be guessed at, and afterwards only be copied from the story itself.
"""

from __future__ import annotations

import re

import numpy as np

from ...base.validate import integer

_PEOPLE = (
    "anton bruno clara doris emil fiona gustav helga igor judith karla linus marta nelly otto paula quentin rosa "
    "silas tilda ursula viktor wanda yannick"
)
SLOTS = {
    name: tuple(words.split())
    for name, words in {
        "hero": _PEOPLE,
        "friend": _PEOPLE,
        "kind": "baker carpenter drummer fisherman gardener painter rabbit hedgehog squirrel postman mouse farmer",
        "trait": "brave clever merry sleepy polite curious lonely proud hungry stubborn patient tiny",
        "thing": "ball book boat crown drum flute hat kite lantern map mirror puppet ribbon scarf teapot wagon",
        "colour": "blue brown golden green grey purple red silver striped white wooden yellow",
        "place": "barn beach bridge castle forest garden harbour hill market meadow mill pond river school tower",
        "hiding": "bench bush cart fence hedge ladder log rock stairs wall well woodpile",
        "mood": "angry calm glad sad scared tired",
    }.items()
}
# Every step of a story: the chance that it is told, and its wordings.
STEPS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1.0, (
        "once there was a {trait} {kind} named {hero} .",
        "a {trait} {kind} called {hero} lived near the {place} .",
        "{hero} was a {trait} {kind} who loved the {place} .",
    )),
    (1.0, (
        "{hero} had a {colour} {thing} .",
        "one birthday {hero} got a {colour} {thing} from an old aunt .",
        "under the bed {hero} kept a {colour} {thing} .",
    )),
    (0.5, (
        "the {thing} was the best thing in the world .",
        "nobody else was allowed to touch the {thing} .",
        "{hero} played with the {thing} every day .",
    )),
    (1.0, (
        "one day {hero} took the {thing} to the {place} .",
        "in the morning {hero} ran to the {place} with the {thing} .",
        "when it stopped raining , {hero} carried the {thing} to the {place} .",
    )),
    (1.0, (
        "there {hero} met {friend} .",
        "{friend} was at the {place} too .",
        "{hero} saw {friend} waiting at the {place} .",
    )),
    (0.5, (
        '" may i hold your {thing} ? " asked {friend} .',
        '" what a fine {thing} ! " said {friend} .',
        "{friend} looked at the {colour} {thing} and smiled .",
    )),
    (1.0, (
        "suddenly the wind blew the {thing} away .",
        "then {hero} tripped and dropped the {thing} .",
        "but a big dog came and stole the {thing} .",
        "{friend} pulled too hard and the {thing} broke .",
    )),
    (0.7, (
        "{hero} was very {mood} .",
        "{hero} began to cry .",
        '" oh no , my {thing} ! " said {hero} .',
    )),
    (1.0, (
        "{friend} looked behind the {hiding} and found the {thing} .",
        "they searched the whole {place} and found the {thing} behind the {hiding} .",
        "{friend} climbed over the {hiding} and brought the {thing} back .",
        "{friend} knew how to help and mended the {thing} .",
    )),
    (0.8, (
        '" thank you , {friend} , " said {hero} .',
        "{hero} gave {friend} a big hug .",
        "now {hero} was {mood} no more .",
    )),
    (1.0, (
        "they played with the {thing} until it was dark .",
        "from that day on {hero} and {friend} were friends .",
        "{hero} learned that it is good to share a {thing} .",
        "and {friend} walked home with {hero} .",
    )),
)  # fmt: skip


def story_corpus(n: int, seed: int = 0) -> str:
    """Write `n` stories, one a line.

    Parameters
    ----------
    n : int
        Number of stories.
    seed : int
        Story ``k`` depends on the seed and on ``k`` alone.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    n, seed = integer("n", n, 1), integer("seed", seed, 0)
    return "\n".join(_story(np.random.default_rng([seed, k])) for k in range(n)) + "\n"


def _story(rng: np.random.Generator) -> str:
    bound = {slot: words[rng.integers(len(words))] for slot, words in SLOTS.items()}
    bound["friend"] = str(rng.choice([name for name in SLOTS["friend"] if name != bound["hero"]]))
    told = [wordings for chance, wordings in STEPS if rng.random() < chance]
    return " ".join(wordings[rng.integers(len(wordings))].format(**bound) for wordings in told)


def _pattern(wording: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[a-z]+)", re.escape(wording)) + "(?: |$)")


_PATTERNS = [(chance == 1.0, [_pattern(wording) for wording in wordings]) for chance, wordings in STEPS]


def read_story(line: str) -> dict[str, str]:
    """Parse a story; who, what and where it is about.

    Returns
    -------
    dict
        Slot -> word, for the slots that the story mentions.

    Raises
    ------
    ValueError
        If it cannot be told by the grammar, or changes its mind about a name, a thing or a place.
    """
    bound: dict[str, str] = {}
    at = 0
    for needed, patterns in _PATTERNS:
        found = next(
            (m for p in patterns if (m := p.match(line, at)) and _agrees(bound, m.groupdict())), None
        )
        if found is not None:
            bound |= found.groupdict()
            at = found.end()
        elif needed:
            raise ValueError(f"the grammar cannot tell {line[at : at + 60]!r} after {line[:at][-40:]!r}.")
    if at < len(line):
        raise ValueError(f"the grammar cannot tell {line[at : at + 60]!r} at the end.")
    return bound


def _agrees(bound: dict[str, str], found: dict[str, str]) -> bool:
    """Whether words are of their slots and none is bound to another one; hero and friend are two."""
    known = all(word in SLOTS[slot] and bound.get(slot, word) == word for slot, word in found.items())
    both = bound | found
    return known and both.get("hero") != both.get("friend", "")


def check_stories(text: str) -> int:
    """Parse every story of a corpus back.

    Parameters
    ----------
    text : str
        From `story_corpus`.

    Returns
    -------
    int
        Number of stories, all of which the grammar can tell.

    Raises
    ------
    ValueError
        At the first story that it cannot, with its line number.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            read_story(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return len(lines)
