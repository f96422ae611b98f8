import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numba", "torch", "sympy", "matplotlib", "xarray", "pandas", "scipy", "numpy")


def python(*arguments, **options):
    """Run the interpreter of the tests, outside the repository so that nothing is found by accident."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **options,
    )


def loaded(statement):
    """Heavy modules that a fresh process has loaded after `statement`."""
    probe = f"import sys; {statement}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = python("-c", probe)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import smallinit.theory", {"numba", "torch", "matplotlib", "xarray"}),
        ("import smallinit.sim", {"torch", "matplotlib"}),
        ("import smallinit", set(HEAVY)),
        ("import smallinit; smallinit.__version__; dir(smallinit)", set(HEAVY)),
    ],
)
def test_layers_look_down_only(statement, forbidden):
    assert not loaded(statement) & forbidden


def test_subpackages_load_on_first_use():
    done = python("-c", "import smallinit; print(smallinit.theory.CompositeTask().dataset())")
    assert done.stdout.startswith("Dataset(n=20000"), done.stderr
    wrong = python("-c", "import smallinit; smallinit.theroy")
    assert "module 'smallinit' has no attribute 'theroy'" in wrong.stderr


def test_nothing_is_importable_under_a_bare_name():
    for name in ("theory", "sim", "compare", "cli", "bootstrap"):
        assert "ModuleNotFoundError" in python("-c", f"import {name}").stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the tree, without a network."""
    source, out = tmp_path_factory.mktemp("source") / "repository", tmp_path_factory.mktemp("wheel")
    left_out = (".git", ".venv", "build", "dist", "results", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
    done = python("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("smallinit-*.whl"))


def test_wheel_holds_the_package_only(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"smallinit"}
    shipped = {name.removeprefix("smallinit/") for name in names}
    assert not {name for name in shipped if name.split("/")[0] in ("tests", "docs", "results", ".ci")}
    assert not shipped & {"bootstrap.py", "setup.py", "conftest.py"}
    assert not {name for name in shipped if Path(name).name.startswith("test_")}
    sources = {
        str(path.relative_to(ROOT))
        for folder in ("theory", "sim", "compare")
        for path in (ROOT / folder).rglob("*.py")
    }
    presets = {
        str(path.relative_to(ROOT)) for path in (ROOT / "compare" / "experiment" / "presets").iterdir()
    }
    assert presets
    assert sources | presets <= shipped
    assert {
        "__init__.py",
        "__main__.py",
        "cli.py",
        "theory/__init__.pyi",
        "compare/report/templates/page.html",
        "compare/report/templates/blocks.html",
        "compare/report/templates/embeddings.html",
        "py.typed",
    } <= shipped


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / "README.md").read_text()
    assert metadata.get_payload(decode=True).decode().strip() == readme.strip()
    spoken = [
        c for c in metadata.get_all("Classifier") if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert [c.rpartition(".")[2] for c in spoken] == ["11", "12", "13", "14"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_the_readme_is_rendered_whole():
    """As an index shows it: nothing is left of the marks of Markdown, and no raw HTML that would be taken out."""
    text = (ROOT / "README.md").read_text()
    parser = MarkdownIt("commonmark").enable("table")
    kinds = {token.type for token in parser.parse(text)} | {
        child.type for token in parser.parse(text) for child in token.children or ()
    }
    assert not kinds & {"html_block", "html_inline"}
    shown = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", parser.render(text), flags=re.S)
    assert "```" not in shown
    assert not re.search(r"^#+ |\]\(|\*\*", re.sub(r"<[^>]*>", "", shown), re.M)
    assert shown.count("<img ") == text.count("![")
    readme_renderer = pytest.importorskip("readme_renderer.markdown")
    assert readme_renderer.render(text) is not None


def test_wheel_installs_into_a_fresh_environment(wheel, tmp_path):
    made = python("-m", "venv", "--without-pip", tmp_path / "env")
    assert made.returncode == 0, made.stderr
    fresh = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    installed = python("-m", "pip", "--python", fresh, "install", "-q", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    probe = (
        "import sysconfig, pathlib, smallinit; site = pathlib.Path(sysconfig.get_path('purelib'));"
        "names = sorted(path.name for path in site.iterdir() if 'dist-info' not in path.name);"
        "print(smallinit.__version__, names)"
    )
    done = subprocess.run(
        [str(fresh), "-c", probe], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.strip() == "0.1.0 ['smallinit']", done.stderr
