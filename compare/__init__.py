"""Reality: torch networks, training, and the overlay of theory and training."""

from .decoder import Decoder as Decoder
from .decompose import Decomposition as Decomposition
from .overlay import Overlay as Overlay
from .overlay import overlay as overlay
from .phase import escape_times as escape_times
from .phase import plot_phases as plot_phases
from .proof_figure import plot_proof as plot_proof
from .schedule import WarmupCosine as WarmupCosine
from .similarity import SimilarityOverlay as SimilarityOverlay
from .similarity import plot_similarity as plot_similarity
from .similarity import similarity_overlay as similarity_overlay
from .train import train as train
