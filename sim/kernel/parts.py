"""Functions that compiled code alone calls are compiled as parts of their callers.

numba optimises every function that it compiles and makes machine code of it, even where nobody can call that. A part
goes into its callers as it was lowered; they are optimised, and become machine code, with it. That is once: numba
optimises each function as soon as it is lowered, and again with all that it calls.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes

from .compiling.kernel_compiler import KernelCompiler


class _Whole(JITCodeLibrary):
    """Code that is optimised once, with all that is linked into it.

    But where LLVM may choose in what order to add and multiply, it is optimised twice as by numba: LLVM could choose
    otherwise.
    """

    may_choose = False

    def _optimize_functions(self, ll_module: Any) -> None:
        """Say for what machine data is laid out, and no more unless there is a choice."""
        if self.may_choose:
            super()._optimize_functions(ll_module)
        ll_module.data_layout = self._codegen._data_layout


class _Part(_Whole):
    """Code that is linked into others and never run where it stands."""

    @property
    def codegen(self) -> Any:
        """The part itself: all that numba asks of it afterwards is to take the function's environment."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: an environment holds Python objects, and a part uses none."""

    def _optimize_final_module(self) -> None:
        """Do nothing: what vectors are made of twice, once here and once in a caller, grows and runs no faster."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0, as there is no machine code; numba asks for every function that it compiles."""
        self._ensure_finalized()
        return 0


class _Subroutine(_Part):
    """A part that stays a function of its own within its callers."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Take code as it is lowered, and say so of it."""
        for function in ir_module.functions:
            if not function.is_declaration and "alwaysinline" not in function.attributes:  # of numba's own
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)


@register_pass(mutates_CFG=True, analysis_only=False)
class _AsWhole(LoweringPass):
    """Has the code of a function go into a `_Whole`, before it is made."""

    _name = "as_whole"
    kind: type[_Whole] = _Whole

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        state.library = self.kind(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.may_choose = bool(state.flags.fastmath)
        state.library.enable_object_caching()
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _AsPart(_AsWhole):
    """The same with a `_Part`."""

    _name = "as_part"
    kind = _Part


@register_pass(mutates_CFG=True, analysis_only=False)
class _AsSubroutine(_AsWhole):
    """The same with a `_Subroutine`."""

    _name = "as_subroutine"
    kind = _Subroutine


class WholeCompiler(KernelCompiler):
    """The stages of a kernel, and one more before code is made: for a `_Whole`."""

    stage: type[_AsWhole] = _AsWhole

    def define_pipelines(self) -> list[Any]:
        """Stages, in order."""
        (stages,) = super().define_pipelines()
        stages.add_pass_after(self.stage, AnnotateTypes)
        stages.finalize()
        return [stages]


class PartCompiler(WholeCompiler):
    """The same for a `_Part`."""

    stage = _AsPart


class SubroutineCompiler(WholeCompiler):
    """The same for a `_Subroutine`."""

    stage = _AsSubroutine
