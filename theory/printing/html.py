"""Markup for pages and notebooks: equations as MathML, tables, text that cannot act."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape as escape
from html import unescape
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

LONG = 200  # characters of LaTeX beyond which every term of a sum has a line of its own
# Nothing else leaves this module: a LaTeX source may ask for links, classes and styles.
TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup"),
    *("msubsup", "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded"),
}
ATTRIBUTES = {"stretchy", "fence", "form", "accent"}
RULE = re.compile(r"\\dot\{(.*)\}\Z", re.S)
GROUP = re.compile(r"([^()]*?)\\left\((.*)\\right\)", re.S)  # a factor times a sum in brackets
ALIGNED = re.compile(r"\\begin\{aligned\}(.*?)\\end\{aligned\}", re.S)


def mathml(latex: str, display: str = "block") -> str:
    """Convert LaTeX to MathML, which browsers draw by themselves, without scripts, fonts or a network.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    return f'<math display="{display}">{_converted(latex)}</math>'


def equations(latex: str) -> str:
    """Set the lines of an ``aligned`` environment, as `Flow.latex` writes it; what cannot be read stays LaTeX."""
    found = ALIGNED.search(latex)
    lines = re.split(r"\\\\\s*\n", (found[1] if found else latex).strip())
    try:
        rows = "".join(_row(*cells) for line in lines for cells in _cells(line))
    except ValueError:
        return f"<pre>{escape(latex)}</pre>"
    return f'<math display="block"><mtable displaystyle="true">{rows}</mtable></math>'


def _cells(line: str) -> Iterator[tuple[str, str]]:
    """Left and right side of an equation; further lines of a long one have no left side."""
    left, _, right = line.partition("&=")
    left, right = (left, right) if right else ("", left)
    if rate := RULE.match(left.strip()):
        left = rf"\frac{{\mathrm{{d}}{rate[1]}}}{{\mathrm{{d}}t}}"
    first, *others = _lines(right.strip())
    yield left, "= " + first if left else first
    for term in others:
        yield "", r"{} " + term


def _lines(latex: str) -> list[str]:
    """A long sum by its terms, a long term that ends in brackets by those of the sum within them."""
    if len(latex) <= LONG:
        return [latex]
    lines = []
    for term in _terms(latex):
        group = GROUP.fullmatch(term) if len(term) > LONG else None
        if group and len(inner := _terms(group[2])) > 1:
            first, *between, last = inner
            lines += [rf"{group[1]}(\, {first}", *(rf"\quad {t}" for t in between), rf"\quad {last} )"]
        else:
            lines.append(term)
    return lines


def _terms(latex: str) -> list[str]:
    """Cut a sum before every sign that stands outside all brackets and braces."""
    depth, cuts = 0, [0]
    for token in re.finditer(r"\\left|\\right|\\begin|\\end|[{}]| [+-] ", latex):
        if token[0] in (r"\left", r"\begin", "{"):
            depth += 1
        elif token[0] in (r"\right", r"\end", "}"):
            depth -= 1
        elif depth == 0:
            cuts.append(token.start())
    return [latex[a:b].strip() for a, b in pairwise([*cuts, len(latex)])]


def _row(left: str, right: str) -> str:
    sides = (("right", left), ("left", right))
    cells = (
        f'<mtd style="text-align:{side};padding:0.35em 0.2em">{_converted(s) if s else ""}</mtd>'
        for side, s in sides
    )
    return f"<mtr>{''.join(cells)}</mtr>"


def _converted(latex: str) -> str:
    from latex2mathml.converter import convert_to_element

    try:
        return "".join(map(_serialised, convert_to_element(latex)))
    except Exception as error:  # the converter fails in many ways, also with IndexError and RecursionError
        raise ValueError(f"cannot read the LaTeX {latex[:60]!r}: {type(error).__name__}.") from error


def _serialised(element: Element) -> str:
    """Write an element from what is allowed, everything else as its text."""
    children = list(element)
    if name := _name(element):
        return name
    if element.tag in ("msub", "msubsup") and len(children) > 1:
        children[1] = _word(children[1])
    inner = escape(unescape(element.text or "")) + "".join(map(_serialised, children))
    if element.tag not in TAGS or element.tag == "math":
        return f"<mrow>{inner}</mrow>"
    kept = "".join(f' {k}="{escape(v)}"' for k, v in element.attrib.items() if k in ATTRIBUTES)
    bold = ' style="font-weight:bold"' if element.get("mathvariant") == "bold" else ""
    return f"<{element.tag}{kept}{bold}>{inner}</{element.tag}>"


def _name(element: Element) -> str:
    """Write the letters of an upright or typewriter name as one word, which no reader takes for a product; else ""."""
    variants = {part.get("mathvariant") for part in element}
    if element.tag != "mrow" or len(element) < 2 or variants not in ({"normal"}, {"monospace"}):
        return ""
    text = escape("".join(unescape(part.text or "") for part in element))
    return f"<mi>{text}</mi>" if variants == {"normal"} else f'<mi style="font-family:monospace">{text}</mi>'


def _word(index: Element) -> Element:
    """Write an index of several letters as one upright word: ``d_{head}`` is no product."""
    letters = [unescape(part.text or "") for part in index.iter() if part.tag in ("mi", "mn")]
    plain = all(part.tag in ("mi", "mn", "mrow") for part in index.iter())
    if len(letters) < 2 or not plain or not all(re.fullmatch("[A-Za-z]|[0-9]+", c) for c in letters):
        return index
    word = Element("mi")
    word.text = "".join(letters)
    return word


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """Set rows of text under a header, in a box that scrolls on narrow screens."""
    head = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption or "table")}" tabindex="0"><table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def card(title: str, *parts: str, status: str = "") -> str:
    """What a notebook shows of an object: a headline and its parts, wide ones scrolling in a box of their own."""
    mark = f" \N{EM DASH} {escape(status)}" if status else ""
    boxes = (f'<div style="overflow-x:auto;margin:.4em 0">{part}</div>' for part in parts if part)
    return f"<div><strong>{escape(title)}</strong>{mark}{''.join(boxes)}</div>"


def line(label: str, text: str) -> str:
    """A name, and one line of plain text in letters of equal width."""
    return f"{escape(label)}: <code>{escape(text)}</code>"


def shown(value: Any) -> str:
    """Show a value as short text: numbers to four digits, lists joined, None as a dash."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(f"[{shown(v)}]" if isinstance(v, list | tuple) else shown(v) for v in value)
    return str(value)
