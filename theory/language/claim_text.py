"""The text of a claim: its tokens, and errors that point at a character."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sympy as sp

LONGEST = 100_000  # characters of a claim with its definitions
DEEPEST, DIGITS, LARGEST_EXPONENT = 60, 30, 300
NAME = r"[A-Za-z_][A-Za-z_0-9]*(?:\.(?!T\b)[A-Za-z_0-9]+)*"  # dots as in blocks.0.W_Q; .T is the transpose
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
TOKEN = re.compile(rf"\s*(?:({NUMBER})|({NAME})|(\.T\b|\.\*|\.\^|\^o(?=[\d(])|\*\*|[-+*@/^()=,;\[\]]))")
# Lines that a page has beside its equations and definitions.
REMARK = re.compile(
    r"^[ \t]*(?:Gradient flow of|drops of the loss:|predicted relative error:|(?:conserved|observed, not proved):).*\n?"
    r"|^where\n(?:  .*\n?)*",
    re.MULTILINE,
)
WITH = re.compile(r"^[ \t]*with[ \t]+", re.MULTILINE)


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
            hint = ": write plain text, as `print(flow)` does, and no LaTeX." if text[at] in "\\{$" else "."
            raise ClaimError(
                f"`claim` has a character that the grammar does not know: {text[at]!r}{hint}", text, at
            )
        number, name, sign = match.groups()
        kind = "number" if number else "name" if name else "sign"
        yield kind, number or name or sign, match.end() - len(number or name or sign)
        position = match.end()


def statements(text: str) -> list[str]:
    """The claim, and after it what lines that start with "with" define; remarks, also behind a colon, are left out.

    Raises
    ------
    ValueError
        If it is no text.
    """
    if not isinstance(text, str):
        raise ValueError(f"`claim` must be text, got {type(text).__name__}.")
    first, *others = WITH.split(REMARK.sub("", text))
    return [first, *(line.partition(":")[0] for line in others)]


class ClaimCursor:
    """A place in the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(tokens(text))
        self.next, self.depth = 0, 0

    def error(self, reason: str, position: int) -> ClaimError:
        """What is wrong there."""
        return ClaimError(reason, self.text, position)

    def peek(self, ahead: int = 0) -> tuple[str, str, int]:
        """The next token, or one further on."""
        at = self.next + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "the end", len(self.text.rstrip()))

    def take(self, *signs: str) -> tuple[str, int] | None:
        """The next token if it is one of some signs."""
        kind, word, position = self.peek()
        if kind != "sign" or word not in signs:
            return None
        self.next += 1
        return word, position

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Go into a bracket.

        Raises
        ------
        ClaimError
            If that is one too many.
        """
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(
                f"`claim` is nested deeper than {DEEPEST} brackets: simplify it.", self.peek()[2]
            )
        yield
        self.depth -= 1

    def number(self, word: str, position: int) -> sp.Expr:
        """The number that a token is.

        Raises
        ------
        ClaimError
            If it is longer or larger than anybody needs.
        """
        exponent = word.partition("e")[2]
        if len(word) > DIGITS:
            raise self.error(f"`claim` has a number of {len(word)} digits: write at most {DIGITS}.", position)
        if exponent and abs(int(exponent)) > LARGEST_EXPONENT:
            raise self.error(
                f"`claim` has the number {word}: write exponents of at most {LARGEST_EXPONENT}.", position
            )
        return sp.Rational(word)

    def expect(self, sign: str) -> int:
        """Position of a sign that must follow.

        Raises
        ------
        ClaimError
            If another token does.
        """
        taken = self.take(sign)
        if taken is None:
            _, word, position = self.peek()
            raise self.error(f"`claim` needs {sign!r} here, not {word!r}.", position)
        return taken[1]
