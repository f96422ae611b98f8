"""The paper's figures, each from one call: runs over seeds, theory beside training, its claims as statistics."""

from .arguments import State as State
from .result import FigureResult as FigureResult
from .result import Statistic as Statistic
