"""Sphinx extension: plain pages become executed ones, mathematics becomes MathML.

The pages stay plain Markdown, readable where they lie: their ``python`` fences are turned into cells only while the
site is built.
"""

import re
from html import unescape
from pathlib import Path

from smallinit.theory.printing import html as markup

FENCE = re.compile(r"^```python$", re.M)
PRINTS = re.compile(r"(?<=^```\n)\nprints\n\n```text\n.*?^```\n", re.M | re.S)  # what a cell prints, once
NOTEBOOK = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n"
CODE = re.compile(
    r"^```(?!\{)[^\n]*\n(?P<block>.*?)^```$|(?<!`)(`+)(?!`)(?P<span>.+?)(?<!`)\2(?!`)", re.M | re.S
)
MATHS = re.compile(r"\$\$.+?\$\$|(?<![\\\w])\$[^$\n]+\$(?!\w)", re.S)
NOT_TEXT = re.compile(r"<!--.*?-->|^```\{.*?^```$|^---\n.*?^---$", re.M | re.S)
TARGET = re.compile(r"\]\([^)\s]*\)")  # of a link; in code the same signs are a function and its argument
WORD = re.compile(
    r"\S*[\w)\]}.'][*^]+[\w({\[-]\S*|\S*\w_\w\S*"
)  # a formula that stands in prose: W_V.T*W_V, eps^3
OTHERS = "<!-- other pages -->"


def executed(text: str) -> str:
    """Turn every python fence into a cell; a page without one stays as it is."""
    if not FENCE.search(text):
        return text
    return NOTEBOOK + FENCE.sub("```{code-cell} ipython3", PRINTS.sub("", text))


def completed(index: str, pages: list[str]) -> str:
    """List, where the index leaves room for it, the pages beside it that it does not name."""
    listed = {
        line.strip()
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.S)
        for line in block.splitlines()
    }
    others = [page for page in pages if page not in listed and page != "index" and "/" not in page]
    return index.replace(OTHERS, "\n".join(others))


def formulas(text: str) -> list[str]:
    """What a page must show letter by letter: its code, and words of prose that are formulas."""
    text = NOT_TEXT.sub(" ", text)
    prose = TARGET.sub(" ", MATHS.sub(" ", CODE.sub(" ", text)))
    words = [word.strip(".,;:()*").replace("\\", "") for word in WORD.findall(prose)]
    found = [match.groupdict("") for match in CODE.finditer(text)]
    lines = [line for code in found for line in code["block"].splitlines() if line.strip()]
    return [*words, *lines, *(code["span"].replace("\\|", "|") for code in found if code["span"])]


def lost(text: str, page: str) -> list[str]:
    """Formulas of a page's source that its HTML does not show."""
    shown = _squeezed(re.sub(r"<[^>]*>", "", page))
    gone = [formula for formula in formulas(text) if _squeezed(formula) not in shown]
    equations = len(MATHS.findall(CODE.sub(" ", NOT_TEXT.sub(" ", text))))
    if equations > page.count("<math "):
        gone.append(f"{equations - page.count('<math ')} of {equations} equations")
    return gone


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", unescape(text))


def look_for_formulas(app, error):
    """Warn of formulas that the built pages lost; the site's `build-finished`."""
    if error or app.builder.format != "html":
        return
    from sphinx.util import logging

    for docname in sorted(app.env.found_docs):
        page = Path(app.outdir, f"{docname}.html").read_text(encoding="utf-8")
        text = Path(app.env.doc2path(docname)).read_text(encoding="utf-8")
        for formula in lost(PRINTS.sub("", text), page):
            logging.getLogger(__name__).warning("%s: the page lost %s", docname, formula)


def deal(app, env, docnames):
    """Deal pages that run code evenly among the others; `env-before-read-docs`.

    Processes read neighbours, and in alphabetical order one would run nearly all of the code.
    """
    run = [name for name in docnames if FENCE.search(Path(env.doc2path(name)).read_text(encoding="utf-8"))]
    rest = [name for name in docnames if name not in run]
    place = {name: (i + 0.5) / len(group) for group in (run, rest) for i, name in enumerate(group)}
    docnames.sort(key=place.__getitem__)


def read(app, docname, source):
    """Prepare the text of a page; the site's `source-read`."""
    text = source[0]
    if docname == "index":
        text = completed(text, sorted(app.env.found_docs))
    source[0] = executed(text)


def _math(self, node, display):
    from docutils.nodes import SkipNode

    latex = node.astext()
    shown = markup.equations(latex) if r"\begin{aligned}" in latex else markup.mathml(latex, display)
    self.body.append(f'<div class="math">{shown}</div>' if display == "block" else shown)
    raise SkipNode


def setup(app):
    """Register with sphinx."""
    app.connect("env-before-read-docs", deal)
    app.connect("source-read", read)
    app.connect("build-finished", look_for_formulas)
    app.add_html_math_renderer(
        "mathml", (lambda s, n: _math(s, n, "inline"), None), (lambda s, n: _math(s, n, "block"), None)
    )
    return {"parallel_read_safe": True}
