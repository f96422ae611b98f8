"""Keep the repository's own scripts out of the wheel; everything else is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py

NOT_SHIPPED = {"bootstrap", "conftest", "setup"}


class BuildPackage(build_py):
    """Leave out the root scripts that the root mapping would otherwise make modules of `smallinit`."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the (package, module, file) triples to ship."""
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if package != "smallinit" or entry[1] not in NOT_SHIPPED]


setup(cmdclass={"build_py": BuildPackage})
