"""Reality: torch networks, training, and the overlay of theory and training."""

from .overlay import Overlay as Overlay
from .overlay import overlay as overlay
from .train import train as train
