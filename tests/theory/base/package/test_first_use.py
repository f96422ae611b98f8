"""Names load on first use, and reference cycles are searched for before and after, not meanwhile."""

import gc
import sys
import weakref

import lazy_loader
import pytest

from smallinit.theory.base.package.first_use import attach, no_collections


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "one_name"
    folder.mkdir()
    (folder / "__init__.pyi").write_text("from .inside import state as state\n")
    (folder / "inside.py").write_text("import gc\nstate = gc.isenabled()\n")
    (folder / "__init__.py").write_text(
        "from smallinit.theory.base.package.first_use import attach\n"
        "__getattr__, __dir__, __all__ = attach(__name__, __file__)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import one_name

    yield one_name
    for name in ("one_name", "one_name.inside"):
        sys.modules.pop(name, None)


def test_a_module_is_loaded_without_collections_and_no_sooner(package):
    assert gc.isenabled()
    assert "one_name.inside" not in sys.modules
    assert package.state is False
    assert gc.isenabled()
    assert package.__all__ == ["state"]


def test_a_name_that_is_none_leaves_collections_as_they_were(package):
    with pytest.raises(AttributeError):
        _ = package.nothing
    assert gc.isenabled()


def test_a_name_is_asked_for_once(package, monkeypatch):
    """Each time, objects that are young would be counted as old, and cycles among them be found late or never."""
    asked = []
    find = lambda name: asked.append(name) or name.upper()  # noqa: E731
    monkeypatch.setattr(lazy_loader, "attach_stub", lambda *given: (find, list, []))
    monkeypatch.setattr(package, "__getattr__", attach("one_name", package.__file__)[0])
    assert [package.word for _ in range(3)] == ["WORD"] * 3
    assert asked == ["word"]


class Loop:
    def __init__(self):
        self.itself = self


@pytest.mark.parametrize("stay", [False, True])
def test_what_is_garbage_is_found_later(stay):
    with no_collections(stay):
        found = weakref.ref(Loop())
        assert not gc.isenabled()
    gc.collect()
    assert found() is None


def test_collections_that_the_user_has_switched_off_stay_off():
    gc.disable()
    try:
        with no_collections(stay=True):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_objects_that_the_user_has_frozen_stay_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with no_collections(stay=True):
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()


def test_public_names_are_those_of_the_stub():
    import smallinit.sim

    _, names, public = attach("smallinit.sim", smallinit.sim.__file__)
    assert "integrate" in public
    assert sorted(names()) == sorted(public)
