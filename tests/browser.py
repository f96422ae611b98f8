"""Pages opened in headless Chromium: what the console says, what was asked for, how wide it comes out."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--v=0",
)  # fmt: skip
# Put into a copy of the page, which tells its frame what it sees: windows themselves are never narrower than 500 px.
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const text = [...document.querySelectorAll("p, li, td, th, pre, figcaption, code")];
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
    images: [...document.images].map(i => ({alt: i.alt, width: i.naturalWidth})),
    equations: [...document.querySelectorAll("math")].map(m => m.getBoundingClientRect().height),
    smallest: Math.min(...text.map(e => parseFloat(getComputedStyle(e).fontSize))),
    errors: window.problems}), "*");
}, 50));
window.problems = []; addEventListener("error", e => problems.push(String(e.message)), true);</script>"""
FRAME = """<!DOCTYPE html><title>waiting</title>
<script>const seen = []; addEventListener("message", e => {{
  if (seen.push(e.data) == {count}) document.title = "[" + seen.join() + "]"; }})</script>
{frames}"""
WINDOW = '<iframe src="{name}" width="{width}" height="900" style="border:0"></iframe>'


def chromium():
    """The browser, or a skipped test that says what to install."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on the path: `apt install chromium` lets this test look at the page")
    return found


def _start(folder: Path, url: str, width: int, *arguments: str) -> subprocess.CompletedProcess:
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [chromium(), *FLAGS, profile, f"--window-size={width},900", *arguments, url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def console(page: Path, folder: Path) -> list[str]:
    """Lines that the page as it is writes to the console."""
    done = _start(folder, page.resolve().as_uri(), 1400, f"--screenshot={folder / 'page.png'}")
    assert (folder / "page.png").is_file(), done.stderr
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(page: Path, folder: Path, *widths: int) -> list[dict]:
    """What windows of these widths make of the page, the narrowest first."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)  # it would refuse the probe
    # Beside the page: its relative links must work.
    probed, frame = (page.with_name(f"{kind}-{page.name}") for kind in ("probed", "frame"))
    try:
        probed.write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
        frames = "\n".join(WINDOW.format(name=probed.name, width=width) for width in widths)
        frame.write_text(FRAME.format(count=len(widths), frames=frames), encoding="utf-8")
        done = _start(folder, frame.resolve().as_uri(), 1600, "--dump-dom", "--virtual-time-budget=5000")
    finally:
        probed.unlink(missing_ok=True)
        frame.unlink(missing_ok=True)
    title = re.search(r"<title>(\[.*?\])</title>", done.stdout, re.S)
    assert title, done.stderr
    return sorted(json.loads(unescape(title[1])), key=lambda seen: seen["width"])
