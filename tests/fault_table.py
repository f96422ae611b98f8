"""The table of faults, printed: every writer, call and fault, real kills, and bit flips over every kind of file."""

import subprocess
import sys
import tempfile
from collections import Counter
from itertools import groupby
from pathlib import Path

import faults
import numpy as np
from fault_writers import WRITERS, measured

from smallinit.theory.base.disk.sealed import UnsoundFile
from smallinit.theory.base.errors import InputError

SEALED = ["a record", "a page", "arrays", "a checkpoint", "a trajectory", "a sweep", "new results"]


def tried(writer, folder, kinds=faults.FAULTS, chosen=lambda calls: range(len(calls))):
    """Call names with how often each was tried under each fault, and what was broken."""
    calls, broken, count = measured(writer, sub(folder, "clean")), [], Counter()
    for fault in kinds:
        for at in chosen(calls):
            if fault != "EMFILE" or calls[at][0] == "open":
                count[fault] += 1
                broken += filter(None, [faults.survive(writer, sub(folder, f"{fault} {at}"), at, fault)])
    return calls, count, broken


def ends_of_runs(calls):
    """The first, the middle and the last of each run of equal calls: a file is written to by dozens."""
    runs = [[at for at, _ in run] for _, run in groupby(enumerate(calls), key=lambda each: each[1])]
    return sorted({at for run in runs for at in (run[0], run[len(run) // 2], run[-1])})


def killed(writer, folder, at):
    """End a process for good at a call; what was broken."""
    root = faults.prepared(writer, folder)
    old = writer.read(root)
    line = [sys.executable, __file__, "kill", writer.name, str(root), str(at)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 77:
        return f"{writer.name}: the process ended by {done.returncode}: {done.stderr[-300:]}"
    seen = writer.read(root)
    if seen not in (old, writer.new, *writer.between):
        return f"{writer.name}, killed at call {at}: a reader sees {seen!r}"
    return faults.next_run(writer, root, f"{writer.name}, killed at call {at}")


def flipped(writer, folder, number, seed=0):
    """Flip single bits, and cut files short, all over what a writer leaves; what is read as something else."""
    root = faults.prepared(writer, folder)
    writer.write(root)
    rng, broken = np.random.default_rng(seed), []
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".toml"]
    for i in range(number):
        path = files[i % len(files)]
        content = bytearray(path.read_bytes())
        place = int(rng.integers(len(content)))
        damaged = content[:place] if i % 10 == 9 else flip(content, place, int(rng.integers(8)))
        path.write_bytes(damaged)
        if (seen := refused(path)) != "":
            broken.append(f"{path.name}, byte {place}: {seen}")
        path.write_bytes(content)
    return broken


def flip(content, place, bit):
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return damaged


def refused(path):
    """Read a damaged file by the reader of its format; empty if that says so by its documented exception."""
    from smallinit.compare.training.checkpoint import CheckpointError, load_checkpoint
    from smallinit.sim import load_trajectory
    from smallinit.theory.base.disk.npz import open_sealed_npz
    from smallinit.theory.base.disk.sealed import read_sealed
    from smallinit.theory.base.records import read_record

    def arrays(file):
        with open_sealed_npz(file) as archive:
            return dict(archive)

    readers = {
        ".nc": [load_trajectory],
        ".json": [read_record],
        ".npz": [arrays, lambda p: load_checkpoint(p, {})],
    }
    for read in readers.get(path.suffix, [lambda file: read_sealed(file, 10**6)]):
        try:
            read(path)
        except (UnsoundFile, CheckpointError):
            continue
        except InputError as error:
            return f"refused by another sentence: {error}"
        return "was read"
    return ""


def sub(parent, name):
    (parent / name).mkdir()
    return parent / name


def main():
    """Print the table; ends with status 1 if anything was broken."""
    if sys.argv[1:2] == ["kill"]:
        _, _, name, root, at = sys.argv
        writer = next(w for w in WRITERS if w.name == name)
        with faults.failing(Path(root), int(at), "crash", writer.can_exchange, kill=True):
            writer.write(Path(root))
        return
    number = int(sys.argv[1]) if sys.argv[1:] else 2000
    broken = []
    print(f"{'writer':38} {'calls':>6} " + " ".join(f"{f:>7}" for f in (*faults.FAULTS, "kill")) + "  broken")
    for writer in WRITERS:
        with tempfile.TemporaryDirectory() as folder:
            calls, count, found = tried(writer, Path(folder))
            kills = range(0, len(calls), max(1, len(calls) // 4))
            found += filter(None, [killed(writer, sub(Path(folder), f"kill {at}"), at) for at in kills])
            counts = " ".join(f"{n:7}" for n in (*(count[f] for f in faults.FAULTS), len(kills)))
            print(f"{writer.name:38} {len(calls):6} {counts}  {len(found)}", flush=True)
            broken += found
    for writer in [w for w in WRITERS if w.name in SEALED]:
        with tempfile.TemporaryDirectory() as folder:
            found = flipped(writer, Path(folder), -(-number // len(SEALED)))
            broken += found
    print(f"{number} bit flips and cuts over every kind of file; {len(broken)} broken in all")
    print("\n".join(broken))
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
