"""Words of the user's on a figure: shown as they are, whatever matplotlib would read into them."""

from __future__ import annotations

NOTHING = "\u200b"  # has no width: a label that starts with an underscore would be left out of legends


def literal(text: object) -> str:
    """Give a label, title or tick such that it is shown character by character.

    A dollar starts no mathematics, and a leading underscore hides nothing from a legend. The result may stand beside
    mathematics of our own.
    """
    shown = str(text).replace("$", r"\$")
    return NOTHING + shown if shown.startswith("_") else shown
