"""How compiled functions of this package go through numba: by the stages that they need, and each question asked once.

Three in five of numba's stages look for what stands in no function here: closures, comprehensions, expressions of whole
arrays, branches for None, functions to be inlined before their types are known. Others end in an account of which
variable lives where, which only the last before code is made has a use for. And at every operator numba asks dozens of
templates, most of them for arrays, times, strings and sets, though ``a * b`` of two numbers is the same everywhere.
"""

from __future__ import annotations

import builtins
import operator
from typing import Any

from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.ssa import reconstruct_ssa
from numba.core.typed_passes import NativeLowering, PreLowerStripPhis
from numba.core.untyped_passes import ReconstructSSA

# By the names that numba gives them; one that a release of numba lacks is no loss.
_NEEDLESS = {
    "ir_processing",  # a later stage does the same
    "with_lifting",
    "inline_closure_likes",
    "rewrite_semantic_constants",
    "dead_branch_prune",
    "Rewrite dynamic raises",
    "make_function_op_code_to_jit_function",
    "inline_inlinables",
    "find_literally",
    "literal_unroll",
    "LiteralPropagation",
    "inline_overloads",
    "nopython_rewrites",
    "dump_parfor_diagnostics",
}
# Numbers and places in memory: what operators do with them is no function of anybody's, and depends on nobody who asks.
_PLAIN = types.Number, types.Boolean, types.CPointer
_OPERATORS = {getattr(operator, name) for name in operator.__all__} | {
    builtins.abs, builtins.bool, builtins.float, builtins.int, builtins.range,
}  # fmt: skip
_FOUND: dict[tuple[Any, tuple[Any, ...]], Any] = {}


@register_pass(mutates_CFG=False, analysis_only=False)
class _AssignedOnce(ReconstructSSA):
    """Has every variable assigned once, as numba does, and makes no account of where they live."""

    _name = "assigned_once"

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        state.func_ir = reconstruct_ssa(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _WithoutPhis(PreLowerStripPhis):
    """The same of the way back."""

    _name = "without_phis"

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


class _KernelLower(Lower):
    """Writes code in which no function is a value: it would hold an address, and what holds one is not kept on disk.

    Optimised code does not, for nothing reads it; that of NUMBA_OPT=0 does.
    """

    def lower_assign(self, ty: Any, inst: Any) -> Any:
        """Value of a variable."""
        if isinstance(ty, types.Dispatcher) and isinstance(inst.value, (ir.Global, ir.FreeVar)):
            return self.context.get_dummy_value()
        return super().lower_assign(ty, inst)


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):
    """Has code written so."""

    _name = "kernel_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        """What writes it."""
        return _KernelLower


_OURS: dict[Any, Any] = {
    ReconstructSSA: _AssignedOnce,
    PreLowerStripPhis: _WithoutPhis,
    NativeLowering: _KernelLowering,
}


class RememberedTypes:
    """A typing context of numba that remembers what it finds of operators, for all of a process.

    Parameters
    ----------
    context : numba typing context
        What is asked, and stays what it was.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        """All else, as it is there."""
        return getattr(self._context, name)

    def resolve_function_type(self, func: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        """Signature of a call, by the types of its function and arguments."""
        if kws or not _is_operator(func) or not all(isinstance(each, _PLAIN) for each in args):
            return self._context.resolve_function_type(func, args, kws)
        call = func, args
        if call not in _FOUND:
            _FOUND[call] = self._context.resolve_function_type(func, args, kws)
        return _FOUND[call]


def _is_operator(func: Any) -> bool:
    """Whether this is an operator, or numba's type of one, which is another once somebody has extended it."""
    return (func.typing_key if isinstance(func, types.Function) else func) in _OPERATORS


class KernelCompiler(CompilerBase):
    """The stages of numba's own compiler that kernels need."""

    def __init__(self, typingctx: Any, *others: Any) -> None:
        super().__init__(RememberedTypes(typingctx), *others)

    def define_pipelines(self) -> list[Any]:
        """Stages, in order."""
        stages = DefaultPassBuilder.define_nopython_pipeline(self.state)
        stages.passes[:] = [
            (_OURS.get(stage, stage), said) for stage, said in stages.passes if stage._name not in _NEEDLESS
        ]
        stages.finalize()
        return [stages]
