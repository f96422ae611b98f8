import smallinit
from smallinit.theory.base.package.version import package_version


def test_the_version_is_one():
    assert package_version() == smallinit.__version__
