"""Reality and the desk: torch networks, training, proof, overlays, figures, experiments and sweeps."""

from .literature.claims import claims as claims
from .overlays.decomposition import Decomposition as Decomposition
from .overlays.overlay import Overlay as Overlay
from .overlays.overlay import overlay as overlay
from .overlays.similarity_overlay import SimilarityOverlay as SimilarityOverlay
from .overlays.similarity_overlay import similarity_overlay as similarity_overlay
from .plots.phase import escape_times as escape_times
from .plots.phase import plot_phases as plot_phases
from .plots.proof_figure import plot_proof as plot_proof
from .plots.similarity_figure import plot_similarity as plot_similarity
from .proof.check import Verdict as Verdict
from .proof.check import check as check
from .sweep.run_sweep import Sweep as Sweep
from .sweep.run_sweep import open_sweep as open_sweep
from .sweep.run_sweep import run_sweep as run_sweep
from .training.train import train as train
