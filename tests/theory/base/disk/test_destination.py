"""Where names lead: links stay links, and what cannot be written is refused in one sentence before the work."""

import os
import socket
from pathlib import Path

import pytest
from helpers import random_data, random_weights

from smallinit.compare import overlay, train
from smallinit.compare.commands.claims_command import claims
from smallinit.compare.commands.destinations import output_picture
from smallinit.compare.commands.report_command import report
from smallinit.compare.plots.saving import figure_path
from smallinit.compare.sweep.store import Store
from smallinit.sim import integrate, load_trajectory
from smallinit.theory import EmbedUnembed, derive
from smallinit.theory.base.disk.destination import file_destination, folder_destination
from smallinit.theory.base.disk.files import check_file, make_folder, write_whole
from smallinit.theory.base.disk.npz import write_npz
from smallinit.theory.base.errors import InputError
from smallinit.theory.base.folders import check_folder, staged
from smallinit.theory.base.records import read_record, write_record


@pytest.fixture(scope="module")
def runs():
    model, data = EmbedUnembed(7, 4), random_data()
    start = random_weights(model)
    theory = integrate(derive(model, "softmax"), data, start, 1.0, save_at=11)
    return theory, train(model, data, start, steps=10, learning_rate=0.1)


WRITERS = {  # name of the file -> writes it
    "a.txt": lambda path, runs: write_whole(path, "new"),
    "a.json": lambda path, runs: write_record(path, {"x": 1}),
    "a.npz": lambda path, runs: write_npz(path, {"x": runs[0].t}),
    "a.nc": lambda path, runs: runs[0].save(path, overwrite=True),
    "a.png": lambda path, runs: overlay(*runs).plot(path),
    "state.npz": lambda path, runs: train(
        runs[1].model, runs[1].data, runs[1].state(0), steps=1, checkpoint=path
    ),
}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", WRITERS)
def test_a_link_stays_and_what_it_points_at_is_written(tmp_path, runs, name, there):
    if there and name == "state.npz":
        pytest.skip("an existing checkpoint is to be resumed")
    (tmp_path / "far").mkdir()
    far, link = tmp_path / "far" / name, tmp_path / name
    if there:
        far.write_text("old")
    link.symlink_to(Path("far") / name)
    WRITERS[name](link, runs)
    assert link.is_symlink()
    assert os.readlink(link) == f"far/{name}"
    assert far.read_bytes() != b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "far"])
    assert [p.name for p in far.parent.iterdir()] == [name]


def test_what_is_written_through_a_link_is_read_through_it(tmp_path, runs):
    (tmp_path / "far.nc").touch()
    (tmp_path / "a.nc").symlink_to("far.nc")
    with pytest.raises(FileExistsError):
        runs[0].save(tmp_path / "a.nc")
    runs[0].save(tmp_path / "a.nc", overwrite=True)
    assert load_trajectory(tmp_path / "a.nc").t.tolist() == runs[0].t.tolist()
    write_record(tmp_path / "far.json", {"x": 1})
    (tmp_path / "a.json").symlink_to("far.json")
    assert read_record(tmp_path / "a.json") == {"x": 1}


@pytest.mark.parametrize("there", [True, False])
def test_folders_of_results_through_a_link(tmp_path, there):
    far, link = tmp_path / "far", tmp_path / "out"
    if there:
        far.mkdir()
    link.symlink_to("far")
    assert check_folder(link, overwrite=False) == far
    for text in ("old", "new"):
        with staged(link, overwrite=True) as folder:
            (folder / "summary.json").write_text(text)
    assert link.is_symlink()
    assert (far / "summary.json").read_text() == "new"


def test_sweeps_and_folders_through_links_that_lead_nowhere_yet(tmp_path):
    (tmp_path / "out").symlink_to("far/deep")
    make_folder(tmp_path / "out")
    assert (tmp_path / "far" / "deep").is_dir()
    (tmp_path / "sweep").symlink_to("other")
    with pytest.raises(InputError, match="holds no sweep"):
        Store(tmp_path / "sweep")
    assert (tmp_path / "sweep").is_symlink()


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for refuses in (file_destination, folder_destination, lambda p: check_folder(p, overwrite=True)):
        with pytest.raises(InputError, match=r"is a link that leads in a circle: name another one\.$"):
            refuses(tmp_path / "a")


def special(folder):
    """What is no file to write to."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))
    return {
        "pipe": "a pipe",
        "link": "a pipe",
        "folder": "a folder",
        "socket": "a socket",
        "/dev/null": "a device",
    }


def test_what_is_no_file_is_refused_and_stays(tmp_path, runs):
    for name, kind in special(tmp_path).items():
        path = tmp_path / name
        for writes in (lambda p: write_whole(p, "x"), lambda p: check_file(p, overwrite=True)):
            with pytest.raises(InputError, match=rf"is {kind}: name a file\.$"):
                writes(path)
        with pytest.raises(InputError, match=f"is {kind}"):
            runs[0].save(path, overwrite=True)
        assert path.exists()
        assert not path.is_file()


ENTRANCES = {  # what takes the name of something to be written, before any work
    "check_file": lambda p: check_file(p, overwrite=True),
    "check_folder": lambda p: check_folder(p, overwrite=True),
    "figure_path": lambda p: figure_path(p.with_name(f"{p.name}.png")),
    "sweep": lambda p: Store(p),
    "checkpoint": lambda p: train(EmbedUnembed(7, 4), random_data(), {}, checkpoint=p),
    "claims --json": lambda p: claims(json=p),
    "check --figure": lambda p: output_picture("--figure", p.with_name(f"{p.name}.png"), True),
    "report --out": lambda p: report(p.parent.parent, out=p),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    "name", ["x" * 256, "\N{GREEK SMALL LETTER ALPHA}" * 128, f"{'y' * 300}/z", "bad\0name"]
)
def test_names_that_are_too_long_are_refused_before_any_work(tmp_path, entrance, name):
    (tmp_path / "in").mkdir()
    with pytest.raises(
        InputError, match=r"is a name of \d+ bytes: choose one of at most \d+|is no name that a file"
    ):
        ENTRANCES[entrance](tmp_path / "in" / name)
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("entrance", ["check_file", "check_folder", "sweep"])
def test_paths_that_are_too_long_are_refused_before_any_work(tmp_path, entrance):
    deep = Path(tmp_path, *["d" * 200] * 25)
    with pytest.raises(InputError, match=r"the path of .* has \d+ bytes: choose one of at most \d+\.$"):
        ENTRANCES[entrance](deep)


@pytest.mark.parametrize("length", [200, 243, 255])
def test_the_longest_names_are_written(tmp_path, runs, length):
    folder = check_folder(tmp_path / ("o" * length), overwrite=False)
    with staged(folder) as staging:
        (staging / "summary.json").write_text("{}")
    assert (tmp_path / ("o" * length) / "summary.json").is_file()
    runs[0].save(tmp_path / ("a" * (length - 3) + ".nc"))


def test_a_folder_below_one_that_does_not_exist_yet(tmp_path):
    with pytest.raises(InputError, match="is a name of 300 bytes"):
        check_folder(tmp_path / "new" / ("x" * 300) / "y", overwrite=False)
    assert list(tmp_path.iterdir()) == []
