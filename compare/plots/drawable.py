"""What a picture needs of a result: plots stand below the results, and know no more of them than this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError


class DrawableAlignment(Protocol):
    """Weights of both sides at common times."""

    def weights(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One weight (n_t, rows, cols) of the theory and of the training."""
        ...


class DrawableOverlay(Protocol):
    """A theory over a training, as `plot_overlays` draws it."""

    @property
    def theory(self) -> Trajectory:
        """The theory at its own times."""
        ...

    @property
    def training(self) -> Trajectory:
        """The training at its own times."""
        ...

    @property
    def alignment(self) -> DrawableAlignment:
        """Where their times meet."""
        ...

    @property
    def t(self) -> np.ndarray:
        """Common flow times (n_t,)."""
        ...

    @property
    def relative_error(self) -> Mapping[str, np.ndarray]:
        """Name -> relative error over `t`."""
        ...

    @property
    def blow_up_time(self) -> float | None:
        """Flow time at which the theory blows up."""
        ...


class DrawableParts(Protocol):
    """A difference and what it is made of, as `plot_parts` draws it."""

    @property
    def t(self) -> np.ndarray:
        """Flow times (n_t,)."""
        ...

    @property
    def parts(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Part -> name of a weight or a loss -> (n_t, ...)."""
        ...

    @property
    def scale(self) -> Mapping[str, np.ndarray]:
        """Name -> what sizes are relative to (n_t,)."""
        ...

    def distance(self, name: str) -> np.ndarray:
        """Norm of the difference (n_t,)."""
        ...

    def size(self, part: str, name: str) -> np.ndarray:
        """Norm of one part (n_t,), relative to the scale."""
        ...

    def remainder(self, name: str) -> np.ndarray:
        """Norm of what the parts leave (n_t,), relative to the distance."""
        ...


class DrawableResidual(Protocol):
    """Errors over the weight scale, as `plot_proof` draws them."""

    @property
    def eps(self) -> np.ndarray:
        """Weight scales (k,)."""
        ...

    @property
    def errors(self) -> Mapping[str, np.ndarray]:
        """Weight name -> relative error at each scale (k,)."""
        ...

    @property
    def measured(self) -> Mapping[str, float]:
        """Weight name -> power of the scale that was found."""
        ...

    @property
    def predicted(self) -> Mapping[str, float]:
        """Weight name -> power of the scale that was predicted."""
        ...


@runtime_checkable
class DrawableProof(Protocol):
    """Something that carries its measurement, such as the verdict on a claim."""

    @property
    def proof(self) -> DrawableResidual:
        """The measurement."""
        ...


class DrawableSimilarity(Protocol):
    """Token similarities predicted and trained, as `plot_similarity` draws them."""

    @property
    def t(self) -> np.ndarray:
        """Flow times (n_t,)."""
        ...

    @property
    def stage_end(self) -> int:
        """Index of the end of the first stage in `t`."""
        ...

    @property
    def correlation(self) -> Mapping[str, np.ndarray]:
        """Predictor -> correlation with the trained similarities (n_t,)."""
        ...

    @property
    def baseline(self) -> str:
        """The predictor that the others are to beat; drawn dashed."""
        ...

    @property
    def trained(self) -> np.ndarray:
        """Cosines between trained embeddings at the end of the first stage (m, m)."""
        ...

    @property
    def predicted(self) -> Mapping[str, np.ndarray]:
        """Predictor -> the same, predicted (m, m)."""
        ...


# What tells each from everything else, what it is called, and what makes it.
KINDS: Mapping[Any, tuple[str, str, str]] = {
    DrawableOverlay: ("alignment", "an Overlay", "`overlay` makes one"),
    DrawableParts: ("remainder", "a Decomposition", "that of `overlay(..., decompose=True)`"),
    DrawableResidual: (
        "errors",
        "a Verdict or a ResidualMeasurement",
        "`check` and `measure_residual` make them",
    ),
    DrawableSimilarity: ("stage_end", "a SimilarityOverlay", "`similarity_overlay` makes one"),
}


def drawable(field: str, value: Any, kind: Any) -> Any:
    """Return `value` if it is what a picture draws; `kind` is one of the protocols above.

    Raises
    ------
    FieldError
        If it is anything else.
    """
    mark, wanted, remedy = KINDS[kind]
    if not hasattr(value, mark):
        raise FieldError(field, f"must be {wanted}, got {type(value).__name__}: {remedy}.")
    return value
