"""Kernels that most tests need: the workers of a run compile each once, not each all of them."""

from importlib import import_module
from pathlib import Path

# Those that take longest first. None imports another: what one worker compiles no other has begun.
KERNELS = (
    "optimizers._smooth",
    "ode.taylor.series_steps",
    "ode.explicit.table_steps",
    "ode.explicit.rkc_steps",
    "ode.taylor.mode_steps",
    "kernel._single",
    "device.single_steps",
    "optimizers._updates",
    "ode.implicit.secants",
    "ode.implicit.bdf_stepper",
)


def compile_share(config):
    """Compile what no other worker has taken, in a run of the whole suite; what is cached is loaded in no time."""
    if not hasattr(config, "workerinput") or {Path(a).resolve() for a in config.args} != {
        Path(__file__).parent
    }:
        return
    taken = Path(config.option.basetemp).parent / "kernels"
    taken.mkdir(exist_ok=True)
    for name in KERNELS:
        if _is_ours(taken / name):
            import_module(f"smallinit.sim.{name}")
    from smallinit.sim.kernel import _interpreter  # noqa: F401 -- registers the operations
    from smallinit.sim.kernel.calls import _addresses

    first_slots = {function: own for own, (function, _) in reversed(_addresses._SOURCES.items())}
    for slot in (
        first + own for first in (_addresses.DOUBLE, _addresses.SINGLE) for own in first_slots.values()
    ):
        if _is_ours(taken / str(slot)):
            _addresses._load(slot)


def _is_ours(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
