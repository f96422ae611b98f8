"""The text of a claim: its tokens, and errors that point at a character."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 10_000  # characters of a claim
NAME = r"[A-Za-z_][A-Za-z_0-9]*(?:\.(?!T\b)[A-Za-z_0-9]+)*"  # dots as in blocks.0.W_Q; .T is the transpose
TOKEN = re.compile(rf"\s*(?:(\d+(?:\.\d+)?)|({NAME})|(\.T\b|\.\*|\.\^|\*\*|[-+*@/^()=,]))")


class ClaimError(ValueError):
    """A claim that cannot be read; the message points at the character.

    Parameters
    ----------
    reason : str
        What is wrong, in one sentence.
    text : str
        The claim.
    position : int
        Of the character; `picture` holds the text around it and a finger on it, a line each.
    """

    def __init__(self, reason: str, text: str, position: int) -> None:
        self.reason, self.text, self.position = reason, text, position
        start = max(0, position - 60)
        shown = "".join(c if c.isprintable() else " " for c in text[start : start + 100])
        self.picture = (f"  {shown}", f"  {' ' * (position - start)}^")
        super().__init__("\n".join([reason, *self.picture]))

    def __reduce__(self) -> tuple[type[ClaimError], tuple[str, str, int]]:
        """Restore from the parts: an error must survive its way out of a worker process."""
        return type(self), (self.reason, self.text, self.position)


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
