"""Symbols: tasks and their statistics, models, and the gradient-flow equations derived from them."""

from .activations import Activation as Activation
from .dataset import Dataset as Dataset
from .flow import Flow as Flow
from .flow import derive as derive
from .laws import key_label_law as key_label_law
from .laws import memory_label_law as memory_label_law
from .laws import reasoning_label_law as reasoning_label_law
from .laws import sum_law as sum_law
from .laws import sum_law_by_convolution as sum_law_by_convolution
from .laws import uniform_sum_law as uniform_sum_law
from .model import EmbMLP as EmbMLP
from .model import Model as Model
from .tasks import CompositeTask as CompositeTask
