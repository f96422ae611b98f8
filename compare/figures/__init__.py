"""The paper's figures, each from one call: runs over seeds, theory beside training, its claims as statistics."""

from .arguments import FigureState as FigureState
from .result import FigureResult as FigureResult
from .result import Statistic as Statistic
