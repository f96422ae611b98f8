"""Claims: one driver each, void when it is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smallinit.compare.sweep.point_claims import EXPIRY, PointClaims


def test_a_claim_is_had_once_until_it_is_released(tmp_path):
    first, second = PointClaims(tmp_path / "claims"), PointClaims(tmp_path / "claims")
    assert first.take("a")
    assert first.take("a")
    assert not second.take("a")
    assert second.take("b")
    second.release("a")  # not its own
    assert not second.take("a")
    first.release("a")
    assert second.take("a")
    first.close()
    assert (tmp_path / "claims").is_dir()
    second.close()
    assert not (tmp_path / "claims").exists()


@pytest.mark.parametrize("call", ["mkdir", "touch", "open", "fdopen", "rename", "unlink"])
def test_interrupts_while_a_claim_is_made_leave_none(tmp_path, monkeypatch, call):
    """Handlers of signals run after the system call during which they came: what it does has been done."""
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "a").write_text("a driver that died")
    owner, claims = Path if hasattr(Path, call) and call != "open" else os, PointClaims(folder)
    done, begins = getattr(owner, call), call in ("mkdir", "touch")
    if not begins:
        claims.beat()

    def interrupted(*args, **options):
        done(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        claims.take("a")
    monkeypatch.undo()
    if begins:  # the dead driver's claim has not been come to
        (folder / "a").unlink()
    claims.close()
    assert not folder.exists()


def test_an_interrupt_before_a_claim_is_counted_leaves_none(tmp_path):
    claims, other = PointClaims(tmp_path / "claims"), PointClaims(tmp_path / "claims")
    claims.mine = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        claims.take("b")
    claims.mine = set()
    assert other.take("c")
    claims.close()
    assert {p.name for p in (tmp_path / "claims").iterdir()} == {"c", other.driver.name}
    other.close()
    assert not (tmp_path / "claims").exists()


def interrupt(*_):
    raise KeyboardInterrupt


class Interrupting(set):
    add = interrupt


def test_a_driver_that_gives_no_sign_of_life_loses_its_claims(tmp_path):
    silent, other = PointClaims(tmp_path / "claims"), PointClaims(tmp_path / "claims")
    assert silent.take("a")
    assert not other.take("a")
    then = silent.driver.stat().st_mtime - EXPIRY - 1.0
    os.utime(silent.driver, (then, then))
    other._living.clear()
    assert other.take("a")
    assert not silent.take("b") or silent.driver.exists()


def test_a_killed_process_loses_its_claims_at_once(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from smallinit.compare.sweep.point_claims import PointClaims;"
        "assert PointClaims(Path(sys.argv[1])).take('a'); os.kill(os.getpid(), 9)"
    )
    folder = tmp_path / "claims"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert (folder / "a").exists()
    mine = PointClaims(folder)
    assert mine.take("a")
    mine.close()


def test_a_claim_that_nobody_signed_is_void_after_a_while(tmp_path):
    mine = PointClaims(tmp_path / "claims")
    mine.beat()
    (tmp_path / "claims" / "a").touch()
    assert not mine.take("a")
    then = mine.driver.stat().st_mtime - EXPIRY - 1.0
    os.utime(tmp_path / "claims" / "a", (then, then))
    assert mine.take("a")
