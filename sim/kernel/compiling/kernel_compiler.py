"""How compiled functions of this package go through numba: by the stages that they need, and each question asked once.

Three in five of numba's stages look for what stands in no function here: closures, comprehensions, expressions of whole
arrays, branches for None, functions to be inlined before their types are known. Others end in an account of which
variable lives where, which only the last before code is made has a use for, and that only where arrays are counted.
What numba is asked of types again and again is remembered, see `remembered_types`.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.interpreter import Interpreter
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.rewrites import rewrite_registry
from numba.core.ssa import reconstruct_ssa
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import IRLegalization, NativeLowering, PreLowerStripPhis
from numba.core.untyped_passes import GenericRewrites, ReconstructSSA, TranslateByteCode

from .remembered_types import contexts

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


class _Reader(Interpreter):
    """Reads a function's code, which has no `with`, and no call or list with a star."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        """Leave it as it is read."""
        return func_ir


@register_pass(mutates_CFG=True, analysis_only=False)
class _Read(TranslateByteCode):
    """Has it read so."""

    _name = "read"

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        state.func_ir = _Reader(state.func_id).interpret(state.bc)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Rewritten(GenericRewrites):
    """Has what stands beside constants rewritten before types are known, such as indices and powers, as numba does."""

    _name = "rewritten"

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        ours, blocks = state.func_ir, state.func_ir.blocks
        for kind in rewrite_registry.rewrites["before-inference"]:
            rewrite, left = kind(state), list(blocks)
            while left:
                if rewrite.match(ours, blocks[left[-1]], state.typemap, state.calltypes):
                    blocks[left[-1]] = rewrite.apply()
                else:
                    left.pop()
        return True


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


@register_pass(mutates_CFG=False, analysis_only=False)
class _WithoutEnds(IRLegalization):
    """Has no end of a variable said where nothing comes of it but a zero: where arrays are not counted."""

    _name = "without_ends"

    def run_pass(self, state: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  whether it changed anything
        if state.flags.nrt or state.flags.debuginfo:
            return super().run_pass(state)
        state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        return True


class _KernelLower(Lower):
    """Writes code in which no function is a value: it would hold an address, and what holds one is not kept on disk.

    Optimised code does not, for nothing reads it; that of NUMBA_OPT=0 does. And of no statement is the text made, for
    messages that nobody has asked for.
    """

    def lower_block(self, block: Any) -> None:
        """Write the code of a block."""
        if self.flags is None or self.flags.debuginfo:  # whose places come with each statement
            super().lower_block(block)
            return
        self.pre_block(block)
        for inst in block.body:
            self.loc = inst.loc
            if isinstance(inst, ir.Assign):
                value = self.lower_assign(self.typeof(inst.target.name), inst)
                self.storevar(value, inst.target.name)
            else:
                self.lower_inst(inst)
        self.post_block(block)

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
    TranslateByteCode: _Read,
    GenericRewrites: _Rewritten,
    ReconstructSSA: _AssignedOnce,
    PreLowerStripPhis: _WithoutPhis,
    IRLegalization: _WithoutEnds,
    NativeLowering: _KernelLowering,
}


class _Stages(PassManager):
    """Stages one after another; numba tells listeners of each, and them what it is given in words."""

    def _runPass(self, index: int, pss: Any, internal_state: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  numba's has a lock, which its callers hold
        pss.analysis = self._analysis
        for step in (pss.run_initialization, pss.run_pass, pss.run_finalizer):
            step(internal_state)


class KernelCompiler(CompilerBase):
    """The stages of numba's own compiler that kernels need."""

    def __init__(self, typingctx: Any, targetctx: Any, *others: Any) -> None:
        super().__init__(*contexts(typingctx, targetctx), *others)

    def define_pipelines(self) -> list[Any]:
        """Stages, in order."""
        stages = DefaultPassBuilder.define_nopython_pipeline(self.state)
        stages.passes[:] = [
            (_OURS.get(stage, stage), said) for stage, said in stages.passes if stage._name not in _NEEDLESS
        ]
        stages.__class__ = _Stages
        stages.finalize()
        return [stages]
