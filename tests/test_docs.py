"""The pages hang together: listed, linked, documented, run. `make docs` builds them."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(str(p.relative_to(DOCS).with_suffix("")) for p in (*DOCS.glob("*.md"), *DOCS.glob("api/*.md")))


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("_pages", DOCS / "_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(index):
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", index, re.S)
    return [line for block in blocks for line in block.splitlines() if line and line[0] not in ":<"]


def test_every_page_is_listed_once(pages):
    index = (DOCS / "index.md").read_text()
    assert sorted(listed(pages.completed(index, PAGES))) == [page for page in PAGES if page != "index"]
    assert set(listed(index)) <= set(PAGES)
    assert "brand-new" in listed(pages.completed(index, [*PAGES, "brand-new"]))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    text = (DOCS / f"{page}.md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    headings = {}
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#?)([^)\s]*)\)", prose):
        path = (DOCS / page).parent / target if target else DOCS / f"{page}.md"
        assert path.is_file(), (page, target)
        titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M) if anchor else []
        headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in headings, (page, target, anchor)
    for alt in re.findall(r"!\[([^\]]*)\]", prose):
        assert len(alt) > 15, (page, alt)


@pytest.mark.parametrize("page", PAGES)
def test_every_python_fence_becomes_a_cell(pages, page):
    text = (DOCS / f"{page}.md").read_text()
    shown = pages.executed(text)
    cells = text.count("```python\n")
    assert shown.count("```{code-cell} ipython3\n") == cells
    assert "```python" not in shown
    assert shown.startswith("---\nfile_format: mystnb") == bool(cells)
    for snippet in re.findall(r"```python\n(.*?)```", text, re.S):
        compile(snippet, page, "exec")


@pytest.mark.parametrize("module", ["smallinit.theory", "smallinit.sim", "smallinit.compare"])
def test_every_public_name_is_documented(pages, module):
    text = (DOCS / "api" / f"{module.rpartition('.')[2]}.md").read_text()
    assert pages.NAMES.search(text)[1] == module
    package, shown = importlib.import_module(module), pages.documented(module)
    public = set(getattr(package, "__all__", pages.public_names(module))) - {"methods"}
    for name in public:
        assert re.search(rf"^\.\. auto(class|function|data):: {name}$", shown, re.M), name
        assert getattr(package, name).__doc__, name
    assert {"derive", "Flow", "check"} <= public or module != "smallinit.theory"


@pytest.mark.parametrize("page", ["derive", "simulate", "validate", "getting-started"])
def test_the_examples_run(page, capsys):
    space = {"__name__": "example"}
    for snippet in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), flags=re.S):
        exec(snippet, space)  # noqa: S102 - our own file
    if page == "getting-started":
        run = space["run"]
        assert run["loss/reasoning-train"][0] - run["loss/reasoning-train"][-1] > 0.01
        assert space["both"].horizon(0.05) > 20.0
        assert space["mine_both"].relative_error["W_E"][-1] < 0.1
    assert page == "derive" or capsys.readouterr().out
