"""Sphinx extension: the gallery's grid of thumbnails, and every page of it as a notebook to download.

A page of docs/gallery is plain Markdown that ends in a figure. Its last picture becomes its thumbnail when the pages
have been run, so that no thumbnail is older than its code.
"""

import re
import shutil
from pathlib import Path

import nbformat

GRID = re.compile(r"<!-- gallery: (.*?) -->", re.S)
FENCE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
PICTURE = re.compile(r'<img[^>]*src="(\.\./_images/[^"]+)"')


def notebook(text: str) -> nbformat.NotebookNode:
    """A page as a notebook, not yet run: fences become cells."""
    v4, cells = nbformat.v4, []
    for i, part in enumerate(FENCE.split(text)):
        if part.strip():
            made = v4.new_code_cell if i % 2 else v4.new_markdown_cell
            cells.append(made(part.strip(), id=f"cell-{i}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def heading(text: str) -> tuple[str, str]:
    """Title and first paragraph of a page."""
    title, _, rest = text.lstrip("# ").partition("\n")
    return title.strip(), " ".join(rest.strip().partition("\n\n")[0].split())


def grid(folder: Path, names: list[str]) -> str:
    """Cards of pages, each with its thumbnail, and the list that binds them into the site."""
    cards = []
    for name in names:
        title, words = heading((folder / f"{name}.md").read_text())
        picture = f'<img class="thumbnail" alt="Figure of: {title}" src="gallery/{name}.png">'
        cards.append(
            f":::{{grid-item-card}} {title}\n:link: gallery/{name}\n:link-type: doc\n\n{picture}\n\n{words}\n:::"
        )
    listed = "\n".join(f"gallery/{name}" for name in names)
    return (
        "::::{grid} 1 2 3 3\n:gutter: 3\n\n"
        + "\n\n".join(cards)
        + f"\n\n::::\n\n```{{toctree}}\n:hidden:\n{listed}\n```"
    )


def read(app, docname, source):
    """Put the grid in its place, and a way to the notebook under each page; `source-read`."""
    folder = Path(app.srcdir, "gallery")
    source[0] = GRID.sub(lambda found: grid(folder, found[1].split()), source[0])
    if docname.startswith("gallery/"):
        name = docname.partition("/")[2]
        source[0] += (
            f'\n\n<a class="notebook" href="{name}.ipynb" download>Download this page as a notebook</a>\n'
        )


def write_files(app, error):
    """Write notebooks, and thumbnails from the pages that have been run; `build-finished`."""
    if error or app.builder.format != "html":
        return
    from sphinx.util import logging

    for path in sorted(Path(app.srcdir, "gallery").glob("*.md")):
        page = Path(app.outdir, "gallery", f"{path.stem}.html")
        nbformat.write(notebook(path.read_text()), page.with_suffix(".ipynb"))
        pictures = PICTURE.findall(page.read_text(encoding="utf-8"))
        if pictures:
            shutil.copyfile(page.parent / pictures[-1], page.with_suffix(".png"))
        else:
            logging.getLogger(__name__).warning("gallery/%s: the page shows no figure", path.stem)


def setup(app):
    """Register with sphinx; before `_pages`, which makes cells of fences."""
    app.connect("source-read", read, priority=400)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True}
