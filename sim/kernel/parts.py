"""How functions are compiled that compiled code alone calls: as parts of their callers.

numba translates every function that it compiles into machine code, one without a wrapper too, which nobody can call. A
part is optimised, and translated where it is called; the code of its callers is the same to the last instruction.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes


class _Part(JITCodeLibrary):
    """Code that is linked into others and never run where it stands."""

    @property
    def codegen(self) -> Any:
        """What numba tells about the function's environment: this, which has no use for it."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: environments hold Python objects, and a part has none."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is no machine code."""
        self._ensure_finalized()
        return 0


@register_pass(mutates_CFG=True, analysis_only=False)
class _AsPart(LoweringPass):
    """Says where the code of a function goes, before it is made."""

    _name = "as_part"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        return True


class PartCompiler(CompilerBase):
    """The stages of numba's own compiler, with that one more."""

    def define_pipelines(self) -> list[Any]:
        """Stages, in order."""
        stages = DefaultPassBuilder.define_nopython_pipeline(self.state)
        stages.add_pass_after(_AsPart, AnnotateTypes)
        stages.finalize()
        return [stages]
