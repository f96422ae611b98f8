"""Reality and the desk: torch networks, training, proof, overlays, figures, experiments and sweeps.

What is public, and the module that defines it, stands in ``__init__.pyi``; each name loads on first use.
"""

from ..theory.base.package.first_use import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
