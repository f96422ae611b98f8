"""Compiled code on disk: found by a second process, survives damage, and does without a writable folder."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from numba import float32, float64

from smallinit.sim.kernel import cache as _cache

MODULE = """
from numba import float64
from smallinit.sim.kernel.cache import compiled

@compiled(float64(float64))
def double(x):
    return 2.0 * x
"""
WHERE = "import doubling; from smallinit.sim.kernel.cache import cache_dir; print(doubling.double(21.0), cache_dir())"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import the module afresh, as a new process would; returns its result and (cache hits, misses)."""
    (tmp_path / "doubling.py").write_text(MODULE)
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(_cache, "cache_dir", lambda: folder)

    def start():
        spec = importlib.util.spec_from_file_location("doubling", tmp_path / "doubling.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        stats = module.double.stats
        return module.double(21.0), sum(stats.cache_hits.values()), sum(stats.cache_misses.values())

    return start


@pytest.fixture
def process(tmp_path):
    """Run code in a process with another cache folder; returns it when done."""
    (tmp_path / "doubling.py").write_text(MODULE)

    def start(cache, code, **extra):
        env = {**os.environ, "SMALLINIT_CACHE": str(cache), **extra}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done

    return start


def test_second_import_compiles_nothing(load, tmp_path):
    assert load() == (42.0, 0, 1)
    assert load() == (42.0, 1, 0)
    assert list((tmp_path / "cache").rglob("*.nbc"))


def test_step_loop_of_a_second_process_comes_from_the_cache(problem):
    """This process has compiled or loaded the step loop; another one must find it."""
    from smallinit.sim.ode.explicit import between_steps, dense_stages  # noqa: F401  importing compiles
    from smallinit.sim.ode.explicit import table_steps as _step

    code = """
    from smallinit.sim.ode.explicit import table_steps as _step
    from smallinit.sim.ode.explicit import between_steps, dense_stages
    for f in (_step.advance, dense_stages.extra_stages, between_steps.interpolate):
        print(sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()))
    """
    assert _step.advance.stats.cache_path.startswith(str(_cache.cache_dir()))
    env = {**os.environ, "SMALLINIT_CACHE": str(_cache.cache_dir().parent)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0"] * 3


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_file_is_replaced(load, tmp_path, suffix, damage):
    load()
    (path,) = (tmp_path / "cache").rglob(f"*{suffix}")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes({"flip": raw, "truncate": raw[: len(raw) // 2], "empty": b""}[damage])
    assert load() == (42.0, 0, 1)
    assert load() == (42.0, 1, 0)


def test_code_that_cannot_be_saved_is_used_all_the_same(load, monkeypatch):
    from numba.core.caching import IndexDataCacheFile

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    with pytest.warns(RuntimeWarning, match="could not be cached"):
        assert load()[0] == 42.0


def test_unusable_folder_costs_one_warning(process, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = process(blocked, WHERE)
    value, folder = done.stdout.split()
    assert value == "42.0"
    assert done.stderr.count("set SMALLINIT_CACHE to a writable directory") == 1
    assert not Path(folder).exists()  # removed at exit


@pytest.mark.parametrize("where", ["cache", "cache/version", "."])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, where):
    folder = tmp_path / "home" / "cache" / "version"
    _cache._usable(folder)
    shared = tmp_path / "home" / where
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match=r"others may write to .*whose files are run: chmod go-w"):
        _cache._usable(folder)
    shared.chmod(0o755)
    _cache._usable(folder)
    if where == ".":
        shared.chmod(0o1777)  # as /tmp is
        _cache._usable(folder)


def test_user_without_home(process):
    code = f"""
    import os
    os.path.expanduser = lambda path: path
    {WHERE}
    """
    assert process("", code, XDG_CACHE_HOME="", LOCALAPPDATA="").stdout.startswith("42.0 ")


def test_default_folder_is_the_users(process, tmp_path):
    done = process(
        "", WHERE, XDG_CACHE_HOME=str(tmp_path / "own"), HOME=str(tmp_path), LOCALAPPDATA=str(tmp_path)
    )
    folder = Path(done.stdout.split()[1])
    assert folder.is_relative_to(tmp_path)
    assert folder.parent.name == ("Cache" if os.name == "nt" else "smallinit")


def test_name_of_the_folder_follows_the_sources():
    assert _cache.cache_dir().name.endswith(_cache.source_hash())
    assert len(_cache.source_hash()) == 12


def test_name_of_the_folder_follows_every_module_with_compiled_code():
    """What has no "numba" in it may be compiled all the same."""
    layer = Path(_cache.__file__).parents[1]
    for path in layer.rglob("*.py"):
        text = path.read_text()
        if any(mark in text for mark in ("@inlined(", "@helper(", "@operation(", "@compiled(", "@intrinsic")):
            assert _cache._is_compiled(path, text.encode()), path


def test_each_signature_has_files_of_its_own(tmp_path, monkeypatch):
    """Two processes that save at once would else give one's code for the other's."""
    monkeypatch.setattr(_cache, "cache_dir", lambda: tmp_path)

    def double(x):
        return x + x

    for real in (float64, float32):
        assert _cache.compiled(real(real))(double)(21.0) == 42.0
    assert len(list(tmp_path.rglob("*.nbi"))) == 2
    assert len(list(tmp_path.rglob("*.nbc"))) == 2
    again = _cache.compiled(float32(float32))(double)
    assert sum(again.stats.cache_hits.values()) == 1


WITH_A_PART = """
from numba import float64
from smallinit.sim.kernel.cache import compiled
from smallinit.sim.kernel.inner import helper

@helper()
def half(x):
    return 0.5 * x

@compiled(float64(float64))
def quarter(x):
    return half(half(x))

hits, misses = (sum(each.values()) for each in (quarter.stats.cache_hits, quarter.stats.cache_misses))
print(quarter(4.0), hits, misses)
"""


def test_code_that_is_not_optimised_is_kept_too_and_taken_for_no_other(process, tmp_path):
    (tmp_path / "parts.py").write_text(WITH_A_PART)
    (tmp_path / "kept").mkdir(mode=0o700)

    def start(**settings):
        done = process(tmp_path / "kept", "import parts", **settings)
        assert not done.stderr
        return done.stdout.split()

    assert start(NUMBA_OPT="0") == ["1.0", "0", "1"]
    assert start(NUMBA_OPT="0") == ["1.0", "1", "0"]
    assert start(NUMBA_OPT="3") == ["1.0", "0", "1"]


def test_numba_setting_of_the_user_is_left_alone():
    import numba

    from smallinit.sim.ode.explicit import table_steps as _step

    assert _step.advance.stats.cache_path
    assert os.environ.get("NUMBA_CACHE_DIR", "") == numba.config.CACHE_DIR


def test_a_numba_that_compiles_nothing_is_refused_with_the_remedy(tmp_path):
    small = ["--preset", "demo", "--t1", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "smallinit", "simulate", *small],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("smallinit: NUMBA_DISABLE_JIT is set")
    assert "unset it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
