"""How compiled functions of this package go through numba: by the stages that they need, and no others.

Two in five of numba's stages look for what stands in no function here: closures, comprehensions, expressions of whole
arrays, branches for None, functions to be inlined before their types are known.
"""

from __future__ import annotations

from typing import Any

from numba.core.compiler import CompilerBase, DefaultPassBuilder

# By the names that numba gives them; one that a release of numba lacks is no loss.
_NEEDLESS = {
    "with_lifting",
    "inline_closure_likes",
    "dead_branch_prune",
    "inline_inlinables",
    "find_literally",
    "literal_unroll",
    "LiteralPropagation",
    "inline_overloads",
    "nopython_rewrites",
}


class KernelCompiler(CompilerBase):
    """The stages of numba's own compiler that kernels need."""

    def define_pipelines(self) -> list[Any]:
        """Stages, in order."""
        stages = DefaultPassBuilder.define_nopython_pipeline(self.state)
        stages.passes[:] = [each for each in stages.passes if each[0]._name not in _NEEDLESS]
        stages.finalize()
        return [stages]
