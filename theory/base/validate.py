"""Validators of single values: each returns the clean value, or refuses in one sentence with the remedy."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from unicodedata import category

from .errors import FieldError

LONGEST_NAME = 200  # netCDF's own limit is 256, with what stands before it


def nearest(word: Any, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """Return the known name that a mistyped one is nearest to, None if there is none near; capitals do not count."""
    names = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower(), names, 1, cutoff)
    return names[close[0]] if close else None


def did_you_mean(word: Any, known: Iterable[str], otherwise: str = "", cutoff: float = 0.7) -> str:
    """Say the remedy for an unknown name.

    Parameters
    ----------
    word
        What was given.
    known : iterable of str
        The names there are.
    otherwise : str
        What to say if none is near; by default all names.
    cutoff : float
        How alike two names must be, between 0 and 1.

    Returns
    -------
    str
        A clause to stand behind a colon or a semicolon, with its full stop or question mark.
    """
    names = list(known)
    near = nearest(word, names, cutoff)
    return f"did you mean {near!r}?" if near else otherwise or f"choose one of {', '.join(names)}."


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of the known names.

    Raises
    ------
    FieldError
        With the nearest name, or all of them.
    """
    names = list(known)
    if isinstance(value, str) and value in names:
        return value
    raise unknown(name, value, names)


def unknown(name: str, value: Any, known: Iterable[str], otherwise: str = "") -> FieldError:
    """Make the error of a value that is none of the known names; see `did_you_mean`."""
    return FieldError(name, f"{brief(value)} is unknown: {did_you_mean(value, known, otherwise)}")


def passed_on(
    public: str, function: Callable[..., Any], options: Mapping[str, Any], *own: str
) -> dict[str, Any]:
    """Return options that a public function passes on, or refuse the first that is unknown in the words of that one.

    Parameters
    ----------
    public : str
        What the user called, such as "Dataset.from_csv".
    function : callable
        What takes the options, by keyword alone.
    options : dict
        As they were given.
    *own : str
        Further names that it takes, or that the public function does.

    Raises
    ------
    TypeError
        Naming the public function and the nearest option, or all of them.
    """
    parameters = inspect.signature(function).parameters.values()
    known = [*own, *(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)]
    for name in options:
        if name not in known:
            raise TypeError(f"`{name}` is no option of {public}: {did_you_mean(name, known)}")
    return dict(options)


def is_integer(value: Any) -> bool:
    """Whether `value` is a whole number of Python or numpy, and no boolean."""
    # numpy registers its own, but no booleans; Python's own first: asking an abstract class takes longer
    return isinstance(value, (int, Integral)) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Whether `value` is a real number of Python or numpy, infinity and nan among them, and no boolean."""
    return isinstance(value, (float, int, Real)) and not isinstance(value, bool)


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return `value` as a Python int from `least` to `most`; booleans and floats are refused.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if not is_integer(value) or value < least:
        raise FieldError(name, f"must be an integer of at least {least}, {got(value)}.")
    if most is not None and value > most:
        raise FieldError(name, f"must be an integer of at most {most:,}, got {brief(value)}.")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is true or false, and not something that merely counts as it.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # numpy's is another type
        raise FieldError(name, f"must be True or False, got {brief(value)}.")
    return bool(value)


def callback(name: str, value: Any) -> Any:
    """Return a function, or None.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if value is not None and not callable(value):
        raise FieldError(name, f"must be a function or None, got {brief(value)}.")
    return value


def names(field: str, value: Any) -> tuple[str, ...]:
    """Return names of observables, each once.

    Raises
    ------
    FieldError
        If they are anything else, one alone included.
    """
    listed = isinstance(value, list | tuple)
    if not listed or not all(isinstance(name, str) for name in value) or len(set(value)) < len(value):
        raise FieldError(field, f'must be distinct names, such as ["loss"], got {brief(value)}.')
    return tuple(value)


def one_or_more(field: str, value: Any) -> list[str]:
    """Return names as a list; one alone is the list of it.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    try:
        listed = [value] if isinstance(value, str) else list(value)
    except TypeError:  # also of an array without axes, which passes for one that can be listed
        listed = [value]
    if not all(isinstance(name, str) for name in listed):
        raise FieldError(field, f'must be names, such as ["loss"], got {brief(value)}.')
    return listed


def kind_of(name: str, value: Any, kinds: type | tuple[type, ...], remedy: str) -> Any:
    """Return `value` if it is one of our own objects.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        article = "an" if wanted[0] in "AEIOU" or wanted == "ndarray" else "a"
        raise FieldError(name, f"must be {article} {wanted}, got {type(value).__name__}: {remedy}.")
    return value


def real(name: str, value: Any) -> float:
    """Return `value` as a finite Python float; booleans are refused.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if not is_real(value) or not _finite(value):
        raise FieldError(name, f"must be a finite number, {got(value)}.")
    return float(value)


def got(value: Any) -> str:
    """Show what is no number, and how to get one out of an array without axes, as xarray and torch hand them out."""
    alone = getattr(value, "ndim", None) == 0 and hasattr(value, "item") and not is_real(value)
    return f"got {brief(value)}{': give its `.item()`' if alone else ''}"


def _finite(value: Any) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def positive(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if real(name, value) <= 0:
        raise FieldError(name, f"must be positive, got {brief(value)}.")
    return float(value)


def nonnegative(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if real(name, value) < 0:
        raise FieldError(name, f"must not be negative, got {brief(value)}.")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float strictly between 0 and 1.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    if not 0.0 < real(name, value) < 1.0:
        raise FieldError(name, f"must lie between 0 and 1, got {brief(value)}.")
    return float(value)


def name_of(field: str, value: Any) -> str:
    """Return a name for a group, a label or an event: one line that any file and figure can show.

    Raises
    ------
    FieldError
        If it is empty, too long, or has characters that are no text: controls, breaks of lines, halves of pairs.
    """
    if not isinstance(value, str) or not value:
        raise FieldError(field, f"must be a name, got {brief(value)}.")
    if len(value) > LONGEST_NAME:
        raise FieldError(
            field, f"must be a name of at most {LONGEST_NAME} characters, got {len(value)}: {brief(value)}."
        )
    if wrong := [c for c in value if category(c) in ("Cc", "Cs", "Zl", "Zp")]:
        raise FieldError(
            field, f"must be a name of one line of text, got {brief(value)} with {wrong[0]!a} in it."
        )
    return value


def path_of(field: str, value: Any) -> Path:
    """Return the path of a file or a folder, whether it is there or not.

    Raises
    ------
    FieldError
        If it is anything else: the system would take a number for a file that is open, and nothing for this folder.
    """
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str) or not found:
        raise FieldError(field, f'must be a path, such as "results/mine", got {brief(value)}.')
    return Path(found)


def brief(value: Any) -> str:
    """Show a value in one short line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge integer"
    text = " ".join(line.strip() for line in text.split("\n"))
    return text if len(text) <= 60 else f"{text[:57]}..."
