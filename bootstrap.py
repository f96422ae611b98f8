"""Set up `.venv` and run a task in it: ``python bootstrap.py [TASK] [arguments]``.

Tasks: setup, demo, test, test-oldest, test-newest, lint, docs, clean; the two about versions have environments of their
own.

Standard library only. The first call makes a virtual environment and installs the package with the
versions of constraints.txt; later calls find the stamp unchanged and start the task at once.
``TORCH_INDEX`` (an index URL or a folder of wheels) says where to find a CPU build of torch.
A torch that is already installed in ``.venv`` is kept.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "smallinit-stamp"
UNFINISHED = VENV / "smallinit-unfinished"
DOCS_STAMP = VENV / "smallinit-docs-stamp"
DEMO = ROOT / "results" / "demo"
# What the tests of other versions run: enough to know that they carry the package, not the whole suite.
CORE = (
    "tests/theory/data",
    "tests/theory/models",
    "tests/sim",
    "tests/compare/training",
    "tests/compare/experiment",
    "tests/compare/sweep/test_run_sweep.py",
    "tests/test_torch_free.py",
    "tests/test_cli.py",
)
MINIMUM = (3, 11)
# What torch requires, at times by exact version: a torch that the user chose decides these, not our pins.
TORCH_DECIDES = {
    "filelock",
    "fsspec",
    "jinja2",
    "networkx",
    "setuptools",
    "sympy",
    "torch",
    "typing-extensions",
}


class Refused(Exception):
    """A setup that cannot go on, in one sentence."""


def fingerprint():
    """Hash everything the installed environment depends on, its own place included (it is not movable)."""
    parts = [ROOT / name for name in ("pyproject.toml", "setup.py", "constraints.txt")] + [
        VENV / "pyvenv.cfg"
    ]
    digest = hashlib.sha256("{}\n{}.{}\n".format(ROOT, *sys.version_info).encode())
    for part in parts:
        content = part.read_bytes() if part.is_file() else b""
        digest.update(b"%d\n" % len(content) + content)
    return digest.hexdigest()


def is_ready():
    """Return True when the last setup finished and nothing that it depends on has changed."""
    try:
        return PYTHON.exists() and STAMP.read_text() == fingerprint()
    except OSError:
        return False


def check_interpreter():
    """Refuse a Python that is too old."""
    if sys.version_info < MINIMUM:
        raise Refused(
            "smallinit needs Python >= {}.{}, this is {}.{} ({}); name a newer one with "
            "`make PYTHON=python3.12 ...`.".format(*MINIMUM, *sys.version_info[:2], sys.executable)
        )


def venv_works():
    """Return True when `.venv` starts, has pip, and is of this interpreter's minor version."""
    probe = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([str(PYTHON), "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == "{}.{}".format(*sys.version_info)


def make_venv():
    """Create `.venv` afresh."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise Refused(
            f"{sys.executable} cannot make virtual environments with pip (no `ensurepip`); install "
            "it (Debian, Ubuntu: `apt install python3-venv`) or name another with `make PYTHON=... setup`."
        )
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, check=False).returncode:
        raise Refused(f"could not create {VENV}; the lines above say why.")


def drop_half_installed():
    """Forget packages whose installation was cut short: pip would take their metadata for an installation."""
    for info in VENV.glob("[Ll]ib*/**/site-packages/*.dist-info"):
        if not (info / "INSTALLER").is_file():
            shutil.rmtree(info)


def kept_torch():
    """Return the version of the torch in `.venv`, or None."""
    for info in VENV.glob("[Ll]ib*/**/site-packages/torch-*.dist-info"):
        return info.name[len("torch-") : -len(".dist-info")]
    return None


def constraints():
    """Return the file of pins for pip: ours, minus what a torch of the user's own choice decides."""
    pins = ROOT / "constraints.txt"
    torch = kept_torch()
    lines = pins.read_text().splitlines()
    if torch is None or f"torch=={torch.split('+')[0]}" in lines:
        return pins
    names = {line: line.split("==")[0].lower().replace("_", "-") for line in lines}
    kept = [line for line in lines if names[line] not in TORCH_DECIDES]
    relaxed = VENV / "constraints.txt"
    relaxed.write_text("\n".join([*kept, f"torch=={torch}", ""]))
    print(f"keeping torch {torch} found in .venv", flush=True)
    return relaxed


def install(extras="test,lint"):
    """Run pip once for the package and some of its extras."""
    command = [str(PYTHON), "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    command += ["-c", str(constraints()), "-e", f"{ROOT}[{extras}]"]
    index = os.environ.get("TORCH_INDEX")
    if index:
        command += ["--find-links" if Path(index).is_dir() else "--extra-index-url", index]
    status = subprocess.run(command, cwd=str(ROOT), check=False).returncode
    if status:
        raise Refused(
            f"pip failed (exit {status}), its own lines are above; with a network or index in reach, "
            "run the same command again: it goes on where it stopped."
        )


def setup():
    """Bring `.venv` up to date; free of cost when it is."""
    if is_ready():
        return
    check_interpreter()
    print("setting up .venv (once; a minute or so) ...", flush=True)
    if not venv_works():
        make_venv()
    elif UNFINISHED.exists():
        drop_half_installed()
    STAMP.unlink(missing_ok=True)
    UNFINISHED.touch()
    install()
    temporary = STAMP.with_suffix(".part")
    temporary.write_text(fingerprint())
    os.replace(str(temporary), str(STAMP))
    UNFINISHED.unlink()


def run(*command):
    """Run a tool of `.venv` in the repository root and return its exit status."""
    # -P: the root's own modules must not become importable under bare names (`theory`, `config`, ...).
    return subprocess.run([str(PYTHON), "-P", "-m", *command], cwd=str(ROOT), check=False).returncode


def demo(*arguments):
    """Run the demo preset; its folder is the demo's own, so a repetition replaces it."""
    out = str(DEMO.relative_to(ROOT))
    return run("smallinit", "overlay", "--preset", "demo", "--out", out, "--overwrite", *arguments)


def test(*arguments):
    """Run the tests, side by side unless the arguments say otherwise."""
    chosen = any(a.startswith(("-n", "--numprocesses", "--pdb")) for a in arguments)
    return run("pytest", *(() if chosen else side_by_side()), *arguments)


def side_by_side():
    """Arguments of pytest: a process a core, 2 to 8, that share the compile caches; idle ones take over tests."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return "-n", str(min(max(cores, 2), 8)), "--dist", "worksteal"


def newest_pins():
    """Pins for the newest versions of all but torch, whose newest builds bring GBs along."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return "".join(line + "\n" for line in lines if line.startswith("torch=="))


def test_versions(kind, pins, *arguments):
    """Run the core of the suite in an environment of its own, `.venv-KIND`, made afresh when the pins change."""
    place = ROOT / f".venv-{kind}"
    python, stamp, kept = place / PYTHON.relative_to(VENV), place / "smallinit-stamp", place / "pins.txt"
    wanted = fingerprint() + pins
    if not (stamp.is_file() and stamp.read_text() == wanted):
        print(f"setting up .venv-{kind} (a few minutes) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        kept.write_text(pins)
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--no-input",
            "-c",
            str(kept),
            "-e",
            f"{ROOT}[test]",
        ]
        index = os.environ.get("TORCH_INDEX")
        if index:
            command += ["--find-links" if Path(index).is_dir() else "--extra-index-url", index]
        if subprocess.run(command, cwd=str(ROOT), check=False).returncode:
            raise Refused("pip failed, its own lines are above.")
        stamp.write_text(wanted)
    command = [str(python), "-P", "-m", "pytest", "-q", *side_by_side(), *(arguments or CORE)]
    return subprocess.run(command, cwd=str(ROOT), check=False).returncode


def test_oldest(*arguments):
    """Run the core of the suite on the oldest versions that pyproject.toml allows."""
    return test_versions("oldest", (ROOT / "constraints-oldest.txt").read_text(), *arguments)


def test_newest(*arguments):
    """Run the core of the suite on the newest versions that there are."""
    return test_versions("newest", newest_pins(), *arguments)


def lint(*arguments):
    """Run every checker, so that one failure does not hide the next."""
    checks = [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("basedpyright", "--pythonpath", str(PYTHON)),
    ]
    return max(abs(run(*check, *arguments)) for check in checks)


def setup_docs():
    """Install what builds the pages, the first time that they are built."""
    try:
        if DOCS_STAMP.read_text() == fingerprint():
            return
    except OSError:
        pass
    print("adding sphinx to .venv (once) ...", flush=True)
    install("docs")
    DOCS_STAMP.write_text(fingerprint())


def docs(builder="html", *arguments):
    """Build the pages, every example executed; ``docs linkcheck`` follows the links to the outside."""
    setup_docs()
    quiet = () if sys.stdout.isatty() else ("-q",)  # at a terminal sphinx says which page it is at
    # Pages are read, and their code is run, in as many processes as there are cores; each then has one thread.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = ("sphinx", "-W", "--keep-going", "-j", "auto", *quiet, "-b", builder)
    status = run(*command, "docs", f"docs/_build/{builder}", *arguments)
    if not status:
        print(f"built docs/_build/{builder}")
    return status


def clean():
    """Remove the environments, the caches and the demo's results."""
    environments = (".venv", ".venv-oldest", ".venv-newest")
    for name in (*environments, "build", ".pytest_cache", ".ruff_cache", ".hypothesis", "smallinit.egg-info"):
        shutil.rmtree(str(ROOT / name), ignore_errors=True)
    for cache in ROOT.rglob("__pycache__"):
        shutil.rmtree(str(cache), ignore_errors=True)
    for results in (DEMO, ROOT / "docs" / "_build"):
        shutil.rmtree(str(results), ignore_errors=True)
    return 0


TASKS = {
    "setup": lambda: 0,
    "demo": demo,
    "test": test,
    "test-oldest": test_oldest,
    "test-newest": test_newest,
    "lint": lint,
    "docs": docs,
    "clean": clean,
}


def main(arguments):
    """Run one task and return the exit status."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("setup", [])
    if name not in TASKS or (rest and name in ("setup", "clean")):
        print("usage: python bootstrap.py [{}] [arguments]".format("|".join(TASKS)), file=sys.stderr)
        return 2
    try:
        if name.startswith("test-"):
            check_interpreter()
        elif name != "clean":
            setup()
        return TASKS[name](*rest)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: setup could not write: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
