"""The text of a claim: its tokens, and errors that point at a character."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 10_000  # characters of a claim
TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z_][A-Za-z_0-9]*)|(\.T\b|\.\*|\.\^|\*\*|[-+*@/^()=,]))")


class ClaimError(ValueError):
    """A claim that cannot be read; the message points at the character."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        self.reason, self.position = reason, position
        start = max(0, position - 60)
        shown = text[start : start + 100].replace("\n", " ")
        super().__init__(f"{reason}\n  {shown}\n  {' ' * (position - start)}^")


def tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind ("number", "name" or "sign"), word and position of every token.

    Raises
    ------
    ClaimError
        If the text is too long or has a character that the grammar does not know.
    """
    if len(text) > LONGEST:
        raise ClaimError(f"`claim` has {len(text)} characters: write at most {LONGEST}.", text, LONGEST)
    position = 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if match is None:
            at = position + len(text[position:]) - len(text[position:].lstrip())
            raise ClaimError(
                f"`claim` has a character that the grammar does not know: {text[at]!r}.", text, at
            )
        number, name, sign = match.groups()
        kind = "number" if number else "name" if name else "sign"
        yield kind, number or name or sign, match.end() - len(number or name or sign)
        position = match.end()
