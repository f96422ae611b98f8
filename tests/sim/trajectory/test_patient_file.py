"""Of a file that takes all that is written, what goes wrong is raised at the end, and by its own name."""

import errno

import pytest

from smallinit.sim.trajectory.patient_file import patient_file


class Full:
    """A disk on which nothing fits."""

    def write(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_went_wrong_beside_the_file_keeps_its_cause(tmp_path):
    cause = KeyError("name")
    with pytest.raises(ValueError, match="no such name") as caught, patient_file(tmp_path / "a"):
        raise ValueError("no such name") from cause
    assert caught.value.__cause__ is cause


def write_where_nothing_fits(path, noticed):
    with patient_file(path) as file:
        file._raw.close()
        file._raw = Full()
        assert file.write(b"four") == 4
        if noticed:
            raise RuntimeError("can't flush")


@pytest.mark.parametrize("noticed", [False, True])
def test_what_did_not_fit_is_raised_at_the_end(tmp_path, noticed):
    """Whether or not HDF5, which is told that all went well, makes an error of its own of it."""
    with pytest.raises(OSError, match="No space left"):
        write_where_nothing_fits(tmp_path / "a", noticed)
